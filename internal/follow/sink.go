package follow

import "github.com/tracbus/tracbus/internal/store"

// Sink gets what a follower reads: it is the bus. Its methods do not wait for
// listeners.
type Sink interface {
	// Feed delivers what transactions changed: all that the journal has up to a
	// tid.
	Feed(changes []store.Change, upTo int64)

	// Rewound has every listener go on after an earlier tid: the journal's
	// history went back, and changes were missed.
	Rewound(tid int64, err error)

	// Pruned has every listener go on after a later tid: what it missed is
	// pruned.
	Pruned(tid int64, err error)

	// Nudge has the listeners look that read the journal for themselves.
	Nudge()

	// HasRead says whether all up to a tid waits for its listeners, or was
	// delivered.
	HasRead(tid int64) bool

	// Behind yields each listener whose queue was full and has room again, with
	// the tid after which the journal is to be read again for that listener.
	Behind(yield func(after int64, l Laggard) bool)

	// Room holds a token when Behind has a listener that it had not.
	Room() <-chan struct{}
}

// Laggard is a listener that is behind the others.
type Laggard interface {
	// Name is the listener's, for the log.
	Name() string

	// Refill delivers what transactions after its tid changed, up to another.
	Refill(changes []store.Change, upTo int64)

	// Skip has the listener go on after a tid up to which all is pruned.
	Skip(floor int64, err error)

	// HasRoom says whether it is still behind, and has room for more.
	HasRoom() bool
}
