package delivery

import (
	"context"
	"log/slog"
	"time"
)

// Item is an event of a journal, with what a queue has to know of it to take it.
// What waits in a queue is the event alone, because there may be many.
type Item[E any] struct {
	TID     int64 // of its transaction
	Primary bool  // this process committed it
	Unread  bool  // it cannot be read: Event is a gap
	Event   E
}

// Listener is what is called. Whoever registers it makes these functions, so
// that its optional interfaces are asserted once and not at every event.
type Listener[E any] struct {
	Name  string // for the log
	Scope string // for the log

	// PrimaryOnly listeners get what this process committed, and nothing else.
	PrimaryOnly bool

	// Repeats says that an event on which the listener failed is delivered
	// again, and that a listener which fails until the end gets a gap.
	Repeats bool

	// Wants says whether the listener can be called with an event. It is called
	// often, and before the event is queued.
	Wants func(E) bool

	// Deliver delivers one event. It is called with what the listener wants, and
	// only if Batch is nil.
	Deliver func(context.Context, E) error

	// Batch delivers many events at once. The slice is the queue's to use again
	// after the call. An error means that none of them was handled. Nil if the
	// listener takes events one by one.
	Batch func(context.Context, []E) error

	// Resync says that changes were missed. Nil if the listener has no use for
	// that, or has Load.
	Resync func(context.Context, Gap) error

	// Load is called in the place of Resync: it builds the listener's state from
	// a snapshot of the database's tables, and tells the queue, by BeginLoad and
	// Showed, what that shows. It does not if there is no journal. Nil if the
	// listener has no such state.
	Load func(context.Context, Gap, *Queue[E]) error

	// NeedsLoad says whether an error of Deliver or Batch asks for a Load, and is
	// no failure. Nil if Load is.
	NeedsLoad func(error) bool

	// Dropped counts events that are never delivered. Nil if nobody counts.
	Dropped func(events int)

	// Ended is called when the listener has left the bus and no call follows. Nil if
	// that is nothing to it.
	Ended func()
}

// hearsGaps says whether a gap is delivered to the listener.
func (l *Listener[E]) hearsGaps() bool { return l.Resync != nil || l.Load != nil }

// Config is what all queues of a bus have in common. None of it has a default.
type Config[E any] struct {
	QueueSize  int           // how many events wait at most
	BatchSize  int           // how many events one call of Batch gets at most
	MaxRetries int           // how often a listener that Repeats gets an event again
	Backoff    time.Duration // before the first retry; doubled with each, up to 64 times
	Logger     *slog.Logger

	// TID returns the tid of an event's transaction; zero if there is no journal.
	TID func(E) int64

	// Gap returns what an event says, if it says that changes were missed; else
	// nil.
	Gap func(E) *Gap

	// Event returns an event of which Gap returns g.
	Event func(g Gap) E

	// Attrs returns what the log says of an event.
	Attrs func(E) []any

	// Room is called when a queue that is behind the journal has room again. It
	// must not wait.
	Room func()
}

// Status is what was done for a listener so far.
type Status struct {
	Waiting   int    // events not delivered yet, with those in the call that goes on
	Delivered uint64 // events delivered, whether the listener failed on them or not
	Failed    uint64 // of these, given up after a failure
	Retried   uint64 // calls made again after a failure
	Dropped   uint64 // events never delivered
	LastError error  // of the last call that failed; nil if none did
}

// Undelivered is what a listener did not get before its queue was given up.
type Undelivered[E any] struct {
	Count       int   // how many events, with those in the call that goes on
	Oldest      E     // of them; the zero value if there are none
	CallRunning bool  // a call of the listener has not returned
	After       int64 // the tid after which the journal was not read; zero if it was to its end
}
