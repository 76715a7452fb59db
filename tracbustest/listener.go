package tracbustest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tracbustest/internal/compare"
	"github.com/tracbus/tracbus/tracbustest/internal/hostile"
)

// Listener checks a listener with events that it has use for: a function, as
// [tracbus.On] takes it, a [tracbus.BatchListener], or a value with a method for each type
// of event, such as a [tracbus.TicketListener] or the listener of a realm of your own. It is
// called as a bus would: one call at a time. If it is a [tracbus.ResyncListener], that is
// checked too. Listeners that are loaded from a database are not loaded.
//
// The listener is called several times with each event, and with others like it: what it
// does then should be harmless, such as mail to a server of the test's own.
func Listener(t T, listener any, events ...tracbus.Event) {
	t.Helper()
	c := listenerCheck{report{t, fmt.Sprintf("listener %T", listener)}, listener}
	if events = c.taken(events); len(events) == 0 {
		return
	}
	c.handles(events)
	c.ends(c.t.Context(), events)
	c.resyncs()
	c.survives(c.t.Context(), events)
}

var (
	promiseKnown     = promise{"it takes events", "The check is given events that the listener has use for.", "What is not called is not checked."}
	promiseHandles   = promise{"it handles events", "A call with a sound event returns nil.", "A change on which a durable listener fails blocks what comes after it; another listener loses it."}
	promiseNoPanic   = promise{"it does not panic", "A listener returns an error if it did not handle the event. It does not panic or end its goroutine, whatever texts an event has, and whatever is null or empty.", "The bus takes a panic for an error, which is repeated: a durable listener is blocked by it."}
	promiseUntouched = promise{"events are shared", "A listener does not change an event's Fields.", "All listeners share them, and read them at the same time."}
	promiseReturns   = promise{"an ended context is heeded", "A call returns soon after its context has ended.", "Close of the bus waits for it. Under Durable, the lease is given up, and another process makes the same call."}
	promiseResyncs   = promise{"a Resync is accepted", "A ResyncListener returns nil when it has dealt with a gap, whatever the reason.", "Until it returns nil, it gets nothing else."}
)

type listenerCheck struct {
	report
	listener any
}

// call calls the listener with an event, or with a batch. It returns false if the listener
// has no use for the event.
func (c listenerCheck) call(ctx context.Context, events ...tracbus.Event) (known bool, err error) {
	if batches, ok := c.listener.(tracbus.BatchListener); ok {
		return true, contained(func() error { return batches.HandleBatch(ctx, events) })
	}
	for _, e := range events {
		f, ok := methodFor(c.listener, e)
		if !ok {
			continue
		}
		known = true
		if err := contained(func() error { return f(ctx, e) }); err != nil {
			return true, err
		}
	}
	return known, nil
}

// methodFor returns how a listener is called with an event: a function that takes it, or the
// method that takes events of its type.
func methodFor(listener any, e tracbus.Event) (func(context.Context, tracbus.Event) error, bool) {
	event, contextType := reflect.TypeOf(e), reflect.TypeFor[context.Context]()
	takes := func(f reflect.Value, exactly bool) bool {
		t := f.Type()
		return t.NumIn() == 2 && t.In(0) == contextType && t.NumOut() == 1 && t.Out(0) == reflect.TypeFor[error]() &&
			(t.In(1) == event || !exactly && event.AssignableTo(t.In(1)))
	}
	called := func(f reflect.Value) func(context.Context, tracbus.Event) error {
		return func(ctx context.Context, e tracbus.Event) error {
			err, _ := f.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(e)})[0].Interface().(error)
			return err
		}
	}
	v := reflect.ValueOf(listener)
	if v.Kind() == reflect.Func {
		return called(v), takes(v, false)
	}
	for i := range v.NumMethod() {
		if f := v.Method(i); takes(f, true) {
			return called(f), true
		}
	}
	return nil, false
}

// contained calls f in a goroutine of its own, so that it cannot end the check's, and returns
// a panic as an error.
func contained(f func() error) error {
	err := errGoexit // unless f returns
	var wait sync.WaitGroup
	wait.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%w: %v", errPanic, p)
			}
		}()
		err = f()
	})
	wait.Wait()
	return err
}

var (
	errPanic  = errors.New("panic")
	errGoexit = fmt.Errorf("%w: runtime.Goexit", errPanic)
)

// taken returns the events as a bus delivers them, those that the listener has use for.
func (c listenerCheck) taken(events []tracbus.Event) (all []tracbus.Event) {
	c.t.Helper()
	for _, e := range events {
		made, err := taken(c.t.Context(), e)
		if err != nil {
			c.broken(promiseKnown, "%T: %v", e, err)
			continue
		}
		_, isBatch := c.listener.(tracbus.BatchListener)
		if _, ok := methodFor(c.listener, made); ok || isBatch {
			all = append(all, made)
		}
	}
	if len(all) == 0 {
		c.broken(promiseKnown, "it has no function or method for one of %d events", len(events))
	}
	return all
}

