package tracbus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/store"
)

// Scope says which changes a listener gets, and what a failure leads to. It is
// [Primary] or [Everywhere] (both from Trac's journaling proposal), or that of a
// consumer, which [Durable] returns.
type Scope interface {
	// String returns the scope's name.
	String() string
	// has says whether a listener of this scope gets a change that this
	// process made, or another.
	has(primary bool) bool
	// repeats says whether a change that failed is delivered again.
	repeats() bool
}

type scope uint8

const (
	// Primary listeners get what this process committed, so that one of all
	// processes acts on each change: for side effects such as e-mail. A change on
	// which one fails is reported, and not repeated.
	Primary scope = iota + 1

	// Everywhere listeners get every change in every process: for caches. A change on
	// which one fails is repeated a few times. Then the listener gets a [Resync], so
	// that it does not stay stale.
	Everywhere
)

func (s scope) String() string {
	switch s {
	case Primary:
		return "primary"
	case Everywhere:
		return "everywhere"
	}
	return "unknown scope"
}

func (s scope) has(primary bool) bool { return primary || s == Everywhere }
func (s scope) repeats() bool         { return s == Everywhere }

// BatchListener takes many events in one call, which is how a [Publisher] sends
// what waits in one round trip. [Bus.All] registers one for every realm. A
// [TicketListener] or [WikiListener] that is one too is called this way only.
//
// events is the bus's to use again after the call; the events in it are not.
// An error means that none was handled.
type BatchListener interface {
	HandleBatch(ctx context.Context, events []Event) error
}

// ResyncListener is a listener that is called when it missed changes, before the
// next change. Until it returns nil, it is called again, and gets nothing else.
type ResyncListener interface {
	Resync(ctx context.Context, e Resync) error
}

// All registers l for every change of every realm, and starts a goroutine that
// calls it; see [Bus] for who ends it.
func (b *Bus) All(scope Scope, l BatchListener) *Registration {
	wants := func(Event) bool { return true }
	if filter, ok := l.(eventFilter); ok {
		wants = filter.wants
	}
	return b.register(scope, l, wants, nil)
}

// An eventFilter is a batch listener that has no use for some events. They are
// not queued, so that they push out nothing when the queue is full.
type eventFilter interface{ wants(e Event) bool }

// A dropCounter shows in its own figures what its bus dropped.
type dropCounter interface{ countDropped(events int) }

// A leaver gives up what it needed for its calls when it has left a bus.
type leaver interface{ left() }

// On registers f for the events of type E, and starts a goroutine that calls
// it; see [Bus] for who ends it. E is one event type, or [Event] for all of
// them, [Resync] included.
func On[E Event](b *Bus, scope Scope, f func(context.Context, E) error) *Registration {
	return Listen(b, scope, f, f)
}

// Listen is On for listeners of a realm of your own: deliver calls the method of l
// that an event is for. E may be an interface that the realm's events have. If l is
// also a [LoadListener], [ResyncListener] or [BatchListener], it is called as that too.
func Listen[E Event](b *Bus, scope Scope, l any, deliver func(context.Context, E) error) *Registration {
	wants := func(e Event) bool { _, ok := e.(E); return ok }
	return b.register(scope, l, wants, func(ctx context.Context, e Event) error { return deliver(ctx, e.(E)) })
}

// listenerOf returns how l is called. This is the one place that asks which of the
// optional interfaces it has.
func (b *Bus) listenerOf(scope Scope, l any, wants func(Event) bool, deliver func(context.Context, Event) error) delivery.Listener[Event] {
	d := delivery.Listener[Event]{
		Name: nameOf(l), Scope: scope.String(), PrimaryOnly: !scope.has(false), Repeats: scope.repeats(), Wants: wants, Deliver: deliver,
	}
	if batches, ok := l.(BatchListener); ok {
		d.Batch = batches.HandleBatch
	}
	if drops, ok := l.(dropCounter); ok {
		d.Dropped = drops.countDropped
	}
	if leaves, ok := l.(leaver); ok {
		d.Ended = leaves.left
	}
	if resyncs, ok := l.(ResyncListener); ok {
		d.Resync = func(ctx context.Context, g delivery.Gap) error { return resyncs.Resync(ctx, b.resync(g)) }
	} else if deliver != nil && wants(Resync{}) {
		d.Resync = func(ctx context.Context, g delivery.Gap) error { return deliver(ctx, b.resync(g)) }
	}
	if loads, ok := l.(LoadListener); ok {
		d.Load = b.loader(loads, d.Resync)
		d.NeedsLoad = func(err error) bool { return errors.Is(err, ErrNeedsLoad) }
		d.Resync = nil
	}
	return b.traced(scope, l, d)
}

// loader returns how a listener is loaded from tables, if there is a journal
// that knows which changes they hold; otherwise it hears of the gap, if it has use
// for that.
func (b *Bus) loader(l LoadListener, resync func(context.Context, delivery.Gap) error) func(context.Context, delivery.Gap, *delivery.Queue[Event]) error {
	return func(ctx context.Context, g delivery.Gap, q *delivery.Queue[Event]) error {
		b.mu.Lock()
		j := b.journal
		b.mu.Unlock()
		switch {
		case j != nil:
			return j.load(ctx, q, l.Load)
		case resync != nil:
			return resync(ctx, g)
		}
		return nil
	}
}

// resync returns the Resync by which a listener hears of a gap.
func (b *Bus) resync(g delivery.Gap) Resync {
	e, ok := g.From.(Resync)
	if !ok {
		e.Change = Change{Env: b.env, Time: g.Time.UTC().Truncate(time.Microsecond), Primary: true}
	}
	e.Reason, e.Missed, e.Err = ResyncReason(g.Reason), g.Missed, g.Err
	return e
}

// gapOf returns the gap that an event reports, if it says that changes were missed.
func gapOf(e Event) *delivery.Gap {
	if e, ok := e.(Resync); ok {
		return &delivery.Gap{Reason: delivery.Reason(e.Reason), Missed: e.Missed, Err: e.Err, Time: e.Time, From: e}
	}
	return nil
}

// nameOf returns what a log calls a listener: the name of a function, the type
// of everything else.
func nameOf(l any) string {
	if v := reflect.ValueOf(l); v.Kind() == reflect.Func {
		return runtime.FuncForPC(v.Pointer()).Name()
	}
	return fmt.Sprintf("%T", l)
}

// scopeChecker is a listener that does not serve under every scope. The bus
// asks it when it is registered, and panics with the error, which is a whole
// sentence.
type scopeChecker interface {
	// checkScope is also called if the listener only embeds it.
	checkScope(scope Scope, listener any) error
}

// Registration is one listener on a bus, with the goroutine that calls it. Its
// methods may be called concurrently, also by listeners, but these may not
// call Close.
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
	Listener string // the name of the function, or the type
	Scope    Scope  // that it was registered with

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
	Undelivered []Undelivered // by listener
}

// Undelivered is what was not delivered to one listener.
type Undelivered struct {
	Listener    string // the name of the function, or the type
	Count       int    // how many, with those in the call that goes on
	Oldest      Event  // the oldest of them
	CallRunning bool   // a call of the listener had not returned

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
			fmt.Fprintf(&s, ", and what the journal has after tid %d", u.After)
		}
	}
	return s.String()
}
