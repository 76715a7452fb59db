package tracbus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"

	"github.com/tracbus/tracbus/internal/delivery"
)

// Scope says which changes a listener gets, and what a failure leads to.
// It is [Primary] or [Everywhere] (both from Trac's journaling proposal).
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
	// Primary listeners get what this process committed, so that of all
	// processes one does it: the place of side effects such as e-mail. A change
	// on which one fails is reported, and not repeated.
	Primary scope = iota + 1

	// Everywhere listeners get every change in every process: the
	// place of caches. A change on which one fails is repeated a few times.
	// Then the listener gets a [Resync], so that it does not stay stale.
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
// not queued for it, so that they push out nothing when the queue is full.
type eventFilter interface{ wants(e Event) bool }

// A dropCounter shows in its own figures what its bus dropped.
type dropCounter interface{ countDropped(events int) }

// On registers f for the events of type E, and starts a goroutine that calls
// it; see [Bus] for who ends it. E is one event type, or [Event] for all of
// them, [Resync] included.
func On[E Event](b *Bus, scope Scope, f func(context.Context, E) error) *Registration {
	wants := func(e Event) bool {
		_, ok := e.(E)
		return ok
	}
	return b.register(scope, f, wants, func(ctx context.Context, e Event) error { return f(ctx, e.(E)) })
}

// listenerOf returns how l is called. This is the one place that asks which of the
// optional interfaces it has.
func (b *Bus) listenerOf(scope Scope, l any, wants func(Event) bool, tell func(context.Context, Event) error) delivery.Listener[Event] {
	d := delivery.Listener[Event]{
		Name: nameOf(l), Scope: scope.String(), PrimaryOnly: !scope.has(false), Repeats: scope.repeats(), Wants: wants, Tell: tell,
	}
	if batches, ok := l.(BatchListener); ok {
		d.Batch = batches.HandleBatch
	}
	if drops, ok := l.(dropCounter); ok {
		d.Dropped = drops.countDropped
	}
	if resyncs, ok := l.(ResyncListener); ok {
		d.Resync = func(ctx context.Context, g delivery.Gap) error { return resyncs.Resync(ctx, b.resync(g)) }
	} else if tell != nil && wants(Resync{}) {
		d.Resync = func(ctx context.Context, g delivery.Gap) error { return tell(ctx, b.resync(g)) }
	}
	if loads, ok := l.(LoadListener); ok {
		d.Load = b.loader(loads, d.Resync)
		d.NeedsLoad = func(err error) bool { return errors.Is(err, ErrNeedsLoad) }
		d.Resync = nil
	}
	return d
}

// loader returns how a listener is loaded from tables, if there is a journal
// that tells which changes they hold; else it hears of the gap, if it has use for
// that.
func (b *Bus) loader(l LoadListener, resync func(context.Context, delivery.Gap) error) func(context.Context, delivery.Gap) (func(tid int64) bool, error) {
	return func(ctx context.Context, g delivery.Gap) (func(tid int64) bool, error) {
		b.mu.Lock()
		j := b.journal
		b.mu.Unlock()
		switch {
		case j != nil:
			s, err := j.load(ctx, l.Load)
			return s.has, err
		case resync != nil:
			return nil, resync(ctx, g)
		}
		return nil, nil
	}
}

// resync returns what a listener is told of a gap.
func (b *Bus) resync(g delivery.Gap) Resync {
	e, told := g.From.(Resync)
	if !told {
		e.Change = Change{Env: b.env, Time: g.Time.UTC().Truncate(time.Microsecond), Primary: true}
	}
	e.Reason, e.Missed, e.Err = ResyncReason(g.Reason), g.Missed, g.Err
	return e
}

// gapOf returns what an event tells of, if it tells that changes were missed.
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
	// checkScope is also asked where the listener only embeds it.
	checkScope(scope Scope, listener any) error
}
