package session

import (
	"context"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
)

// WaitOn keeps ctx from ending for as long as the server works for a session, or has it
// wait for a lock, up to Limits.Lock. A session that rests while its answer is
// waited for has lost it: a KILL QUERY between two statements of one round trip makes
// the server drop the rest, and say nothing. It is called with ctx bounded, and the
// function that it returns before the bound is over.
func (all *Sessions) WaitOn(ctx context.Context, id int64) (stop func()) {
	w := &waiting{all: all, ctx: ctx, id: id}
	w.done.Add(1)
	timer := time.AfterFunc(all.Limits.Answer/2, w.look)
	return func() {
		w.mu.Lock()
		w.over = true
		if w.cancel != nil {
			w.cancel()
		}
		w.mu.Unlock()
		if !timer.Stop() {
			w.done.Wait()
		}
	}
}

// waiting is a statement that is waited for.
type waiting struct {
	all  *Sessions
	ctx  context.Context
	id   int64
	done sync.WaitGroup

	mu     sync.Mutex // guards what follows
	over   bool
	cancel context.CancelFunc // of what is asked meanwhile
}

// look runs if the statement takes long.
func (w *waiting) look() {
	defer w.done.Done()
	asking, cancel := context.WithTimeout(context.Background(), w.all.Limits.Lock)
	defer cancel()
	w.mu.Lock()
	w.cancel = cancel
	over := w.over
	w.mu.Unlock()
	for !over && w.all.works(asking, w.id) {
		limit.Progress(w.ctx)
		over = !limit.Sleep(asking, w.all.Limits.Answer/4)
	}
}

// works says whether the server works for a session.
func (all *Sessions) works(ctx context.Context, id int64) bool {
	ctx, cancel := context.WithTimeout(ctx, all.Limits.Answer/4)
	defer cancel()
	var n int
	err := limit.QueryRow(ctx, all.DB, "SELECT count(*) FROM information_schema.processlist WHERE id = ? AND command <> 'Sleep' LIMIT 1", id).Scan(&n)
	return err == nil && n > 0
}
