package tracbus

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"
)

// run tells the listener what was queued for it, until the registration is
// closed. It is the only one who calls the listener.
func (r *Registration) run() {
	ended := false
	defer func() {
		if !ended {
			go r.run() // the listener has called runtime.Goexit: go on without it
			return
		}
		r.end()
	}()
	r.passOver()
	for r.next() {
		r.tell()
	}
	ended = true
}

// next blocks until there is something to tell, and moves it to r.batch. It
// reports false when nothing is left and the registration is closing.
func (r *Registration) next() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.telling() > 0 { // left by the goroutine before this one, or given up
		return r.ctx.Err() == nil
	}
	clear(r.batch)
	r.batch = r.batch[:0]
	r.told.Store(0)
	for {
		if r.queue.Len() == 0 {
			r.crowded = false
		}
		if r.overflow != nil { // all that was before it has been told
			r.owe(*r.overflow)
			r.covered.overflows = r.owed.overflows
			r.overflow = nil
		}
		r.releaseWaiters()
		switch {
		case r.gone || r.ctx.Err() != nil:
			return false // what waits stays where Close counts it
		case r.queue.Len() > 0:
			// In the same turn as a Resync: else a listener whose Resync takes
			// long would be told nothing else while its queue overflows.
			r.pop()
			r.left += uint64(len(r.batch))
			if r.lagging && r.queue.Len() <= r.bus.config.QueueSize/2 {
				signal(r.bus.hungry)
			}
			return true
		case r.resync != nil:
			return true
		case r.closing:
			return false
		}
		r.mu.Unlock()
		<-r.wake
		r.mu.Lock()
	}
}

// pop moves to batch what is told next: events up to a Resync that stands among
// them, or that alone.
func (r *Registration) pop() {
	for r.queue.Len() > 0 && len(r.batch) < r.bus.config.BatchSize && (len(r.batch) == 0 || !r.isResync(r.queue.First())) {
		r.batch = r.queue.Pop(r.batch, 1)
		if r.isResync(r.batch[0]) {
			return
		}
	}
}

// isResync says whether e is told to the listener as the Resync that it is.
func (r *Registration) isResync(e Event) bool {
	if r.listener.resyncs == nil {
		return false
	}
	_, ok := e.(Resync)
	return ok
}

// owe makes the listener be told e before the next event, together with what it
// is owed already.
func (r *Registration) owe(e Resync) {
	if r.resync == nil {
		r.resync = &e
		return
	}
	r.resync.add(e)
}

// add makes e stand for another Resync too. The graver reason is told.
func (e *Resync) add(other Resync) {
	e.Missed += other.Missed
	if other.Reason.gravity() > e.Reason.gravity() {
		e.Reason, e.Err = other.Reason, other.Err
	}
}

// gravity says how much a reason puts in doubt.
func (r ResyncReason) gravity() int {
	switch r {
	case ResyncRewound:
		return 2
	case ResyncPruned:
		return 1
	}
	return 0
}

// end is the last that the goroutine does.
func (r *Registration) end() {
	r.mu.Lock()
	r.ended = true
	if r.gone {
		r.settle()
	}
	leaving := r.leaving
	r.mu.Unlock()
	if leaving {
		r.bus.forget(r)
	}
	close(r.done)
}

// tell tells what next found: that changes were missed, or a batch.
func (r *Registration) tell() {
	r.tellResync()
	if len(r.batch) == 0 {
		return
	}
	if e := r.batch[0]; r.isResync(e) {
		if tid := e.About().TID; tid == 0 || !r.shown.has(tid) { // without a tid it is of all that came before
			r.owe(e.(Resync))
		}
		r.told.Store(1)
		r.tellResync()
		return
	}
	if r.listener.batches != nil {
		if r.passShown(); len(r.batch) == 0 {
			return
		}
		if err := r.repeat(func() error { return r.listener.batches.HandleBatch(r.ctx, r.batch) }); err != nil {
			if r.ctx.Err() != nil {
				return // not told: Close says so
			}
			if r.reloads(err) {
				r.owe(*r.bus.resync(ResyncLoading))
				r.tellResync() // before anybody who waits for the batch goes on
			} else {
				r.fail(r.batch[0], len(r.batch), err)
			}
		}
		r.told.Store(int64(len(r.batch)))
		return
	}
	for i := int(r.told.Load()); i < len(r.batch) && r.ctx.Err() == nil; i++ {
		e := r.batch[i]
		if r.shown.has(e.About().TID) {
			r.told.Store(int64(i + 1))
			continue
		}
		err := r.repeat(func() error { return r.listener.tell(r.ctx, e) })
		if r.reloads(err) {
			r.owe(*r.bus.resync(ResyncLoading))
		} else if err != nil {
			r.fail(e, 1, err)
		}
		r.told.Store(int64(i + 1))
		if err != nil {
			r.tellResync() // before the next event of the batch
		}
	}
}

