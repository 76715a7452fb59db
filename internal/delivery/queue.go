// Package delivery delivers events to one listener: what waits to be delivered,
// which goroutine calls the listener, and what is done when it fails, so that a slow or failing
// listener harms nobody but itself. What an event says is opaque to it.
//
// There are two kinds. A [Queue] holds what waits for a listener of this process,
// and calls it. An [Invoker] has no queue: it calls the listener of a durable
// consumer as the consumer orders.
package delivery

import (
	"context"
	"sync"
	"sync/atomic"
)

// Queue is one listener, with the events that wait and the goroutine that calls it.
// Its methods may be called concurrently.
type Queue[E any] struct {
	config   Config[E]
	listener Listener[E]

	ctx    context.Context // of the listener's calls
	cancel context.CancelFunc
	wake   chan struct{} // holds one token: there is something new
	done   chan struct{} // closed when the goroutine has ended

	// Only the goroutine uses these.
	gap         *Gap    // to be delivered before the next event
	gapsCovered gaps    // that gap makes good
	loaded      *loaded // what the listener has from the tables; nil: nothing
	loading     *loaded // the same, once the Load that goes on has succeeded
	covered     bool    // the listener was loaded when batch was queued already
	reported    bool    // that gap has to be delivered again

	calling  atomic.Uint32 // what a call that has not returned delivers
	progress atomic.Int64  // how many events of batch are delivered

	mu            sync.Mutex // guards what follows
	batch         []E        // what is being delivered; only the goroutine writes it
	waiting       ring[E]
	left          uint64 // how many events left waiting, for batch or dropped
	overflow      *Gap   // to be delivered after batch: what was dropped
	overflowing   bool   // waiting has overflowed since it was last empty
	gapsQueued    gaps   // that were to be delivered
	gapsDelivered gaps   // of these, the delivered ones
	waiters       []waiter
	readTo        int64 // the tid up to which the journal was read for the listener
	behind        bool  // there was no room: the journal is to be read again after readTo
	ahead         ahead // what the listener has already of what comes after readTo
	closing       bool  // nothing more is queued
	gone          bool  // nothing more is delivered
	ended         bool  // the goroutine has done its last
	forget        func()
	status        Status
}

// New returns a queue whose listener's calls get a context that ends with ctx.
// Nothing is delivered before Start.
func New[E any](ctx context.Context, config Config[E], listener Listener[E]) *Queue[E] {
	q := &Queue[E]{
		config:   config,
		listener: listener,
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		waiting:  newRing[E](config.QueueSize),
	}
	q.ctx, q.cancel = context.WithCancel(ctx)
	return q
}

// Start starts the goroutine that calls the listener. Finish has it end.
func (q *Queue[E]) Start() { go q.run() }

// Name returns the listener's name.
func (q *Queue[E]) Name() string { return q.listener.Name }

// Scope returns the listener's scope, for the log.
func (q *Queue[E]) Scope() string { return q.listener.Scope }

// Push queues an event that the listener wants, and never waits: if there is no
// room, it drops the oldest. It reports true if the queue begins to overflow.
// primary says that this process committed the event.
func (q *Queue[E]) Push(e E, primary bool) (overflows bool) {
	if q.listener.PrimaryOnly && !primary || !q.listener.Wants(e) {
		return false
	}
	q.mu.Lock()
	if q.closing {
		q.mu.Unlock()
		return false
	}
	if q.waiting.Push(e) {
		overflows = !q.overflowing
		q.drop()
	}
	idle := len(q.batch) == 0
	q.mu.Unlock()
	if idle {
		q.signal()
	}
	return overflows
}

// drop notes that the oldest event was dropped. The caller holds mu.
func (q *Queue[E]) drop() {
	q.overflowing = true
	q.left++
	q.status.Dropped++
	if q.listener.Dropped != nil {
		q.listener.Dropped(1)
	}
	if !q.listener.hearsGaps() {
		return
	}
	if q.overflow == nil {
		g := NewGap(Overflowed, nil)
		q.overflow = &g
		q.gapsQueued.overflows++
	}
	q.overflow.Missed++
}

func (q *Queue[E]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Status returns what was done so far.
func (q *Queue[E]) Status() Status {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.status
	rest := q.undelivered()
	s.Waiting = q.waiting.Len() + rest
	s.Delivered = q.left - s.Dropped - uint64(rest)
	return s
}

// undelivered returns how many events of the batch are not delivered yet.
func (q *Queue[E]) undelivered() int { return len(q.batch) - int(q.progress.Load()) }

// Leave is Finish for a queue whose bus goes on without it: forget is called
// when the goroutine ends.
func (q *Queue[E]) Leave(forget func()) {
	q.mu.Lock()
	q.forget = forget
	q.mu.Unlock()
	q.Finish()
}

// Finish takes no more events, and lets the goroutine end when all that waits is
// delivered.
func (q *Queue[E]) Finish() {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.signal()
}

// Done is closed when the goroutine has ended.
func (q *Queue[E]) Done() <-chan struct{} { return q.done }

// Cancel ends the context of the listener's calls.
func (q *Queue[E]) Cancel() { q.cancel() }

// Abandon gives up what is not delivered, and says what that was; it reports
// false if there is nothing to say. The context of the listener's calls has
// ended. committed is the last tid that this process committed.
func (q *Queue[E]) Abandon(committed int64) (Undelivered[E], bool) {
	q.mu.Lock()
	done := int(q.progress.Load()) // once, because the goroutine may be counting on
	u := Undelivered[E]{Count: q.waiting.Len() + len(q.batch) - done}
	if done < len(q.batch) {
		u.Oldest = q.batch[done]
	} else if q.waiting.Len() > 0 {
		u.Oldest = q.waiting.First()
	}
	if q.listener.Dropped != nil {
		q.listener.Dropped(q.waiting.Len())
	}
	q.status.Dropped += uint64(q.waiting.Len())
	q.left += uint64(q.waiting.Len())
	q.waiting = newRing[E](0)
	if q.behind && q.readTo < committed {
		u.After = q.readTo
	}
	q.behind = false
	q.closing, q.gone = true, true
	if q.ended {
		q.settle()
	}
	u.CallRunning = len(q.batch) > 0 || q.calling.Load() != nothing
	q.releaseWaiters()
	q.mu.Unlock()
	q.signal()
	if !u.CallRunning {
		<-q.done // immediately, because it will not call the listener again
	}
	return u, u.Count > 0 || u.CallRunning || u.After > 0
}

// settle counts what will not be delivered of a batch. The caller holds mu, and
// the goroutine has done its last.
func (q *Queue[E]) settle() {
	q.status.Dropped += uint64(q.undelivered())
	q.batch = nil
	q.progress.Store(0)
}
