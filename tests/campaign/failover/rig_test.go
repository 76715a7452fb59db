package failover_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

const (
	// warm is how long all is well before the fault.
	warm = time.Second
	// calm is how long all is well after it.
	calm = 1500 * time.Millisecond
	// forever is what it would be if something did not come back in this time after
	// Redis itself. It bounds no speed: that is printed.
	forever = 30 * time.Second
)

// rig is a round: the servers, the processes, and all who watch.
type rig struct {
	*site
	t       testing.TB
	fault   fault
	folder  string
	random  *rand.Rand
	serving int // when the fault begins

	processes map[role]*record.Child
	books     map[string]*notebook // of each ear, and of the reader
	monitors  *monitors
	observer  *observer
	struck    time.Time
	stuck     []string
	remarks   []string
}

// newRig starts all there is. The program is the test binary, or one like it.
func newRig(t testing.TB, topology string, f fault, program string) *rig {
	t.Helper()
	seed := rand.Uint64()
	r := &rig{
		t: t, fault: f, site: newSite(t, topology, f), folder: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0)),
		processes: map[role]*record.Child{}, books: map[string]*notebook{},
	}
	r.observer = r.observe(t)
	r.monitors = monitor(t, r.direct())
	for n := range ears {
		r.books[earName(n)] = &notebook{path: filepath.Join(r.folder, earName(n)+".log")}
	}
	r.books[readerName] = &notebook{path: filepath.Join(r.folder, readerName+".log")}
	t.Cleanup(r.end)
	for _, role := range []role{audience, durable, primary} {
		c := &record.Child{Name: string(role)}
		o, err := json.Marshal(orders{Role: role, Folder: r.folder, Topology: topology, Addrs: r.addrs(), Password: password, Stream: r.stream, Ours: f.ours})
		if err != nil {
			t.Fatal(err)
		}
		c.Begin(t, program, "TestFailover", processEnv+"="+string(o), r.errors(role))
		r.processes[role] = c
		c.Hear(t, "failover: ready")
	}
	return r
}

func (r *rig) errors(role role) string { return filepath.Join(r.folder, string(role)+".err") }

// end ends all processes at once.
func (r *rig) end() {
	for role, c := range r.processes {
		c.Kill()
		if b, err := os.ReadFile(r.errors(role)); err == nil && r.t.Failed() && len(b) > 0 {
			r.t.Logf("%s wrote\n%s", role, tail(string(b), 8000))
		}
	}
}

func tail(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return "…" + s[len(s)-most:]
}

func (r *rig) say(format string, args ...any) {
	r.remarks = append(r.remarks, fmt.Sprintf(format, args...))
}

// within waits for what must come back, and notes what does not: the checker says
// the rest.
func (r *rig) within(bound time.Duration, what string, is func() bool) bool {
	deadline := time.Now().Add(bound)
	for !is() {
		if r.t.Context().Err() != nil || time.Now().After(deadline) {
			r.stuck = append(r.stuck, fmt.Sprintf("not within %v: %s", bound.Round(time.Second), what))
			return false
		}
		record.Sleep(r.t.Context(), 10*time.Millisecond)
	}
	return true
}

// round lets the fault happen, and returns what became of it.
func (r *rig) round() history {
	r.t.Helper()
	r.alive(time.Now(), testkit.Patience, "at first")
	record.Sleep(r.t.Context(), warm)
	testkit.Until(r.t, "a server serves", func() bool {
		r.serving = r.observer.now()
		return r.serving != nobody
	})
	r.struck = time.Now()
	mend := r.fault.strike(r)
	over := time.Now()
	r.within(forever, "a server serves", func() bool {
		now := r.observer.now()
		return now != nobody && r.servers[now].Running()
	})
	r.alive(over, forever, "after the fault")
	if mend != nil {
		mend()
		record.Sleep(r.t.Context(), calm)
	}
	record.Sleep(r.t.Context(), calm)
	return r.settle(over)
}

