package tracbus

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tracbus/tracbus/internal/queue"
)

// Registration is one listener on a bus, with the goroutine that calls it. Its
// methods may be called concurrently, also by listeners, who may not call
// Close.
type Registration struct {
	bus      *Bus
	name     string
	scope    Scope
	listener listener
	once     *duty // nil unless the scope is Once's

	ctx    context.Context // of the listener's calls
	cancel context.CancelFunc
	wake   chan struct{} // holds one token: there is something new
	done   chan struct{} // closed when the goroutine has ended

	// Only the goroutine uses these.
	resync   *Resync // to be told before the next event
	covered  debts   // what resync makes good
	shown    shown   // what the listener has from the tables
	reported bool    // that resync has to be repeated

	calling atomic.Uint32 // what a call that has not returned tells
	told    atomic.Int64  // how many events of batch are told

	mu       sync.Mutex
	batch    []Event            // what is being told; only the goroutine writes it
	queue    queue.Queue[Event] // what waits
	left     uint64             // how many events left the queue, for batch or dropped
	overflow *Resync            // of what was dropped behind batch
	crowded  bool               // the queue has overflowed since it was last empty
	owed     debts              // Resyncs that the listener was to be told
	paid     debts              // and has been
	waiters  []waiter
	fed      int64 // the tid up to which the journal was read for it
	lagging  bool  // the queue was full: the journal is to be read again from there
	closing  bool  // nothing more is queued
	leaving  bool  // the registration was closed, not the bus
	gone     bool  // nothing more is told
	ended    bool  // the goroutine has done its last
	status   ListenerStatus
}

// listener is what was registered, under the interfaces that it has.
type listener struct {
	handler
	batches BatchListener  // nil if it takes events one by one
	resyncs ResyncListener // nil if it is not told that it missed changes
	loads   LoadListener   // nil if it is not loaded from tables; else resyncs does it
	drops   dropCounter    // nil if it does not count what the bus dropped
}

// A dropCounter shows in its own figures what its bus dropped.
type dropCounter interface{ countDropped(events int) }

// resyncFunc is a function registered with [On] that takes a [Resync].
type resyncFunc func(context.Context, Event) error

func (f resyncFunc) Resync(ctx context.Context, e Resync) error { return f(ctx, e) }

// ListenerStatus says what a registration has done so far.
type ListenerStatus struct {
	Listener string
	Scope    Scope

	Waiting   int    // events not told yet, with those in the call that goes on
	Delivered uint64 // events told, whether the listener failed on them or not
	Failed    uint64 // of these, given up after a failure
	Retried   uint64 // calls made again after a failure
	Dropped   uint64 // events never told: too many waited, or the bus was closed

	LastError error // of the last call that failed; nil if none did
}

func newRegistration(b *Bus, scope Scope, l any, h handler) *Registration {
	r := &Registration{
		bus:      b,
		name:     nameOf(l),
		scope:    scope,
		listener: listener{handler: h},
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		queue:    queue.New[Event](b.config.QueueSize),
	}
	r.listener.batches, _ = l.(BatchListener)
	r.listener.drops, _ = l.(dropCounter)
	if r.listener.resyncs, _ = l.(ResyncListener); r.listener.resyncs == nil {
		if _, all := h.(allHandler); !all && h.wants(Resync{}) {
			r.listener.resyncs = resyncFunc(h.tell)
		}
	}
	if durable, ok := scope.(durableScope); ok {
		r.once = newDuty(durable)
	} else if r.listener.loads, _ = l.(LoadListener); r.listener.loads != nil {
		r.listener.resyncs = loading{r, l}
	}
	r.ctx, r.cancel = context.WithCancel(b.ctx)
	return r
}

// put queues an event that the listener wants, and never waits. It reports true
// if the queue begins to overflow.
func (r *Registration) put(e Event, primary bool) (overflows bool) {
	if !r.scope.has(primary) || !r.listener.wants(e) {
		return false
	}
	r.mu.Lock()
	if r.closing {
		r.mu.Unlock()
		return false
	}
	if r.queue.Push(e) {
		overflows = !r.crowded
		r.drop()
	}
	idle := len(r.batch) == 0
	r.mu.Unlock()
	if idle {
		r.signal()
	}
	return overflows
}

// drop notes that the oldest event was dropped. The caller holds mu.
func (r *Registration) drop() {
	r.crowded = true
	r.left++
	r.status.Dropped++
	if r.listener.drops != nil {
		r.listener.drops.countDropped(1)
	}
	if r.listener.resyncs == nil {
		return
	}
	if r.overflow == nil {
		r.overflow = r.bus.resync(ResyncOverflowed)
		r.owed.overflows++
	}
	r.overflow.Missed++
}

func (r *Registration) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// debts counts the Resyncs of each reason.
type debts struct{ overflows, failures uint64 }

