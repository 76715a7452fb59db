package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

// What the load is: browsers that watch, and visitors who change things.
const (
	loadWatchers = 50
	loadWriters  = 20
	mostAttempts = 1000 // of a writer, after its time
)

// TestLoad has browsers watch two processes while visitors make changes in both
// without a pause. Streams are cut, at any place, and go on in either process; a
// process is killed and started again. In the end each browser must have been told
// each change that stands in the journal's tables once, in their order.
func TestLoad(t *testing.T) {
	seconds, _ := strconv.Atoi(os.Getenv("TRACBUS_TRACKER_SECONDS"))
	if seconds <= 0 {
		seconds = 3
	}
	dialects := []string{"sqlite", "postgresql", "mysql"}
	if testing.Short() {
		dialects = dialects[:1]
	}
	for _, dialect := range dialects {
		t.Run(dialect, func(t *testing.T) {
			l := &load{t: t, rig: newRig(t, testdatabase.New(t, dialect)), resident: map[int][]int64{}}
			l.steady, l.mortal = l.rig.start(), l.rig.start()
			l.run(time.Duration(seconds) * time.Second)
		})
	}
}

// load is one run.
type load struct {
	t      *testing.T
	rig    *rig
	steady *process // lives all the time
	mortal *process // is killed once
	urls   [2]string

	changes  atomic.Int64 // that were answered with yes
	failures atomic.Int64 // requests without an answer, or with no
	cuts     atomic.Int64

	mu       sync.Mutex
	resident map[int][]int64 // bytes of memory of a process, over time
}

func (l *load) run(d time.Duration) {
	l.urls = [2]string{l.steady.url, l.mortal.url}
	watching, leave := context.WithCancel(context.Background())
	defer leave()
	watchers := make([]*watcher, loadWatchers)
	var watch, write sync.WaitGroup
	for i := range watchers {
		watchers[i] = &watcher{load: l, random: rand.New(rand.NewPCG(1, uint64(i)))}
		watch.Go(func() { watchers[i].run(watching) })
	}
	writing, stop := context.WithTimeout(watching, d)
	defer stop()
	for i := range loadWriters {
		write.Go(func() { l.writer(writing, i) })
	}
	write.Go(func() { l.measure(writing) })

	select { // half way, a process dies and comes again
	case <-writing.Done():
	case <-time.After(d / 2):
	}
	l.mortal.kill()
	l.mortal = l.rig.start("-listen", l.mortal.address())
	write.Wait()

	want := l.tables()
	for i, w := range watchers {
		eventually(l.t, fmt.Sprintf("watcher %d is told the last of %d changes; it was told %d", i, len(want), w.count()), func() bool { return w.count() >= len(want) })
	}
	leave()
	watch.Wait()
	for i, w := range watchers {
		require.Zero(l.t, w.resyncs, "watcher %d was told to load anew", i)
		if got := w.places; !slices.Equal(want, got) {
			at := 0
			for at < min(len(want), len(got)) && want[at] == got[at] {
				at++
			}
			near := func(all []string) []string { return all[min(at, len(all)):min(at+4, len(all))] }
			l.t.Fatalf("watcher %d was told %d changes, of %d; from number %d on it was told %s, expected %s", i, len(got), len(want), at, near(got), near(want))
		}
	}
	assert.Greater(l.t, l.changes.Load(), int64(loadWriters))
	assert.GreaterOrEqual(l.t, int64(len(want)), l.changes.Load(), "what was answered with yes is in the tables")
	assert.Positive(l.t, l.cuts.Load())
	assert.Less(l.t, l.failures.Load(), l.changes.Load()/2+loadWriters, "requests fail while a process is dead, and few else")
	l.t.Logf("%v, %d watchers, %d writers: %d changes (%.0f/s), each told to all; %d cuts, %d requests failed",
		d, loadWatchers, loadWriters, len(want), float64(len(want))/d.Seconds(), l.cuts.Load(), l.failures.Load())
	l.checkMemory(d)
}

