package tracbus

import (
	"context"
	"errors"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/tracecontext"
)

// Trace says to which request a change belongs, in the form of the W3C's Trace Context. A journal
// and a stream keep it with the change, so that what listeners and subscribers do is shown with that
// request, in whatever process. One that is malformed becomes the zero Trace, which is none.
type Trace struct {
	Parent string // as the header traceparent has it, of 55 characters
	State  string // as the header tracestate has it, up to 512 characters; "" is none
}

// Tracer shows to a tracing system what is done. Package telemetry, which is a module of its own,
// has one for OpenTelemetry. Its methods are called concurrently and hold up what they are told of:
// they do not wait for anything, and do not panic. The contexts that they return are derived from
// those that they get.
type Tracer interface {
	// Commit is called before the changes of a transaction are written to the journal, with the
	// context of Update, Commit or Flush; not if there are none, nor of what a [Capture] takes in. It
	// returns the context that they are written with, the Trace that is stored with them, and a
	// function, which is called once: with the tid, or with the error. A Flush is only written
	// then: the application commits it, but for CommitWith, whose commit is over by then.
	Commit(ctx context.Context, env string) (context.Context, Trace, func(tid int64, err error))

	// Call is called before each call of a listener, and each repetition; not before one of Load
	// or Resync. It returns the context that the listener gets, and a function, which is called
	// once when the listener has returned: with its error, or with one that says that it panicked
	// or ended its goroutine. A call by which a Publisher found that Redis is at another place is
	// no failure; another follows.
	Call(ctx context.Context, call ListenerCall) (context.Context, func(error))
}

// ListenerCall is a call of a listener.
type ListenerCall struct {
	Env       string // of the bus
	Listener  string // the name of the function, or the type
	Scope     Scope  // that it was registered with
	Publishes bool   // it is a [Publisher]
	Batch     bool   // it takes several events in one call

	// Events are what it is called with: one, unless Batch. The slice is the bus's to use again
	// after the call.
	Events []Event
}

// traced has the Tracer told that the transaction's changes are going to be written, and gives
// them its trace. The function that it returns takes what became of them.
func (tx *ModelTransaction) traced(ctx context.Context) (context.Context, func(tid int64, err error)) {
	tracer := tx.journal.bus.config.Tracer
	if tracer == nil || !tx.pending.Any() {
		return ctx, func(int64, error) {}
	}
	ctx, trace, done := tracer.Commit(ctx, tx.journal.bus.env)
	tx.pending.SetTrace(tracecontext.Context(trace).Valid())
	return ctx, done
}

// traced returns d so that the Tracer is told of its calls. l is the listener.
func (b *Bus) traced(scope Scope, l any, d delivery.Listener[Event]) delivery.Listener[Event] {
	if b.config.Tracer == nil {
		return d
	}
	call := b.callOf(scope, l)
	if deliver := d.Deliver; deliver != nil {
		d.Deliver = func(ctx context.Context, e Event) error {
			call := call
			call.Events = []Event{e}
			return b.tracedCall(ctx, call, func(ctx context.Context) error { return deliver(ctx, e) })
		}
	}
	if batch := d.Batch; batch != nil {
		d.Batch = func(ctx context.Context, events []Event) error {
			call := call
			call.Batch, call.Events = true, events
			return b.tracedCall(ctx, call, func(ctx context.Context) error { return batch(ctx, events) })
		}
	}
	return d
}

// tracedSink returns the sink of a listener. Of a call without events, which asks where the sink
// is, the Tracer is not told.
func (b *Bus) tracedSink(scope Scope, l offsetKeeper) sinkFunc {
	if b.config.Tracer == nil {
		return l.sendSpan
	}
	call := b.callOf(scope, l)
	return func(ctx context.Context, span consumer.Span, events []Event) error {
		if len(events) == 0 {
			return l.sendSpan(ctx, span, events)
		}
		call := call
		call.Batch, call.Events = true, events
		return b.tracedCall(ctx, call, func(ctx context.Context) error { return l.sendSpan(ctx, span, events) })
	}
}

func (b *Bus) callOf(scope Scope, l any) ListenerCall {
	_, publishes := l.(offsetKeeper)
	return ListenerCall{Env: b.env, Listener: nameOf(l), Scope: scope, Publishes: publishes}
}

// errNoReturn is what the Tracer gets of a listener that ended otherwise.
var errNoReturn = errors.New("the listener panicked, or ended its goroutine")

// tracedCall calls f, with the Tracer told before and after.
func (b *Bus) tracedCall(ctx context.Context, call ListenerCall, f func(context.Context) error) error {
	ctx, done := b.config.Tracer.Call(ctx, call)
	told := errNoReturn // unless f returns
	defer func() { done(told) }()
	err := f(ctx)
	if told = err; errors.As(err, new(*consumer.Mismatch)) {
		told = nil // nothing was done, and the consumer finds the way
	}
	return err
}
