package tracbus

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"regexp"
	"time"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// DurableConfig says how a [Durable] consumer is run. Processes that register the
// same consumer should give it the same.
type DurableConfig struct {
	// FromOldest makes a consumer that is new to the journal begin at the
	// journal's oldest change. Zero means that it begins after the newest.
	FromOldest bool

	// LeaseFor is how long a process that dies or is suspended keeps the consumer
	// from the others. The lease is renewed over the journal's database: if a
	// listener keeps the only connection of its pool for longer, or on SQLite a
	// transaction that writes, the lease is lost in the middle of its call, each
	// time. Zero means 3 s.
	LeaseFor time.Duration

	// CallTimeout bounds one call of the listener. After it the call's context
	// ends and the lease is given up, so that another process can go on. Zero
	// means 10 s.
	CallTimeout time.Duration

	// Backoff is the pause before a call that failed is made again. It doubles
	// with each failure, up to 64 times that. While Redis is away, a [Publisher]
	// waits no longer than its MaxBackoff. Zero means 100 ms.
	Backoff time.Duration

	// MaxAttempts is after how many failed calls a change becomes a dead letter,
	// so that the changes after it are delivered; see [Journal.DeadLetters]. Zero
	// means never: the change is repeated until it succeeds, and the changes
	// after it wait. A [Publisher], whose order matters, takes nothing else.
	MaxAttempts int
}

// Durable returns the scope of a durable consumer: its listener is called with
// every change, by one process at a time, in the order of tids, going on where the
// last process stopped. It is for side effects that must not be lost, such as
// webhooks, e-mail or a search index. While no process runs the journal, the
// listener is not called, and nothing is lost.
//
// How far the listener has come, its cursor, is kept in the journal under the
// consumer's name. It moves only after the listener returned nil. A call that
// failed is repeated until it succeeds, and after a crash the last call is made
// again, perhaps by another process: at least once. All processes that register
// the consumer compete for its lease. When its holder shuts down, another process
// goes on at once; when the holder dies, is suspended, or hangs in a call, after a
// few seconds. A process that was suspended may finish its call late: [LeaseFrom]
// gives a listener what it needs to refuse that.
//
// A consumer has one listener; a bus panics on a second one. Its name is made of
// letters, digits, '.', '_' and '-', a letter or digit first, 64 at most; Durable
// panics if it is not. The listener is called with changes of the realms that its
// holder's journal has: processes that register the consumer should open the
// journal with the same ones.
func Durable(name string) Scope { return DurableConfig{}.Durable(name) }

var consumerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// Durable returns a scope with settings of its own.
func (c DurableConfig) Durable(name string) Scope {
	switch {
	case !consumerName.MatchString(name):
		panic(fmt.Sprintf("tracbus: Durable needs a name of letters, digits, '.', '_' and '-', a letter or digit first, 64 at most, got %q", name))
	case c.LeaseFor < 0 || c.CallTimeout < 0 || c.Backoff < 0 || c.MaxAttempts < 0:
		panic("tracbus: DurableConfig needs LeaseFor, CallTimeout, Backoff and MaxAttempts from zero")
	case c.LeaseFor > 0 && c.LeaseFor < 10*time.Millisecond:
		panic(fmt.Sprintf("tracbus: DurableConfig needs a LeaseFor that can be renewed in time, 10 ms at least, got %v", c.LeaseFor))
	}
	c.LeaseFor = cmp.Or(c.LeaseFor, 3*time.Second)
	c.CallTimeout = cmp.Or(c.CallTimeout, 10*time.Second)
	c.Backoff = cmp.Or(c.Backoff, 100*time.Millisecond)
	return durableScope{name, c}
}

// durableScope is the scope of one consumer. The bus queues nothing for it: its
// runner reads the journal.
type durableScope struct {
	name   string
	config DurableConfig
}

func (s durableScope) String() string { return "durable " + s.name }
func (s durableScope) has(bool) bool  { return false }
func (s durableScope) repeats() bool  { return true }

