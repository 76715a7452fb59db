package tracbus

import (
	"context"
	"fmt"
	"regexp"
	"time"
)

// OnceConfig says how a [Once] name is run. Processes that register the same
// name should give it the same.
type OnceConfig struct {
	// FromBeginning says where a name begins that the journal does not know
	// yet: at the journal's oldest change. Zero means behind its newest.
	FromBeginning bool

	// Lease is for how long a process that dies or stands still keeps the name
	// from the others. It is renewed over the journal's database: a listener
	// that keeps the only connection of its pool for longer, or on SQLite a
	// transaction that writes, loses the name in the middle of its call, each
	// time. Zero means 3 s.
	Lease time.Duration

	// Deadline bounds one call of the listener: after it the call's context
	// ends and the name is given up, so that another process can go on. Zero
	// means 10 s.
	Deadline time.Duration

	// Backoff is the pause before a call that failed is made again; it doubles
	// with each, up to 64 times that. Zero means 100 ms.
	Backoff time.Duration

	// SetAside is after how many failed calls a change is set aside, so that
	// those behind it are told; see [Journal.SetAside]. Zero means never: the
	// change is repeated until it succeeds, and what is behind it waits. A
	// [Publisher], whose order matters, takes nothing else.
	SetAside int
}

// Once returns a scope whose listener is told of every change, by one process at
// a time, in the order of tids, going on where the last one stopped: the place of
// side effects that must not be lost, such as webhooks, e-mail or a search index.
// Nobody is told while no process runs the journal, and nothing is lost by that.
//
// How far the listener has come is kept in the journal under the name. It moves
// only after the listener returned nil; a call that failed is repeated until it
// succeeds, and after a crash the last call is made again, perhaps by another
// process: at least once. All processes that register the name compete for it;
// when the holder ends in order another goes on at once, when it dies, stands
// still, or hangs in a call, after a few seconds. A process that was held up for
// so long may finish its call late: [TurnOf] tells a listener what it needs to
// refuse that.
//
// A name belongs to one listener; a bus panics on a second one. It is made of
// letters, digits, '.', '_' and '-', a letter or digit first, 64 at most; Once
// panics if it is not. It is told of the realms that its holder's journal has: processes
// that register it should open the journal with the same ones.
func Once(name string) Scope { return OnceConfig{}.Once(name) }

var onceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// Once returns a scope with settings of its own.
func (c OnceConfig) Once(name string) Scope {
	switch {
	case !onceName.MatchString(name):
		panic(fmt.Sprintf("tracbus: Once needs a name of letters, digits, '.', '_' and '-', a letter or digit first, 64 at most, got %q", name))
	case c.Lease < 0 || c.Deadline < 0 || c.Backoff < 0 || c.SetAside < 0:
		panic("tracbus: OnceConfig needs Lease, Deadline, Backoff and SetAside from zero")
	case c.Lease > 0 && c.Lease < 10*time.Millisecond:
		panic(fmt.Sprintf("tracbus: OnceConfig needs a Lease that can be renewed in time, 10 ms at least, got %v", c.Lease))
	}
	c.Lease = orDefault(c.Lease, 3*time.Second)
	c.Deadline = orDefault(c.Deadline, 10*time.Second)
	c.Backoff = orDefault(c.Backoff, 100*time.Millisecond)
	return onceScope{name, c}
}

// onceScope is the scope of one name. The bus's queue has nothing for it: a
// relay reads the journal for it.
type onceScope struct {
	name   string
	config OnceConfig
}

func (s onceScope) String() string { return "once " + s.name }
func (s onceScope) has(bool) bool  { return false }
func (s onceScope) repeats() bool  { return true }

// Turn says in whose turn a [Once] listener is called.
type Turn struct {
	// Name is the scope's.
	Name string

	// Journal is the UUID of the journal that the change is in.
	Journal string

	// Epoch is higher for every later holder of the name, also after the
	// database was put back to an older state. Whoever writes for the listener
	// to a place of its own keeps the highest with it, and refuses a lower one:
	// that is of a process which lost its turn in the middle of a call.
	Epoch int64
}

type turnKey struct{}

// TurnOf returns the turn of the call that ctx belongs to, and false outside of
// one.
func TurnOf(ctx context.Context) (Turn, bool) {
	t, ok := ctx.Value(turnKey{}).(Turn)
	return t, ok
}
