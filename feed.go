package tracbus

import (
	"context"
	"errors"

	"github.com/tracbus/tracbus/internal/store"
)

// A bus with a journal is fed by it: a listener whose queue is full loses
// nothing, for the journal is read again when there is room.

// attach ties the bus to a journal, of which all has been told up to a tid.
func (b *Bus) attach(j *Journal, at store.Place) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrBusClosed
	case b.journal != nil:
		return errors.New("the bus has a journal already")
	}
	b.journal, b.fed = j, at.TID
	for _, r := range b.registrations {
		r.attach(at)
	}
	return nil
}

// told returns the tid up to which the journal has fed the bus.
func (b *Bus) told() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fed
}

// own returns the last tid that this process committed, as far as it is known.
func (b *Bus) own() int64 {
	b.mu.Lock()
	j := b.journal
	b.mu.Unlock()
	if j == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.own.TID
}

// feed queues events for every listener: all that the journal has up to a tid.
func (b *Bus) feed(events []Event, upTo int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fed = upTo
	for _, r := range b.registrations {
		r.feed(events, upTo)
	}
}

// rewind makes every listener go on behind an earlier tid, after a Resync.
func (b *Bus) rewind(tid int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fed = tid
	for _, r := range b.registrations {
		r.rewind(tid, err)
	}
}

// nudge has those look that read the journal for themselves.
func (b *Bus) nudge() {
	for _, r := range b.all() {
		if r.once != nil {
			r.once.memory.Kick()
		}
	}
}

// skip makes every listener go on behind a later tid, up to which all is pruned.
func (b *Bus) skip(tid int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fed = tid
	for _, r := range b.registrations {
		r.skip(tid, tid, err)
	}
}

// attach begins to count tids, and has the listener loaded.
func (r *Registration) attach(at store.Place) {
	if r.once != nil {
		r.once.memory.Begin(at)
	}
	r.mu.Lock()
	r.fed = at.TID
	if r.listener.loads != nil {
		r.resyncLater(ResyncLoading, nil)
	}
	r.mu.Unlock()
	r.signal()
}

// resyncLater has the listener told a Resync before the next event that is
// queued. The caller holds mu.
func (r *Registration) resyncLater(reason ResyncReason, err error) {
	if r.listener.resyncs == nil || r.once != nil { // whose relay tells it
		return
	}
	e := r.bus.resync(reason)
	e.Err = err
	if r.overflow != nil {
		r.overflow.add(*e)
		return
	}
	r.overflow = e
	r.owed.overflows++
}

// resyncLast has the listener told a Resync behind all that is queued, which it
// does not concern. The caller holds mu.
func (r *Registration) resyncLast(reason ResyncReason, err error) {
	if r.queue.Len() == 0 {
		r.resyncLater(reason, err)
		return
	}
	if r.listener.resyncs != nil && r.once == nil {
		e := *r.bus.resync(reason)
		e.Err = err
		r.queue.Grow(e)
	}
}

// feed queues what the listener wants, transaction by transaction, as long as
// there is room. What there is no room for is read again later.
func (r *Registration) feed(events []Event, upTo int64) {
	r.mu.Lock()
	if !r.lagging {
		r.take(events, upTo)
	}
	idle := len(r.batch) == 0
	r.mu.Unlock()
	switch {
	case r.once != nil:
		r.once.memory.Kick()
	case idle:
		r.signal()
	}
}

// refill is feed for a listener that lags behind the others. told is where those
// are.
func (r *Registration) refill(events []Event, upTo, told int64) {
	r.mu.Lock()
	if !r.closing { // else it lags for ever, as Close says
		r.take(events, upTo)
		r.lagging = r.fed < told
	}
	r.mu.Unlock()
	r.signal()
}

// take queues whole transactions until the queue is full. The caller holds mu.
func (r *Registration) take(events []Event, upTo int64) {
	for i := 0; i < len(events) && !r.closing; {
		tid := events[i].About().TID
		if r.queue.Len() >= r.bus.config.QueueSize {
			r.lagging = true
			upTo = tid - 1
			break
		}
		for ; i < len(events) && events[i].About().TID == tid; i++ {
			if e := events[i]; tid > r.fed && r.scope.has(e.About().Primary) && (r.listener.wants(e) || r.isResync(e)) {
				r.queue.Grow(e)
			}
		}
	}
	r.fed = max(r.fed, upTo)
	r.moved()
}

// hungry says whether the journal is to be read again for the listener, and
// behind which tid. told is where the others are.
func (r *Registration) hungry(told int64) (after int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lagging = r.lagging && r.fed < told
	return r.fed, r.lagging && !r.closing && r.queue.Len() <= r.bus.config.QueueSize/2
}

// rewind drops what waits from behind a tid, which is no more, and goes on there
// after a Resync. What waits from before it still stands, and is told: a side
// effect of a Primary listener has no other occasion.
func (r *Registration) rewind(tid int64, err error) {
	r.mu.Lock()
	waits := r.queue.Pop(nil, r.queue.Len())
	for _, e := range waits {
		if e.About().TID <= tid {
			r.queue.Grow(e)
		}
	}
	kept := r.queue.Len()
	dropped := uint64(len(waits) - kept)
	for i := range r.waiters { // count on to where what is kept ends now
		w := &r.waiters[i]
		w.upTo = min(w.upTo, r.left+uint64(kept)) + dropped
	}
	r.left += dropped
	r.status.Dropped += dropped
	if r.listener.drops != nil {
		r.listener.drops.countDropped(int(dropped))
	}
	r.fed = min(r.fed, tid)
	r.lagging = r.lagging && r.fed < tid
	if r.once != nil {
		r.once.memory.Missed(err)
	}
	r.resyncLast(ResyncRewound, err)
	r.moved()
	r.mu.Unlock()
	r.signal()
}

// skip goes on behind the tid up to which all is pruned, after a Resync, where
// the journal was not read for the listener up to there. told is where the
// others are. What waits was read before, and is told.
func (r *Registration) skip(floor, told int64, err error) {
	r.mu.Lock()
	if r.fed < floor && !r.closing {
		r.fed = floor
		r.lagging = r.fed < told
		r.resyncLast(ResyncPruned, err)
		r.moved()
	}
	r.mu.Unlock()
	r.signal()
}

// moved looks who waited for the tid up to which the journal was read for the
// listener. The caller holds mu.
func (r *Registration) moved() {
	for i := range r.waiters {
		r.waiters[i].fix(r)
	}
	r.releaseWaiters()
}

// caughtUp says whether all up to a tid is queued for every listener.
func (b *Bus) caughtUp(tid int64) bool {
	for _, r := range b.all() {
		r.mu.Lock()
		there := r.fed >= tid || r.closing
		r.mu.Unlock()
		if !there {
			return false
		}
	}
	return true
}

// loading is the Resync of a listener that is loaded from tables instead, where
// there is a journal that tells which changes they hold.
type loading struct {
	r *Registration
	l any
}

// Resync implements [ResyncListener].
func (l loading) Resync(ctx context.Context, e Resync) error {
	l.r.bus.mu.Lock()
	j := l.r.bus.journal
	l.r.bus.mu.Unlock()
	if j != nil {
		s, err := j.load(ctx, l.r.listener.loads.Load)
		if err == nil {
			l.r.shown = s
		}
		return err
	}
	if resyncs, ok := l.l.(ResyncListener); ok {
		return resyncs.Resync(ctx, e)
	}
	return nil
}
