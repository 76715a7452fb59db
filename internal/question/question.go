// Package question lets many who ask the same at the same time be answered once. Its
// secret is who may share an answer.
package question

import (
	"context"
	"sync"
	"time"
)

// Desk answers questions once for all who ask the same at the same time. Nobody gets an
// answer to a question that was put before its own. The zero value is ready.
type Desk[K comparable, V any] struct {
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

// Ask returns what answer returns. Its context is base, which outlives those who
// ask: another may wait for the same answer.
func (q *Desk[K, V]) Ask(ctx, base context.Context, key K, answer func(context.Context) (V, error)) (none V, err error) {
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

// Wait waits until no question is being answered, and nobody may ask meanwhile.
func (q *Desk[K, V]) Wait() { q.going.Wait() }
