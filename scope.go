package tracbus

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
