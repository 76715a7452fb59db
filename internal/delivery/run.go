package delivery

import (
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"
)

// run delivers what was queued, until the queue is closed. It is the only one
// who calls the listener.
func (q *Queue[E]) run() {
	ended := false
	defer func() {
		if !ended {
			go q.run() // the listener has called runtime.Goexit: go on without it
			return
		}
		q.end()
	}()
	q.passOver()
	for q.next() {
		q.deliver()
	}
	ended = true
}

// next blocks until there is something to deliver, and moves it to q.batch. It
// reports false when nothing is left and the queue is closing.
func (q *Queue[E]) next() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.undelivered() > 0 { // left by the goroutine before this one, or given up
		return q.ctx.Err() == nil
	}
	clear(q.batch)
	q.batch, q.covered = q.batch[:0], false
	q.progress.Store(0)
	for {
		if q.waiting.Len() == 0 {
			q.overflowing = false
		}
		if q.overflow != nil { // all that was before it has been delivered
			q.addGap(*q.overflow)
			q.gapsCovered.overflows = q.gapsQueued.overflows
			q.overflow = nil
		}
		q.releaseWaiters()
		switch {
		case q.gone || q.ctx.Err() != nil:
			return false // what waits stays in the queue, and Abandon counts it
		case q.waiting.Len() > 0:
			// In the same round as a gap: else a listener whose Resync takes long
			// would get nothing else while its queue overflows.
			q.pop()
			q.left += uint64(len(q.batch))
			if q.behind && q.waiting.Len() <= q.config.QueueSize/2 {
				q.config.Room()
			}
			return true
		case q.gap != nil:
			return true
		case q.closing:
			return false
		}
		q.mu.Unlock()
		<-q.wake
		q.mu.Lock()
	}
}

// pop moves to batch what is delivered next: events up to a gap that is among
// them, or that alone. The caller holds mu.
func (q *Queue[E]) pop() {
	for q.waiting.Len() > 0 && len(q.batch) < q.config.BatchSize {
		if len(q.batch) > 0 && q.isGap(q.waiting.First()) {
			return
		}
		q.batch = q.waiting.Pop(q.batch, 1)
		if q.isGap(q.batch[0]) {
			return
		}
	}
}

// end is the last that the goroutine does.
func (q *Queue[E]) end() {
	q.mu.Lock()
	q.ended = true
	if q.gone {
		q.settle()
	}
	forget := q.forget
	q.mu.Unlock()
	if forget != nil {
		forget()
	}
	if q.listener.Ended != nil {
		q.listener.Ended()
	}
	close(q.done)
}

// deliver delivers what next found: that changes were missed, or a batch.
func (q *Queue[E]) deliver() {
	q.deliverGap()
	switch {
	case len(q.batch) == 0:
	case q.isGap(q.batch[0]):
		q.deliverQueuedGap()
	case q.listener.Batch != nil:
		q.deliverBatch()
	default:
		q.deliverEach()
	}
}

// deliverQueuedGap delivers a batch that is one gap.
func (q *Queue[E]) deliverQueuedGap() {
	if e := q.batch[0]; q.config.TID(e) == 0 || !q.has(e) { // without a tid it is of all that came before
		q.addGap(*q.config.Gap(e))
	}
	q.progress.Store(1)
	q.deliverGap()
}

// deliverBatch delivers the batch in one call.
func (q *Queue[E]) deliverBatch() {
	if q.passLoaded(); len(q.batch) == 0 {
		return
	}
	if err := q.repeat(func() error { return q.listener.Batch(q.ctx, q.batch) }); err != nil {
		if q.ctx.Err() != nil {
			return // not delivered: Abandon says so
		}
		if q.needsLoad(err) {
			q.addGap(NewGap(Loading, nil))
			q.deliverGap() // before anybody who waits for the batch goes on
		} else {
			q.fail(q.batch[0], len(q.batch), err)
		}
	}
	q.progress.Store(int64(len(q.batch)))
}