// tables reads the places of all changes from the journal's tables, in their order.
func (l *load) tables() (places []string) {
	_, db := l.rig.openJournal()
	rows, err := db.QueryContext(ticking(l.t), "SELECT tid, seq, commit_id FROM journal_change ORDER BY tid, seq")
	require.NoError(l.t, err)
	defer rows.Close()
	for rows.Next() {
		var p place
		require.NoError(l.t, rows.Scan(&p.tid, &p.seq, &p.mark))
		places = append(places, p.String())
	}
	require.NoError(l.t, rows.Err())
	return places
}

// watcher is a browser that watches, and loses its connection now and then.
type watcher struct {
	*load
	random *rand.Rand

	mu      sync.Mutex
	places  []string
	resyncs int
}

func (w *watcher) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.places)
}

func (w *watcher) run(ctx context.Context) {
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport}
	last := ""
	for ctx.Err() == nil {
		left := 1 + w.random.IntN(400) // changes until it is cut
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.urls[w.random.IntN(2)]+"/changes", nil)
		if err != nil {
			panic(err)
		}
		r.Header.Set("Last-Event-ID", last)
		response, err := client.Do(r)
		if err != nil { // the process is dead
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		_ = readEvents(response.Body, func(e told) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			last = e.id
			if e.event == "change" {
				w.places = append(w.places, e.id)
			} else {
				w.resyncs++
			}
			left--
			return left > 0
		})
		_ = response.Body.Close()
		w.cuts.Add(1)
	}
}

// writer is a visitor who makes tickets and pages and changes them.
func (l *load) writer(ctx context.Context, number int) {
	random := rand.New(rand.NewPCG(2, uint64(number)))
	clients := [2]*client{newClient(l.t, l.steady), newClient(l.t, l.mortal)}
	tickets := 0
	sending := context.WithoutCancel(ctx)
	// A slow machine goes on until it has shown something. What was begun is
	// answered: then the tables are all there is.
	for n := 0; ctx.Err() == nil || (l.changes.Load() <= loadWriters && n < mostAttempts); n++ {
		c := clients[random.IntN(2)]
		text := fmt.Sprintf("writer %d, change %d <b>", number, n)
		name := url.PathEscape(fmt.Sprintf("Page of %d", number))
		var a answer
		var err error
		switch kind := random.IntN(10); {
		case kind < 3 || tickets == 0:
			a, err = c.trySend(sending, "/tickets/new", "/tickets/new", "summary", text, "author", "writer", "description", strings.Repeat("text ", 50))
			if _, failed := fmt.Sscanf(a.path, "/tickets/%d", &tickets); failed != nil && err == nil {
				err = failed
			}
		case kind < 8:
			page := fmt.Sprint("/tickets/", tickets)
			a, err = c.trySend(sending, page, page, "comment", text, "milestone", fmt.Sprint("m", n), "author", "writer")
		default:
			a, err = c.trySend(sending, "/wiki/"+name+"?action=edit", "/wiki/"+name, "do", "save", "text", strings.Repeat(text+"\n", 20), "author", "writer")
		}
		if err != nil || a.status != http.StatusOK {
			l.failures.Add(1) // the process is dead, or somebody else was faster
			continue
		}
		l.changes.Add(1)
	}
}

// measure notes from time to time how much memory the process has that lives.
func (l *load) measure(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	pid := l.steady.cmd.Process.Pid
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return // there is no such file on this system
		}
		_, after, _ := strings.Cut(string(status), "VmRSS:")
		var kib int64
		if _, err := fmt.Sscan(after, &kib); err == nil {
			l.mu.Lock()
			l.resident[pid] = append(l.resident[pid], kib<<10)
			l.mu.Unlock()
		}
	}
}

// checkMemory compares the end of a long run with its beginning: what a process
// needs must not grow with what has happened.
func (l *load) checkMemory(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for pid, all := range l.resident {
		if d < 30*time.Second || len(all) < 30 {
			l.t.Logf("memory of process %d is not looked at: it ran %v with %d measurements", pid, d, len(all))
			continue
		}
		third := len(all) / 3
		begin, end := slices.Max(all[third/2:third+1]), slices.Max(all[len(all)-third:])
		most := begin + begin/4 + 16<<20
		l.t.Logf("memory: %d MiB in the first third, %d MiB in the last", begin>>20, end>>20)
		assert.Less(l.t, end, most, "bytes of memory at the end")
	}
}
