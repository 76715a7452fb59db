package consumer

import (
	"context"
	"sync"
	"time"
)

// slots bound how many statements the consumers of a process run at once, so that
// they leave connections to the application. What renews leases does not wait here:
// it has a connection of its own; see [Renewer].
type slots chan struct{}

// newSlots returns the slots of a pool of at most so many connections; 0 means any
// number.
func newSlots(most int) slots {
	n := 4
	if most > 0 {
		n = min(n, most/2)
	}
	return make(slots, max(n-1, 1))
}

// statementLimit bounds how long a statement of a consumer may take.
const statementLimit = 15 * time.Second

// unlimited is for what takes as long as there is something to read: the store ends it
// if the database is silent.
const unlimited time.Duration = 0

// use runs f, which makes some statements, within a limit of time, unless that is
// unlimited.
func (s slots) use(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	select {
	case s <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s }()
	if limit == unlimited {
		return f(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}

// questions are answered once for all who ask the same at the same time. Nobody gets
// an answer to a question that was put before its own.
type questions[K comparable, V any] struct {
	mu    sync.Mutex
	asked map[K]*question[V] // that have no answer yet
	going sync.WaitGroup
}

type question[V any] struct {
	put   time.Time
	done  chan struct{} // closed when what follows is known
	value V
	err   error
}

// ask returns what answer returns. Its context is base, which outlives those who
// ask: another may wait for the same answer.
func (q *questions[K, V]) ask(ctx, base context.Context, key K, answer func(context.Context) (V, error)) (none V, err error) {
	since := time.Now()
	for {
		q.mu.Lock()
		one := q.asked[key]
		if one == nil {
			one = &question[V]{put: time.Now(), done: make(chan struct{})}
			if q.asked == nil {
				q.asked = map[K]*question[V]{}
			}
			q.asked[key] = one
			q.going.Go(func() {
				one.value, one.err = answer(base)
				q.mu.Lock()
				delete(q.asked, key)
				q.mu.Unlock()
				close(one.done)
			})
		}
		q.mu.Unlock()
		select {
		case <-one.done:
		case <-ctx.Done():
			return none, ctx.Err()
		}
		if !one.put.Before(since) {
			return one.value, one.err
		}
	}
}