// alive waits until what was committed after a time is published, heard and read.
func (r *rig) alive(since time.Time, bound time.Duration, when string) {
	all := r.publications(since)
	for _, writer := range writers {
		r.within(bound, fmt.Sprintf("the %s publisher publishes %s", writer, when), func() bool {
			all = r.publications(since)
			return all[writer] > 0
		})
	}
	deadline := time.Now().Add(bound)
	for _, name := range sortedKeys(r.books) {
		for _, writer := range writers {
			if name == readerName && writer != durable {
				continue
			}
			r.within(max(time.Until(deadline), time.Second), fmt.Sprintf("%s hears of the %s publisher %s", name, writer, when), func() bool {
				notes := r.books[name].look(r.t)
				for _, n := range slices.Backward(notes) {
					if n.time().Before(since) {
						return false
					}
					if n.Writer == string(writer) && (n.Word == heardWord || n.Word == entryWord) {
						return true
					}
				}
				return false
			})
		}
	}
}

// publications counts what was published at a server that serves, after a time.
func (r *rig) publications(since time.Time) map[role]int {
	reigns, _ := r.observer.history()
	moves := r.moves()
	count := map[role]int{}
	for c, publications := range r.monitors.all() {
		for _, p := range publications {
			if p.at.After(since) && (!moves[c.writer] || at(reigns, p.at) == p.server) {
				count[c.writer]++
			}
		}
	}
	return count
}

// moves says which writers publish where the fault is.
func (r *rig) moves() map[role]bool {
	return map[role]bool{durable: r.key == r.stream || !r.fault.apart, primary: !r.fault.apart}
}

// proxiesOf returns those in front of a server.
func (r *rig) proxiesOf(server int) []*testserver.TCPProxy {
	s := r.servers[server]
	switch r.topology {
	case onPlain:
		return []*testserver.TCPProxy{r.addr}
	case onCluster:
		return []*testserver.TCPProxy{s.Front(), s.Bus()}
	}
	return []*testserver.TCPProxy{s.Front()}
}

// settle ends all in order and collects what there is.
func (r *rig) settle(over time.Time) history {
	r.t.Helper()
	for _, writer := range writers {
		r.processes[writer].Order("stop")
		r.processes[writer].Hear(r.t, "failover: stopped")
	}
	h := history{commits: map[role][]time.Time{}, heard: map[string][]note{}, stats: map[role]*tracbus.PublisherStats{}, patient: map[string]time.Duration{}}
	for _, writer := range writers {
		h.commits[writer] = r.commits(writer)
	}
	r.within(forever, "the reader has all", func() bool { return r.has(readerName, durable, len(h.commits[durable])) })
	last := time.Now()
	h.ended = last
	for _, name := range sortedKeys(r.books) {
		for _, writer := range writers {
			for !r.has(name, writer, len(h.commits[writer])) && name != readerName && time.Since(last) < prompt/2 {
				record.Sleep(r.t.Context(), 10*time.Millisecond) // one that is missed is told of by then
			}
		}
	}
	h.stream = r.streamed()
	r.await(h)
	for _, role := range []role{primary, durable, audience} {
		c := r.processes[role]
		c.Order("finish")
		select {
		case <-c.Gone:
			if state := c.Cmd.ProcessState; !state.Success() {
				r.stuck = append(r.stuck, fmt.Sprintf("%s ended with %v", role, state))
			}
		case <-time.After(testkit.Patience):
			r.stuck = append(r.stuck, fmt.Sprintf("%s does not end", role))
		}
	}
	r.collect(&h)
	h.outage = r.outage()
	return h
}

// await gives subscribers the time to be told of what they have missed.
func (r *rig) await(h history) {
	for since := time.Now(); time.Since(since) < prompt; record.Sleep(r.t.Context(), time.Second/2) {
		now := h
		now.heard, now.stuck = map[string][]note{}, nil
		r.collect(&now)
		if check(now).counts[isSilent] == 0 {
			return
		}
	}
}

// has says whether a subscriber has heard of a change.
func (r *rig) has(name string, writer role, n int) bool {
	for _, l := range slices.Backward(r.books[name].look(r.t)) {
		if l.Writer == string(writer) && l.N == n {
			return true
		}
	}
	return false
}

