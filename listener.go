package tracbus

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
)

// Scope says which changes a listener is told of, and what a failure leads to.
// It is [Primary] or [Everywhere] (both from Trac's journaling proposal).
type Scope interface {
	// String returns the scope's name.
	String() string
	// has says whether a listener of this scope is told of a change that this
	// process made, or another.
	has(primary bool) bool
	// repeats says whether a change that failed is told again.
	repeats() bool
}

type scope uint8

const (
	// Primary listeners are told of what this process committed, so that of all
	// processes one does it: the place of side effects such as e-mail. A change
	// on which one fails is reported, and not repeated.
	Primary scope = iota + 1

	// Everywhere listeners are told of every change in every process: the
	// place of caches. A change on which one fails is repeated a few times.
	// Then the listener is told [Resync], so that it does not stay stale.
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

// ResyncListener is a listener that is told when it missed changes, before the
// next change. Until it returns nil, it is told again and nothing else.
type ResyncListener interface {
	Resync(ctx context.Context, e Resync) error
}

// A handler is a registered listener as its registration sees it.
type handler interface {
	// wants says whether the listener can be told of e. It is called often,
	// and before e is queued.
	wants(e Event) bool
	// tell calls the listener. It is only called with what it wants.
	tell(ctx context.Context, e Event) error
}

// All registers l for every change of every realm, and starts a goroutine that
// calls it; see [Bus] for who ends it.
func (b *Bus) All(scope Scope, l BatchListener) *Registration {
	filter, _ := l.(eventFilter)
	return b.register(scope, l, allHandler{filter})
}

// An eventFilter is a batch listener that has no use for some events. They are
// not queued for it, so that they push out nothing when the queue is full.
type eventFilter interface{ wants(e Event) bool }

// allHandler belongs to a BatchListener, so that it is never asked to tell.
type allHandler struct{ eventFilter }

func (h allHandler) wants(e Event) bool { return h.eventFilter == nil || h.eventFilter.wants(e) }

func (allHandler) tell(context.Context, Event) error { panic("tracbus: a batch listener has no tell") }

// On registers f for the events of type E, and starts a goroutine that calls
// it; see [Bus] for who ends it. E is one event type, or [Event] for all of
// them, [Resync] included.
func On[E Event](b *Bus, scope Scope, f func(context.Context, E) error) *Registration {
	return b.register(scope, f, onHandler[E](f))
}

type onHandler[E Event] func(context.Context, E) error

func (onHandler[E]) wants(e Event) bool {
	_, ok := e.(E)
	return ok
}

func (f onHandler[E]) tell(ctx context.Context, e Event) error { return f(ctx, e.(E)) }

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
