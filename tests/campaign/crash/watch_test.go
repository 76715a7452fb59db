package crash_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// watch looks at the names' rows all the time: only who looks often sees a
// place that moved back.
type watch struct {
	cancel context.CancelFunc
	gone   sync.WaitGroup

	mu       sync.Mutex
	db       *sql.DB // nil while nobody may look
	seen     []cursor
	last     map[string]cursor
	lease    map[string]holder
	restored map[string]bool // the next may be lower
}

// holder is the process that holds a name, and how often it has said so.
type holder struct {
	pid  int
	beat int64
}

// watchHolders starts to watch, until close.
func watchHolders(t testing.TB, db *sql.DB) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{cancel: cancel, db: db, last: map[string]cursor{}, lease: map[string]holder{}, restored: map[string]bool{}}
	w.gone.Go(func() {
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.look(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { w.close() })
	return w
}

// look notes what has changed. While the database is away there is nothing to
// see.
func (w *watch) look(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.db == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	rows, err := w.db.QueryContext(ctx, "SELECT name, CASE WHEN partial = 1 THEN tid - 1 ELSE tid END, token, heartbeat, holder FROM journal_consumer")
	if err != nil {
		return
	}
	defer rows.Close()
	for rows.Next() {
		var c cursor
		var h holder
		var holder string
		if rows.Scan(&c.name, &c.tid, &c.epoch, &h.beat, &holder) != nil {
			return
		}
		if _, pid, ok := strings.Cut(holder, "pid "); ok {
			_, _ = fmt.Sscan(strings.TrimSuffix(strings.Fields(pid)[0], ","), &h.pid) // else nobody is found by it
		}
		w.lease[c.name] = h
		if c.restored = w.restored[c.name]; w.last[c.name] != c {
			w.seen = append(w.seen, c)
		}
		c.restored = false
		w.last[c.name] = c
		delete(w.restored, c.name)
	}
}

// pause stops the watching while the database is put back, and resume goes on
// with what is there then.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.db = nil
}

func (w *watch) resume(db *sql.DB) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.db = db
	for name := range w.last {
		w.restored[name] = true
	}
}

// done says whether all names are done up to a tid.
func (w *watch) done(tid int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.last {
		if c.tid != tid {
			return false
		}
	}
	return len(w.last) == 2
}

// at returns where a name was seen last.
func (w *watch) at(name string) cursor {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[name]
}

// holder returns who was seen last to hold a name.
func (w *watch) holder(name string) holder {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lease[name]
}

// close ends the watching and returns all that was seen.
func (w *watch) close() []cursor {
	w.cancel()
	w.gone.Wait()
	return w.seen
}
