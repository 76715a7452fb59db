package turns

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// queue lets one go on at a time, in the order in which they came.
type queue struct {
	mu      sync.Mutex
	taken   bool
	waiting []chan struct{} // each closed when its turn has come
}

// take waits for the turn. The wait is bounded, because one that waits for itself should
// learn of it.
func (q *queue) take(ctx context.Context, most time.Duration) error {
	q.mu.Lock()
	if !q.taken {
		q.taken = true
		q.mu.Unlock()
		return nil
	}
	come := make(chan struct{})
	q.waiting = append(q.waiting, come)
	q.mu.Unlock()
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	var err error
	select {
	case <-come:
		return nil
	case <-ctx.Done():
		err = fmt.Errorf("another transaction of this process is open: %w", ctx.Err())
	case <-timeout.C:
		err = fmt.Errorf("another transaction of this process has been open for %v: SQLite has room for one, so no Update may wait within another", most)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, come); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return err
	}
	return nil // it has come
}

// tryTake takes the turn if nobody has it.
func (q *queue) tryTake() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	was := q.taken
	q.taken = true
	return !was
}

// waits says whether somebody waits.
func (q *queue) waits() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) > 0
}

// pass hands the turn on, if somebody waits.
func (q *queue) pass() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.next()
}

// leave gives the turn up.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken = q.next()
}

func (q *queue) next() bool {
	if len(q.waiting) == 0 {
		return false
	}
	close(q.waiting[0])
	q.waiting = slices.Delete(q.waiting, 0, 1)
	return true
}