// handled calls the listener and says what is wrong. It returns whether nothing is.
func (c listenerCheck) handled(ctx context.Context, what string, events ...tracbus.Event) bool {
	c.t.Helper()
	copies := make([]tracbus.Event, len(events))
	for i, e := range events {
		copies[i] = hostile.Copy(e)
	}
	_, err := c.call(ctx, events...)
	for i, e := range events {
		if d := compare.Difference(copies[i], e); d != "" {
			c.broken(promiseUntouched, "%s%s: after the call, %s", called(e), what, d)
		}
	}
	switch {
	case errors.Is(err, errPanic):
		c.broken(promiseNoPanic, "%s%s: %v", called(events[0]), what, err)
	case err != nil:
		c.broken(promiseHandles, "%s%s: %v", called(events[0]), what, err)
	}
	return err == nil
}

func (c listenerCheck) handles(events []tracbus.Event) {
	c.t.Helper()
	for _, e := range events {
		c.handled(c.t.Context(), "", e)
	}
}

// ends calls the listener with contexts that have ended, or end when they are looked at.
func (c listenerCheck) ends(ctx context.Context, events []tracbus.Event) {
	c.t.Helper()
	for _, e := range events {
		over, cancel := context.WithCancel(ctx)
		cancel()
		first, _ := c.returns(over, "which had ended", e)
		looked := newLooked(ctx)
		second, _ := c.returns(looked, "which ended in the middle of the call", e)
		looked.cancel()
		if !first || !second {
			return // the others take as long
		}
	}
}

// returns calls the listener, which returns soon: ok says whether it did.
func (c listenerCheck) returns(ctx context.Context, how string, e tracbus.Event) (ok bool, err error) {
	c.t.Helper()
	returned := make(chan error, 1)
	go func() {
		_, err := c.call(ctx, e)
		returned <- err
	}()
	select {
	case err = <-returned:
	case <-time.After(soon):
		c.broken(promiseReturns, "%s, with a context %s: it has not returned after %v", called(e), how, soon)
		return false, nil
	}
	if errors.Is(err, errPanic) {
		c.broken(promiseNoPanic, "%s, with a context %s: %v", called(e), how, err)
	}
	return true, err
}

// looked is a context that ends a moment after somebody has begun to wait for its end.
type looked struct {
	context.Context
	cancel context.CancelFunc
}

func newLooked(ctx context.Context) looked {
	ctx, cancel := context.WithCancel(ctx)
	return looked{ctx, cancel}
}

// Done implements [context.Context].
func (l looked) Done() <-chan struct{} {
	time.AfterFunc(time.Millisecond, l.cancel)
	return l.Context.Done()
}

// reasons are those for a Resync.
var reasons = []tracbus.ResyncReason{
	tracbus.ResyncSubscribed, tracbus.ResyncReconnected, tracbus.ResyncOverflowed, tracbus.ResyncListenerFailed, tracbus.ResyncLoading,
	tracbus.ResyncPruned, tracbus.ResyncRewound, tracbus.ResyncStreamTrimmed, tracbus.ResyncStreamReset, tracbus.ResyncEntryUnreadable,
}

func (c listenerCheck) resyncs() {
	c.t.Helper()
	resyncs, ok := c.listener.(tracbus.ResyncListener)
	if !ok {
		return
	}
	for _, reason := range reasons {
		e := tracbus.Resync{Change: tracbus.Change{Env: "tracbustest", Primary: true}, Reason: reason}
		if err := contained(func() error { return resyncs.Resync(c.t.Context(), e) }); err != nil {
			c.broken(promiseResyncs, "with the reason %q: %v", reason, err)
		}
	}
}

// survives calls the listener with events that differ from those that it was given.
func (c listenerCheck) survives(ctx context.Context, events []tracbus.Event) {
	c.t.Helper()
	try := func(e tracbus.Event, what string) bool {
		_, err := c.call(ctx, e)
		if errors.Is(err, errPanic) {
			c.broken(promiseNoPanic, "%s, with %s: %v", called(e), what, err)
		}
		return !errors.Is(err, errPanic)
	}
	for _, e := range events {
		empty := e.About()
		empty.Author, empty.IPNR, empty.Comment, empty.Null = "", "", "", empty.Null|tracbus.AttrAuthor|tracbus.AttrComment
		try(e.WithChange(empty), "nobody who said anything")
		try(hostile.Emptied(e), "values that are null")
		for _, old := range hostile.TextsOf(e) {
			for _, text := range hostile.Texts {
				if !try(hostile.WithText(e, old, text), fmt.Sprintf("%q in the place of %.60q", text, old)) {
					break // the others say the same
				}
			}
		}
	}
}