// deliverEach delivers the batch event by event.
func (q *Queue[E]) deliverEach() {
	for i := int(q.progress.Load()); i < len(q.batch) && q.ctx.Err() == nil; i++ {
		e := q.batch[i]
		if q.has(e) {
			q.progress.Store(int64(i + 1))
			continue
		}
		err := q.repeat(func() error { return q.listener.Deliver(q.ctx, e) })
		if q.needsLoad(err) {
			q.addGap(NewGap(Loading, nil))
		} else if err != nil {
			q.fail(e, 1, err)
		}
		q.progress.Store(int64(i + 1))
		if err != nil {
			q.deliverGap() // before the next event of the batch
		}
	}
}

// has says whether the listener has the changes of an event's transaction from the
// tables. What was queued before it was loaded it has, or that is of a history that is
// gone: a queue drops of it what waits (Rewind), and not what is in a batch.
func (q *Queue[E]) has(e E) bool {
	return q.covered || q.loaded != nil && q.loaded.has(q.config.TID(e))
}

// needsLoad says whether an error asks for the listener to be loaded again.
func (q *Queue[E]) needsLoad(err error) bool {
	return err != nil && q.loaded != nil && q.listener.NeedsLoad(err)
}

// passLoaded takes out of the batch what the listener has from the tables.
func (q *Queue[E]) passLoaded() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batch = slices.DeleteFunc(q.batch, q.has)
}

// repeat calls the listener until it succeeds, as often as the scope allows.
func (q *Queue[E]) repeat(f func() error) error {
	for attempt := 0; ; attempt++ {
		err := q.call(anEvent, f)
		if err == nil || q.needsLoad(err) || !q.listener.Repeats || attempt >= q.config.MaxRetries {
			return err
		}
		if !q.pause(attempt) {
			return err
		}
		q.mu.Lock()
		q.status.Retried++
		q.status.LastError = err
		q.mu.Unlock()
	}
}

// pause waits before a retry. It reports false if there is to be none.
func (q *Queue[E]) pause(attempt int) bool {
	timer := time.NewTimer(q.config.Backoff << min(attempt, 6))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-q.ctx.Done():
		return false
	}
}

// call calls the listener once, and makes a panic an error. If the listener ends
// the goroutine, calling keeps what it was called with.
func (q *Queue[E]) call(what calls, f func() error) (err error) {
	q.calling.Store(what)
	defer func() {
		if p := recover(); p != nil {
			q.calling.Store(nothing)
			err = &PanicError{p, debug.Stack()}
		}
	}()
	err = f()
	q.calling.Store(nothing)
	return err
}

// passOver fails the event on which the listener ended the goroutine before this
// one, so that the listener does not get it again and again.
func (q *Queue[E]) passOver() {
	switch q.calling.Swap(nothing) {
	case anEvent:
		i, n := int(q.progress.Load()), 1
		if q.listener.Batch != nil {
			n = len(q.batch)
		}
		q.fail(q.batch[i], n, ErrGoexit)
		q.progress.Add(int64(n))
	case aGap:
		q.failGap(ErrGoexit)
		q.pause(0)
	}
}

// fail reports n events, from e on, that the listener did not handle.
func (q *Queue[E]) fail(e E, n int, err error) {
	resyncs := q.listener.hearsGaps() && q.listener.Repeats
	q.mu.Lock()
	q.status.Failed += uint64(n)
	q.status.LastError = err
	if resyncs {
		q.gapsQueued.failures++
		q.gapsCovered.failures = q.gapsQueued.failures
		g := NewGap(Failed, err)
		g.Missed = n
		q.addGap(g)
	}
	q.mu.Unlock()

	attrs := []any{"listener", q.listener.Name, "scope", q.listener.Scope}
	attrs = append(attrs, q.config.Attrs(e)...)
	attrs = append(attrs, "events", n, "err", err, "resync", resyncs)
	var p *PanicError
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	q.config.Logger.Error("listener failed", attrs...)
}