// reloads says whether an error asks for the listener to be loaded anew.
func (r *Registration) reloads(err error) bool {
	return r.listener.loads != nil && r.shown.journal && errors.Is(err, ErrNeedsLoad)
}

// passShown takes out of the batch what the listener has from the tables.
func (r *Registration) passShown() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batch = slices.DeleteFunc(r.batch, func(e Event) bool { return r.shown.has(e.About().TID) })
}

// repeat calls the listener until it succeeds, as often as the scope allows.
func (r *Registration) repeat(call func() error) error {
	for attempt := 0; ; attempt++ {
		err := r.call(anEvent, call)
		if err == nil || r.reloads(err) || !r.scope.repeats() || attempt >= r.bus.config.MaxRetries {
			return err
		}
		if !r.pause(attempt) {
			return err
		}
		r.mu.Lock()
		r.status.Retried++
		r.status.LastError = err
		r.mu.Unlock()
	}
}

// pause waits before a repetition. It reports false if there is to be none.
func (r *Registration) pause(attempt int) bool {
	timer := time.NewTimer(r.bus.config.Backoff << min(attempt, 6))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// calls says what a listener is being told.
type calls = uint32

const (
	nothing calls = iota
	anEvent
	aResync
)

// call makes a panic of the listener an error.
func (r *Registration) call(what calls, f func() error) (err error) {
	r.calling.Store(what)
	defer func() {
		if p := recover(); p != nil {
			r.calling.Store(nothing)
			err = &panicError{p, debug.Stack()}
		}
	}()
	err = f()
	r.calling.Store(nothing)
	return err
}

// passOver fails the event on which the listener ended the goroutine before
// this one, so that the listener is not told of it again and again.
func (r *Registration) passOver() {
	switch r.calling.Swap(nothing) {
	case anEvent:
		i, n := int(r.told.Load()), 1
		if r.listener.batches != nil {
			n = len(r.batch)
		}
		r.fail(r.batch[i], n, errGoexit)
		r.told.Add(int64(n))
	case aResync:
		r.failResync(errGoexit)
		r.pause(0)
	}
}

var errGoexit = errors.New("the listener called runtime.Goexit")

// panicError is what a listener panicked with.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// Unwrap returns the value, where it is an error.
func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

// fail reports n events, from e on, that the listener did not handle.
func (r *Registration) fail(e Event, n int, err error) {
	told := r.listener.resyncs != nil && r.scope.repeats()
	r.mu.Lock()
	r.status.Failed += uint64(n)
	r.status.LastError = err
	if told {
		r.owed.failures++
		r.covered.failures = r.owed.failures
		e := *r.bus.resync(ResyncListenerFailed)
		e.Missed, e.Err = n, err
		r.owe(e)
	}
	r.mu.Unlock()

	c := e.About()
	attrs := []any{
		"listener", r.name, "scope", r.scope.String(),
		"resource", e.Resource().String(), "channel", channelOf(e, "").String(),
		"tid", c.TID, "events", n, "err", err, "resync", told,
	}
	var p *panicError
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	r.bus.config.Logger.Error("listener failed", attrs...)
}

// tellResync tells the listener that it missed changes, if it did, until it has
// understood: what comes after would be added to a state that it does not have.
func (r *Registration) tellResync() {
	if r.resync == nil {
		return
	}
	for attempt := 0; r.ctx.Err() == nil; attempt++ {
		err := r.call(aResync, func() error { return r.listener.resyncs.Resync(r.ctx, *r.resync) })
		if err == nil {
			break
		}
		r.failResync(err)
		if !r.pause(attempt) {
			break
		}
	}
	r.resync, r.reported = nil, false
	r.mu.Lock()
	r.paid = r.covered
	r.mu.Unlock()
}

// failResync reports, once for each Resync, that it has to be repeated.
func (r *Registration) failResync(err error) {
	r.mu.Lock()
	r.status.Retried++
	r.status.LastError = err
	r.mu.Unlock()
	if !r.reported {
		r.bus.config.Logger.Error("listener failed on resync, which is repeated",
			"listener", r.name, "scope", r.scope.String(), "err", err)
	}
	r.reported = true
}
