package follow

import "github.com/tracbus/tracbus/internal/store"

// Sink gets what a follower reads: it is the bus. Its methods do not wait for
// listeners.
type Sink interface {
	// Reading is called before a batch is read, and returns a number for Feed.
	Reading() int

	// Feed delivers what the journal's next transactions changed, which are those after
	// a place. There is one at least. If b says that there is more to read at once,
	// some of it may be held back until that comes. reading is the number of the moment
	// before b was read.
	Feed(from store.Place, b store.Batch, reading int)

	// Rewound has every listener go on after an earlier place: the journal's
	// history went back, and changes were missed.
	Rewound(to store.Place, err error)

	// Pruned has every listener go on after a later place: what it missed is
	// pruned.
	Pruned(to store.Place, err error)

	// Ahead yields each listener that was loaded from a snapshot with transactions
	// that were not fed yet, and the last of these. It calls gone if the database
	// does not have that transaction.
	Ahead(yield func(last store.Place, gone func()) bool)

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
