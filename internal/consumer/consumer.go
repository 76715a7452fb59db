// Package consumer runs a durable consumer. Of all processes that register it,
// one at a time calls its listener with what the journal has after the consumer's
// cursor, at least once. Its secret is how one process at a time takes over where the
// last one stopped.
//
// A [Runner] competes for the consumer's [Lease] (runner.go, lease.go). While it
// holds the lease, a session finds where to go on (resume.go), reads a batch
// after the cursor (batch.go) and calls the listener or hands the batch to the
// listener's sink (deliver.go, sink.go). What an error leads to is decided in
// recover.go, and what becomes of dead letters in deadletter.go. [Memory] is
// what a process remembers from one run of its journal to the next.
//
// E is the type of an event, which this package only hands on.
package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// Config says how one consumer is run. There are no defaults.
type Config struct {
	Name        string        // of the consumer
	Holder      string        // how the consumer's row names this process; see [HolderName]
	FromOldest  bool          // a new consumer begins at the journal's oldest change
	LeaseFor    time.Duration // how long a lease lasts unless it is renewed
	CallTimeout time.Duration // how long one call may take
	Backoff     time.Duration // the pause after the first failure; it doubles with each, up to 64 times that
	MaxAttempts int           // after so many failed calls a change becomes a dead letter; 0: never
	BatchSize   int           // how many events one call of the listener's Batch gets at most
}

// Journal is what a consumer needs of the journal that it reads.
type Journal[E any] struct {
	Store  *store.Store
	Tables *progress.Tables
	DB     store.SQL
	Logger *slog.Logger
	Poll   time.Duration // how often the journal is read if nothing wakes the consumers

	Realms   func() []string               // the names of those that this process knows
	Decode   func(store.Change) (E, error) // makes the event of a row
	Position func() store.Place            // up to which the journal was read in this process
	Announce func(ctx context.Context)     // has all processes look for what is new, also if ctx has ended
}

// Target makes the calls of a consumer's listener, one at a time. It is a
// [delivery.Invoker].
type Target interface {
	// Call runs f on the goroutine that belongs to the listener, and waits until
	// f has returned. If f has not returned soon after ctx ended, Call returns
	// [delivery.ErrHangs] without waiting further; if the listener is closed,
	// [delivery.ErrClosed].
	Call(ctx context.Context, f func(context.Context) error) error

	// Busy says whether a call has not returned.
	Busy() bool

	// Context ends when the listener's calls are to be cut short.
	Context() context.Context

	// Done is closed when the listener is closed and its last call has returned.
	Done() <-chan struct{}

	// The rest counts for the listener's status: changes that the listener has
	// handled, a change that it failed on for good, a call that is made again.
	CountDelivered(n int)
	CountFailed()
	CountRetried(err error)
}

// HolderName is how a consumer's row names the process that holds its lease: so
// that an operator finds it, and that it differs from all others. origin is a
// random identity of the process.
func HolderName(origin string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%.100s, pid %d, %.8s", host, os.Getpid(), origin)
}

// Create makes consumers known that are new, with their cursors at the journal's
// oldest change or at a place. It does nothing to those that are known.
func Create(ctx context.Context, t *progress.Tables, fromOldest bool, at store.Place, names ...string) error {
	if fromOldest {
		return t.AddConsumersAtOldest(ctx, names...)
	}
	return t.AddConsumers(ctx, at, names...)
}
