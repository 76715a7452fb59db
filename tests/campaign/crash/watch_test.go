package tracbus_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashWatch looks at the names' rows all the time: only who looks often sees a
// place that moved back.
type crashWatch struct {
	cancel context.CancelFunc
	gone   sync.WaitGroup

	mu       sync.Mutex
	db       *sql.DB // nil while nobody may look
	seen     []crashCursor
	last     map[string]crashCursor
	lease    map[string]crashHolder
	restored map[string]bool // the next may be lower
}

// crashHolder is the process that holds a name, and how often it has said so.
type crashHolder struct {
	pid  int
	beat int64
}

// watchCrash starts to watch, until close.
func watchCrash(t testing.TB, db *sql.DB) *crashWatch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &crashWatch{cancel: cancel, db: db, last: map[string]crashCursor{}, lease: map[string]crashHolder{}, restored: map[string]bool{}}
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
func (w *crashWatch) look(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.db == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	rows, err := w.db.QueryContext(ctx, "SELECT name, CASE WHEN rest = 1 THEN tid - 1 ELSE tid END, epoch, beat, holder FROM journal_once")
	if err != nil {
		return
	}
	defer rows.Close()
	for rows.Next() {
		var c crashCursor
		var h crashHolder
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
func (w *crashWatch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.db = nil
}

func (w *crashWatch) resume(db *sql.DB) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.db = db
	for name := range w.last {
		w.restored[name] = true
	}
}

// done says whether all names are done up to a tid.
func (w *crashWatch) done(tid int64) bool {
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
func (w *crashWatch) at(name string) crashCursor {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[name]
}

// holder returns who was seen last to hold a name.
func (w *crashWatch) holder(name string) crashHolder {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lease[name]
}

// close ends the watching and returns all that was seen.
func (w *crashWatch) close() []crashCursor {
	w.cancel()
	w.gone.Wait()
	return w.seen
}
