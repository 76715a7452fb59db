package delivery

import (
	"context"
	"slices"
)

// waiter is a call of Wait, for all events up to one, and for the gaps that were
// queued then. It is guarded by the queue's mu.
type waiter struct {
	tid   int64 // up to which the journal must have been read first
	fixed bool  // it has been: what follows says for what else is waited
	upTo  uint64
	gaps  gaps
	done  chan struct{}
}

// fix notes what is to be delivered until the waiter has what it waits for, as
// soon as all of it is queued. The caller holds mu.
func (q *Queue[E]) fix(w *waiter) {
	if !w.fixed && q.readTo >= w.tid {
		w.fixed, w.upTo, w.gaps = true, q.left+uint64(q.waiting.Len()), q.gapsQueued
	}
}

// Wait returns when the listener got all that the journal has up to a tid, and
// what else the queue holds, whether it could handle it or not; or when ctx ends.
func (q *Queue[E]) Wait(ctx context.Context, tid int64) error {
	q.mu.Lock()
	w := waiter{tid: tid, done: make(chan struct{})}
	q.fix(&w)
	if q.reached(&w) {
		q.mu.Unlock()
		return nil
	}
	q.waiters = append(q.waiters, w)
	q.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiters = slices.DeleteFunc(q.waiters, func(other waiter) bool { return other.done == w.done })
	return ctx.Err()
}

// reached says whether nothing that w waits for is still to be delivered: a batch
// is older than what was dropped meanwhile. The caller holds mu.
func (q *Queue[E]) reached(w *waiter) bool {
	return q.gone || w.fixed && len(q.batch) == 0 && q.left >= w.upTo &&
		q.gapsDelivered.overflows >= w.gaps.overflows && q.gapsDelivered.failures >= w.gaps.failures
}

// releaseWaiters ends the calls of Wait that have what they waited for. The
// caller holds mu.
func (q *Queue[E]) releaseWaiters() {
	rest := q.waiters[:0]
	for i := range q.waiters {
		if w := &q.waiters[i]; q.reached(w) {
			close(w.done)
		} else {
			rest = append(rest, *w)
		}
	}
	clear(q.waiters[len(rest):])
	q.waiters = rest
}

// moved looks who waited until the journal was read up to this tid for the
// listener. The caller holds mu.
func (q *Queue[E]) moved() {
	for i := range q.waiters {
		q.fix(&q.waiters[i])
	}
	q.releaseWaiters()
}
