package tracbus

import (
	"context"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/store"
)

// Registration is one listener on a bus, with the goroutine that calls it. Its
// methods may be called concurrently, also by listeners, who may not call
// Close.
type Registration struct {
	bus   *Bus
	name  string
	scope Scope

	queue   *delivery.Queue[Event] // nil under [Durable]
	durable *durable               // nil under every other scope
}

// calls is what the two kinds of delivery have in common: each has a goroutine
// that calls the listener.
type calls interface {
	Start()
	Status() delivery.Status
	Leave(forget func())
	Finish()
	Cancel()
	Done() <-chan struct{}
}

func (r *Registration) calls() calls {
	if r.durable != nil {
		return r.durable.invoker
	}
	return r.queue
}

// attach ties the registration to a journal, of which all up to a place was
// delivered.
func (r *Registration) attach(at store.Place) {
	if r.durable != nil {
		r.durable.memory.Begin(at)
	} else {
		r.queue.Attach(at.TID)
	}
}

// ListenerStatus says what a registration has done so far.
type ListenerStatus struct {
	Listener string
	Scope    Scope

	Waiting   int    // events not delivered yet, with those in the call that goes on
	Delivered uint64 // events delivered, whether the listener failed on them or not
	Failed    uint64 // of these, given up after a failure
	Retried   uint64 // calls made again after a failure
	Dropped   uint64 // events never delivered: too many waited, or the bus was closed

	LastError error // of the last call that failed; nil if none did
}

// Wait returns when all that the bus has taken so far was delivered to the
// listener, whether it could handle it or not, and it heard of what it missed; or
// when ctx ends. A listener that calls it waits for itself. Under [Durable] it returns when
// the listener has handled all of that, and all that this process has committed,
// in whatever process.
func (r *Registration) Wait(ctx context.Context) error {
	if r.durable != nil {
		return r.bus.waitForConsumer(ctx, r.durable.name)
	}
	return r.queue.Wait(ctx, r.bus.fedTo())
}

// Status returns what the registration has done so far.
func (r *Registration) Status() ListenerStatus {
	s := r.calls().Status()
	return ListenerStatus{
		Listener: r.name, Scope: r.scope,
		Waiting: s.Waiting, Delivered: s.Delivered, Failed: s.Failed, Retried: s.Retried, Dropped: s.Dropped, LastError: s.LastError,
	}
}

// Close takes the listener off the bus: it gets what waits, and nothing more. If
// ctx ends before, its context ends, and a [*CloseError] says what was not
// delivered. It may be called again, to wait for a call that was going on.
func (r *Registration) Close(ctx context.Context) error {
	r.calls().Leave(func() { r.bus.forget(r) })
	waitForEnd(ctx, r.calls().Done())
	r.calls().Cancel()
	return closeError([]*Registration{r})
}

// waitForEnd waits for a goroutine until ctx ends.
func waitForEnd(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
		return
	default:
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// abandon gives up what is not delivered, and says what that was. The listener's
// context has ended.
func (r *Registration) abandon() (Undelivered, bool) {
	if r.durable != nil {
		running := r.durable.invoker.Abandon()
		return Undelivered{Listener: r.name, CallRunning: running}, running
	}
	u, found := r.queue.Abandon(r.bus.committed())
	return Undelivered{Listener: r.name, Count: u.Count, Oldest: u.Oldest, CallRunning: u.CallRunning, After: u.After}, found
}

// CloseError says what was not delivered when a bus or registration was closed.
type CloseError struct {
	Undelivered []Undelivered
}

// Undelivered is what was not delivered to one listener.
type Undelivered struct {
	Listener    string
	Count       int   // how many, with those in the call that goes on
	Oldest      Event // the oldest of them
	CallRunning bool  // a call of the listener had not returned

	// After is the tid after which the journal was not read for this listener,
	// because its queue was full. Zero if everything that this process committed
	// was read.
	After int64
}

func closeError(registrations []*Registration) error {
	var e CloseError
	for _, r := range registrations {
		if u, ok := r.abandon(); ok {
			e.Undelivered = append(e.Undelivered, u)
		}
	}
	if e.Undelivered == nil {
		return nil
	}
	return &e
}

// Error names each listener, with how many events were not delivered to it.
func (e *CloseError) Error() string {
	var s strings.Builder
	s.WriteString("close: not delivered: ")
	for i, u := range e.Undelivered {
		if i > 0 {
			s.WriteString("; ")
		}
		fmt.Fprintf(&s, "%d events to %s", u.Count, u.Listener)
		if u.Oldest != nil {
			fmt.Fprintf(&s, ", from %s %s", u.Oldest.Resource(), u.Oldest.Kind())
		}
		if u.CallRunning {
			s.WriteString(" (the listener has not returned)")
		}
		if u.After > 0 {
			fmt.Fprintf(&s, ", and what the journal has behind tid %d", u.After)
		}
	}
	return s.String()
}