// collect reads what there is when all is over.
func (r *rig) collect(h *history) {
	h.faults = nil
	for name, book := range r.books {
		if notes := book.look(r.t); name == readerName {
			h.read = notes
		} else {
			h.heard[name] = notes
		}
	}
	for n := range ears {
		h.patient[earName(n)] = max(patient(n), 0)
		if patient(n) == 0 {
			h.patient[earName(n)] = 15 * time.Second // the library's
		}
	}
	for _, writer := range writers {
		for _, n := range (&notebook{path: filepath.Join(r.folder, string(writer)+".log")}).look(r.t) {
			if n.Word == statsWord {
				h.stats[writer] = n.Stats
			} else {
				h.faults = append(h.faults, fmt.Sprintf("%s: %s", writer, n.Text))
			}
		}
	}
	h.told = r.telling()
	h.publications = r.monitors.all()
	h.reigns, _ = r.observer.history()
	h.cluster = r.topology == onCluster
	h.moves, h.struck, h.stuck = r.moves(), r.struck, r.stuck
}

// telling returns what has the password, of all that processes have written.
func (r *rig) telling() (told []string) {
	r.t.Helper()
	files, err := os.ReadDir(r.folder)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(r.folder, f.Name()))
		if err != nil {
			r.t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			if bytes.Contains(line, []byte(password)) {
				told = append(told, fmt.Sprintf("%s: %.300q", f.Name(), line))
			}
		}
	}
	return told
}

// commits reads the changes of a writer from its tables.
func (r *rig) commits(writer role) (times []time.Time) {
	r.t.Helper()
	db, err := sql.Open(record.Drivers[tracbus.SQLite], databaseOf(r.folder, writer))
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	var id int
	var micros int64
	testkit.Scan(r.t, db, "SELECT id, time FROM ticket_journal ORDER BY tid, seq", func() {
		if times = append(times, time.UnixMicro(micros)); id != len(times) {
			r.t.Errorf("the journal of %s has ticket %d as number %d", writer, id, len(times))
		}
	}, &id, &micros)
	return times
}

// streamed reads the stream at the server that serves.
func (r *rig) streamed() (tickets []int) {
	r.t.Helper()
	server := r.observer.now()
	if r.cluster != nil { // in a round that strikes another one, too
		if owner := r.cluster.Owner(r.stream); owner != nil {
			server = slices.Index(r.servers, owner)
		}
	}
	if server == nobody {
		r.stuck = append(r.stuck, "nobody serves in the end")
		return nil
	}
	client := redis.NewClient(&redis.Options{Addr: r.servers[server].Addr(), Password: password})
	defer client.Close()
	entries, err := client.XRange(r.t.Context(), r.stream, "-", "+").Result()
	if err != nil {
		r.stuck = append(r.stuck, fmt.Sprintf("the stream: %v", err))
	}
	for _, e := range entries {
		var message struct{ ID int }
		payload, _ := e.Values["payload"].(string)
		if err := json.Unmarshal([]byte(payload), &message); err != nil {
			r.stuck = append(r.stuck, fmt.Sprintf("entry %s: %v", e.ID, err))
		}
		tickets = append(tickets, message.ID)
	}
	return tickets
}

// outage returns for how long Redis itself did not serve, or how long it took until
// another server did.
func (r *rig) outage() time.Duration {
	reigns, _ := r.observer.history()
	for i, n := range reigns {
		if n.from.After(r.struck) && n.server != nobody && (n.server != r.serving || reigns[i-1].server == nobody) {
			return n.from.Sub(r.struck)
		}
	}
	return 0
}

// lines counts the lines that a process wrote, and those of go-redis's own.
func (r *rig) lines(role role) (all, foreign int) {
	b, _ := os.ReadFile(r.errors(role)) // it is about to be there
	for line := range strings.Lines(string(b)) {
		all++
		if strings.HasPrefix(line, "redis: ") {
			foreign++
		}
	}
	return all, foreign
}
