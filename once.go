package tracbus

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"time"
)

// DurableConfig says how a [Durable] name is run. Processes that register the same
// name should give it the same.
type DurableConfig struct {
	// FromOldest says where a name begins that the journal does not know
	// yet: at the journal's oldest change. Zero means behind its newest.
	FromOldest bool

	// LeaseFor is for how long a process that dies or stands still keeps the name
	// from the others. It is renewed over the journal's database: a listener
	// that keeps the only connection of its pool for longer, or on SQLite a
	// transaction that writes, loses the name in the middle of its call, each
	// time. Zero means 3 s.
	LeaseFor time.Duration

	// CallTimeout bounds one call of the listener: after it the call's context
	// ends and the name is given up, so that another process can go on. Zero
	// means 10 s.
	CallTimeout time.Duration

	// Backoff is the pause before a call that failed is made again; it doubles
	// with each, up to 64 times that. Zero means 100 ms.
	Backoff time.Duration

	// MaxAttempts is after how many failed calls a change is set aside, so that
	// those behind it are told; see [Journal.DeadLetters]. Zero means never: the
	// change is repeated until it succeeds, and what is behind it waits. A
	// [Publisher], whose order matters, takes nothing else.
	MaxAttempts int
}

// Durable returns a scope whose listener is told of every change, by one process at
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
// so long may finish its call late: [LeaseFrom] tells a listener what it needs to
// refuse that.
//
// A name belongs to one listener; a bus panics on a second one. It is made of
// letters, digits, '.', '_' and '-', a letter or digit first, 64 at most; Once
// panics if it is not. It is told of the realms that its holder's journal has: processes
// that register it should open the journal with the same ones.
func Durable(name string) Scope { return DurableConfig{}.Durable(name) }

var onceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// Durable returns a scope with settings of its own.
func (c DurableConfig) Durable(name string) Scope {
	switch {
	case !onceName.MatchString(name):
		panic(fmt.Sprintf("tracbus: Durable needs a name of letters, digits, '.', '_' and '-', a letter or digit first, 64 at most, got %q", name))
	case c.LeaseFor < 0 || c.CallTimeout < 0 || c.Backoff < 0 || c.MaxAttempts < 0:
		panic("tracbus: DurableConfig needs LeaseFor, CallTimeout, Backoff and MaxAttempts from zero")
	case c.LeaseFor > 0 && c.LeaseFor < 10*time.Millisecond:
		panic(fmt.Sprintf("tracbus: DurableConfig needs a LeaseFor that can be renewed in time, 10 ms at least, got %v", c.LeaseFor))
	}
	c.LeaseFor = cmp.Or(c.LeaseFor, 3*time.Second)
	c.CallTimeout = cmp.Or(c.CallTimeout, 10*time.Second)
	c.Backoff = cmp.Or(c.Backoff, 100*time.Millisecond)
	return onceScope{name, c}
}

// onceScope is the scope of one name. The bus's queue has nothing for it: a
// relay reads the journal for it.
type onceScope struct {
	name   string
	config DurableConfig
}

func (s onceScope) String() string { return "durable " + s.name }
func (s onceScope) has(bool) bool  { return false }
func (s onceScope) repeats() bool  { return true }

// Lease says in whose turn a [Durable] listener is called.
type Lease struct {
	// Consumer is the scope's.
	Consumer string

	// JournalUUID is the UUID of the journal that the change is in.
	JournalUUID string

	// Token is higher for every later holder of the name, also after the
	// database was put back to an older state. Whoever writes for the listener
	// to a place of its own keeps the highest with it, and refuses a lower one:
	// that is of a process which lost its turn in the middle of a call.
	Token int64
}

type turnKey struct{}

// LeaseFrom returns the turn of the call that ctx belongs to, and false outside of
// one.
func LeaseFrom(ctx context.Context) (Lease, bool) {
	t, ok := ctx.Value(turnKey{}).(Lease)
	return t, ok
}