// Lease says under which lease a [Durable] listener is called.
type Lease struct {
	// Consumer is the name of the scope.
	Consumer string

	// JournalUUID is the UUID of the journal that the change is in.
	JournalUUID string

	// Token is the fencing token. It is higher for every later holder of the
	// lease, also after the database was put back to an older state. Whoever
	// writes for the listener to a place of its own keeps the highest token with
	// it, and refuses a lower one: a lower one comes from a process that lost its
	// lease in the middle of a call.
	Token int64
}

// LeaseFrom returns the lease of the call that ctx belongs to, and false outside
// of one.
func LeaseFrom(ctx context.Context) (Lease, bool) {
	l, ok := consumer.LeaseFrom(ctx)
	return Lease(l), ok
}

// ConsumerStatus says how a [Durable] consumer is doing, whichever process runs it.
type ConsumerStatus struct {
	Name string // of the consumer

	// Holder is the process that holds the lease and calls the listener: its
	// host, its pid and a part of its identity. Empty: none does.
	Holder         string
	HeldHere       bool          // it is this process
	Token          int64         // of the lease
	LeaseAge       time.Duration // since the lease was acquired
	LeaseRemaining time.Duration // until it expires, unless it is renewed; zero or less: it has expired

	// TID is that of the last change handled, Seq its place in the transaction.
	// If all of the transaction is handled, Seq is -1.
	TID int64
	Seq int

	// Lag counts the changes that are committed and not handled, of the realms
	// that this process knows: one by one, so that Status takes the longer the more
	// there are, and no longer for the others. LagAge is how long ago the oldest was made.
	Lag    int64
	LagAge time.Duration

	// Err is the listener's last error, and FailingFor how long it has been
	// failing. Both are zero while it succeeds.
	Err        string
	FailingFor time.Duration

	DeadLetters int // how many there are
}

// consumerStatus asks the database how the consumers are doing.
func (j *Journal) consumerStatus(ctx context.Context) ([]ConsumerStatus, error) {
	rows, err := j.tables.Consumers(ctx)
	if err != nil {
		return nil, err
	}
	cursors := make([]progress.Cursor, len(rows))
	for i, row := range rows {
		cursors[i] = row.Cursor
	}
	lags, err := j.tables.Lags(ctx, cursors, j.realmNames())
	if err != nil {
		return nil, err
	}
	me := consumer.HolderName(j.origin)
	var all []ConsumerStatus
	for _, row := range rows {
		s := ConsumerStatus{
			Name: row.Name, Holder: row.Holder, HeldHere: row.Holder == me, Token: row.Token, LeaseAge: row.Held, LeaseRemaining: row.Left,
			TID: row.Cursor.TID, Seq: -1, Err: row.Error, FailingFor: row.Failing, DeadLetters: row.DeadLetters,
		}
		if row.Cursor.Partial {
			s.Seq = row.Cursor.Seq
		}
		if lag := lags[row.Cursor]; lag.Changes > 0 {
			s.Lag, s.LagAge = lag.Changes, max(time.Since(time.UnixMicro(lag.Oldest)), 0)
		}
		all = append(all, s)
	}
	return all, nil
}

// waitForConsumer waits until a consumer has handled all that the journal has
// delivered to the bus, and all that this process has committed.
func (b *Bus) waitForConsumer(ctx context.Context, name string) error {
	b.mu.Lock()
	j := b.journal
	b.mu.Unlock()
	if j == nil {
		return nil // there is nothing to handle
	}
	tid, rewinds := max(b.fedTo(), b.committed()), j.follower.Rewinds()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		if now := j.follower.Rewinds(); now != rewinds { // the tid is of a history that is gone
			tid, rewinds = max(b.fedTo(), b.committed()), now
		}
		row, found, err := j.tables.FindConsumer(ctx, name)
		if err != nil {
			return fmt.Errorf("wait for %q: %w", name, err)
		}
		if c := row.Cursor; found && (c.TID > tid || c.TID == tid && !c.Partial) {
			return nil
		}
		if !store.Sleep(ctx, pause) {
			return fmt.Errorf("wait for %q to handle tid %d: it has come to tid %d: %w", name, tid, row.Cursor.TID, ctx.Err())
		}
	}
}