// waiter is a call of Wait, for all events up to one, and for the Resyncs that
// were owed then.
type waiter struct {
	tid   int64 // up to which the journal must have been read for it first
	fixed bool  // it has been: what follows says for what else is waited
	upTo  uint64
	owed  debts
	done  chan struct{}
}

// fix notes what is to be told until the waiter has what it waits for, as soon
// as all of it is queued.
func (w *waiter) fix(r *Registration) {
	if !w.fixed && r.fed >= w.tid {
		w.fixed, w.upTo, w.owed = true, r.left+uint64(r.queue.Len()), r.owed
	}
}

// Wait returns when the listener has been told of all that the bus has taken so
// far, whether it could handle it or not, and of what it missed; or when ctx
// ends. A listener that calls it waits for itself. Under [Durable] it returns when
// the listener has handled all of that, and all that this process has committed,
// in whatever process.
func (r *Registration) Wait(ctx context.Context) error {
	if r.once != nil {
		return r.bus.waitForConsumer(ctx, r.once.name)
	}
	return r.wait(ctx, r.bus.told())
}

// wait waits for all that the journal has up to a tid, and for what else the
// queue holds.
func (r *Registration) wait(ctx context.Context, tid int64) error {
	r.mu.Lock()
	w := waiter{tid: tid, done: make(chan struct{})}
	w.fix(r)
	if r.reached(w) {
		r.mu.Unlock()
		return nil
	}
	r.waiters = append(r.waiters, w)
	r.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiters = slices.DeleteFunc(r.waiters, func(other waiter) bool { return other.done == w.done })
	return ctx.Err()
}

// reached says whether nothing that w waits for is still to be told: a batch is
// older than what was dropped meanwhile.
func (r *Registration) reached(w waiter) bool {
	return r.gone || w.fixed && len(r.batch) == 0 && r.left >= w.upTo &&
		r.paid.overflows >= w.owed.overflows && r.paid.failures >= w.owed.failures
}

// releaseWaiters ends the calls of Wait that have what they waited for.
func (r *Registration) releaseWaiters() {
	rest := r.waiters[:0]
	for _, w := range r.waiters {
		if r.reached(w) {
			close(w.done)
		} else {
			rest = append(rest, w)
		}
	}
	clear(r.waiters[len(rest):])
	r.waiters = rest
}

// Status returns what the registration has done so far.
func (r *Registration) Status() ListenerStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Listener, s.Scope = r.name, r.scope
	telling := r.telling()
	s.Waiting = r.queue.Len() + telling
	s.Delivered = r.left - s.Dropped - uint64(telling)
	return s
}

// telling returns how many events of the batch are not told yet.
func (r *Registration) telling() int { return len(r.batch) - int(r.told.Load()) }

// Close takes the listener off the bus: it is told what waits, and nothing
// more. If ctx ends before, its context ends, and a [*CloseError] says what it
// was not told. It may be called again, to wait for a call that was going on.
func (r *Registration) Close(ctx context.Context) error {
	r.mu.Lock()
	r.leaving = true
	r.mu.Unlock()
	r.finish()
	r.waitForEnd(ctx)
	r.cancel()
	return closeError([]*Registration{r})
}

// finish lets the goroutine end when all is told.
func (r *Registration) finish() {
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
	r.signal()
}

// waitForEnd waits for the goroutine until ctx ends.
func (r *Registration) waitForEnd(ctx context.Context) {
	select {
	case <-r.done:
		return
	default:
	}
	select {
	case <-r.done:
	case <-ctx.Done():
	}
}

// abandon gives up what is not told, and says what that was. The listener's
// context has ended.
func (r *Registration) abandon() (Undelivered, bool) {
	own := r.bus.own()
	r.mu.Lock()
	told := int(r.told.Load()) // once, for the goroutine may be counting on
	u := Undelivered{Listener: r.name, Count: r.queue.Len() + len(r.batch) - told}
	if told < len(r.batch) {
		u.Oldest = r.batch[told]
	} else if r.queue.Len() > 0 {
		u.Oldest = r.queue.First()
	}
	if r.listener.drops != nil {
		r.listener.drops.countDropped(r.queue.Len())
	}
	r.status.Dropped += uint64(r.queue.Len())
	r.left += uint64(r.queue.Len())
	r.queue = queue.New[Event](0)
	if r.lagging && r.fed < own {
		u.After = r.fed
	}
	r.lagging = false
	r.closing, r.gone = true, true
	if r.ended {
		r.settle()
	}
	u.CallRunning = len(r.batch) > 0 || r.calling.Load() != nothing
	r.releaseWaiters()
	r.mu.Unlock()
	r.signal()
	if !u.CallRunning {
		<-r.done // at once, for it will not call the listener again
	}
	return u, u.Count > 0 || u.CallRunning || u.After > 0
}

// settle counts what will not be told of a batch. The caller holds mu, and the
// goroutine has done its last.
func (r *Registration) settle() {
	r.status.Dropped += uint64(r.telling())
	r.batch = nil
	r.told.Store(0)
}