// DeadLetter is a change on which a [Durable] listener failed as often as its
// [DurableConfig.MaxAttempts] allows. The changes after it were delivered, it was
// not.
type DeadLetter struct {
	Consumer string   // the name of the scope
	TID      int64    // of the change's transaction
	Seq      int      // the change's place in it
	Resource Resource // what was changed

	Err          string    // what the listener returned last
	Attempts     int       // how often it was called
	FailedAt     time.Time // when the change became a dead letter
	Redelivering bool      // it is going to be delivered again
}

// DeadLetters iterates over the dead letters of a consumer, in their order. An
// error is yielded once and ends it.
func (j *Journal) DeadLetters(ctx context.Context, name string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for tid, seq := int64(-1), -1; ; {
			some, err := j.tables.DeadLetters(ctx, name, false, tid, seq, deadLettersAtOnce)
			if err != nil {
				yield(DeadLetter{}, fmt.Errorf("dead letters of %q: %w", name, err))
				return
			}
			for _, d := range some {
				if !yield(deadLetterOf(name, d), nil) {
					return
				}
				tid, seq = d.TID, d.Seq
			}
			if len(some) < deadLettersAtOnce {
				return
			}
		}
	}
}

// deadLettersAtOnce is how many are read at once.
const deadLettersAtOnce = 100

func deadLetterOf(name string, d progress.DeadLetter) DeadLetter {
	return DeadLetter{
		Consumer: name, TID: d.TID, Seq: d.Seq, Resource: Resource{Realm(d.Realm), d.ID},
		Err: d.Error, Attempts: d.Attempts, FailedAt: time.UnixMicro(d.Since).UTC(), Redelivering: d.Redeliver,
	}
}

// Redeliver has dead letters delivered again by whichever process holds the
// consumer's lease, and returns how many; all of the consumer if none is given.
// One that succeeds is no longer a dead letter; one that fails remains one. They
// are delivered out of order: the changes after them were delivered before.
func (j *Journal) Redeliver(ctx context.Context, name string, which ...DeadLetter) (n int, err error) {
	count, err := j.tables.RedeliverDeadLetters(ctx, name, deadLetterKeys(which)...)
	if err != nil {
		return int(count), fmt.Errorf("redeliver dead letters of %q: %w", name, err)
	}
	j.follower.Hint()
	return int(count), nil
}

// DropDeadLetters forgets those dead letters that are given: they are never
// delivered, and do not keep [Journal.Prune] from anything. It returns how many.
func (j *Journal) DropDeadLetters(ctx context.Context, name string, which ...DeadLetter) (n int, err error) {
	count, err := j.tables.DropDeadLetters(ctx, name, deadLetterKeys(which)...)
	if err != nil {
		return int(count), fmt.Errorf("drop dead letters of %q: %w", name, err)
	}
	return int(count), nil
}

// deadLetterKeys returns what the store finds dead letters by.
func deadLetterKeys(which []DeadLetter) (keys []progress.DeadLetter) {
	for _, d := range which {
		keys = append(keys, progress.DeadLetter{TID: d.TID, Seq: d.Seq})
	}
	return keys
}

// DropConsumer forgets a consumer whose listener is no longer registered anywhere,
// with its cursor and its dead letters, so that it does not keep [Journal.Prune]
// from anything. A process that still has the listener makes the consumer again,
// as a new one.
func (j *Journal) DropConsumer(ctx context.Context, name string) error {
	if err := j.tables.DropConsumer(ctx, name); err != nil {
		return fmt.Errorf("drop consumer %q: %w", name, err)
	}
	return nil
}
