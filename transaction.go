package tracbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/borrow"
	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/mark"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/value"
)

// ModelTransaction is a unit of work (Trac's journaling proposal): it writes
// resources, and the journal's rows about them, in one SQL transaction.
// [Journal.Update] is all of it in one call. The long form is
//
//	tx, err := j.Begin(ctx)
//	defer tx.Rollback() // does nothing after Commit
//	err = tx.Prepare(who, "")
//	err = tx.Save(ctx, model) // Delete, Record, and SQL of your own
//	tid, err := tx.Commit(ctx)
//	tx.Notify()
//
// and [Journal.Join] makes one of a transaction that the application began.
// If Save, Delete or Record fails, the transaction is poisoned: it cannot be
// committed any more. It is for one goroutine at a time: a call that is made while
// another goes on returns an error, and a Rollback is made when that one returns.
type ModelTransaction struct {
	journal *Journal
	q       SQL          // runs the library's statements: conn, or what was joined
	lent    *borrow.Loan // of q: runs the application's
	conn    *store.Conn  // its own; nil in a joined transaction
	joined  bool
	session store.Session // of a joined one, if it was asked for

	who      Actor
	kind     Kind // that was prepared; "" is any
	time     time.Time
	commitID string
	after    store.Place // to which the journal was read when it began, after a number of rewinds
	rewinds  int
	inside   bool // an Update, which ends it
	touched  bool // a joined one: capture was told, after the mark touchedAt
	pending  entry.Pending
	taken    []takenIn        // see takeIn
	tookIn   map[Resource]int // the mark after which it was
	imports  bool             // it is no more than that

	marks     *mark.Marks // of its changes, nil until there are some: see savepoint.go
	mark      int         // the last one
	touchedAt int
	whole     bool                       // a joined one: nothing of the application comes before its commit
	fate      *fate                      // of a joined one
	told      func(tid int64, err error) // of whole: to the Tracer, what became of it

	mu     sync.Mutex // guards what follows against misuse by goroutines
	state  txState
	busy   bool  // in a call: who has set it ends the transaction, or resets it
	doomed bool  // Rollback was called meanwhile
	err    error // that poisoned it
	errAt  int   // the mark after which it did
	tid    int64
}

type txState uint8

const (
	txBegun txState = iota
	txPrepared
	txFlushed   // the rows are written; a joined one is the application's to commit
	txCommitted // or nothing was there to be
	txRolledBack
	txUnknown
)

func (s txState) String() string {
	return [...]string{"begun, not prepared", "prepared", "flushed", "committed", "rolled back", "in doubt"}[s]
}

// Begin begins a transaction on a connection of its own, which Commit or
// Rollback gives back: one of them must be called.
func (j *Journal) Begin(ctx context.Context) (*ModelTransaction, error) {
	tx, err := j.newTransaction()
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	if tx.conn, err = j.store.BeginInTurn(ctx); err != nil {
		j.ended()
		return nil, fmt.Errorf("begin: %w", err)
	}
	tx.lend(tx.conn)
	return tx, nil
}

// errTxEnded is what statements of the application get from the commit on.
var errTxEnded = errors.New("the ModelTransaction has ended")

// lend lets the application use q until the transaction ends.
func (tx *ModelTransaction) lend(q SQL) {
	s := tx.journal.store
	tx.q, tx.lent = q, borrow.Of(q, func(ctx context.Context) error { return s.Lock(ctx, q) }, !s.OneWriter(), 0)
	tx.lent.Batches = tx.conn != nil && s.Batches() // who knows what was joined
}

// Prepare says who makes the changes, and of which kind they are: [KindCreated],
// [KindChanged] or [KindDeleted], or "" for any (the proposal's create, modify, delete). A
// change of another kind is then an error.
func (tx *ModelTransaction) Prepare(who Actor, kind Kind) error {
	if err := tx.enter(txBegun, "was just begun"); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	defer tx.leave("", nil)
	switch kind {
	case "", KindCreated, KindChanged, KindDeleted:
	default:
		return fmt.Errorf("prepare: kind %q: expected %q, %q, %q, or %q for any", kind, KindCreated, KindChanged, KindDeleted, "")
	}
	tx.who = Actor{value.Text(who.Author), value.Text(who.IPNR), who.Authenticated}
	if err := tx.journal.store.CheckText("author", tx.who.Author); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if err := tx.journal.store.CheckText("ipnr", tx.who.IPNR); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.kind, tx.state = kind, txPrepared
	return nil
}

// Save stores m's changes. It returns an error, which poisons the transaction,
// if m does, or if they contradict what was prepared.
func (tx *ModelTransaction) Save(ctx context.Context, m Model) error {
	if m == nil {
		return tx.call(ctx, "save", errNoModel)
	}
	return tx.change(ctx, "save", m, m.Save)
}

// Delete deletes what m names, like Save.
func (tx *ModelTransaction) Delete(ctx context.Context, m Model) error {
	if m == nil {
		return tx.call(ctx, "delete", errNoModel)
	}
	return tx.change(ctx, "delete", m, m.Delete)
}

func errNoModel() error { return errors.New("expected a Model, got nil") }

func (tx *ModelTransaction) change(ctx context.Context, verb string, m Model, do func(context.Context, *ModelTransaction) (Event, error)) error {
	r := m.Resource()
	what, lock := verb+" "+r.String(), []Resource{r}
	if r.ID == "" {
		what, lock = verb+" a "+string(r.Realm), nil
	}
	return tx.call(ctx, what, func() error {
		if lock != nil || tx.joined { // which says that what follows is the library's own
			if err := tx.lock(ctx, lock...); err != nil {
				return err
			}
		}
		e, err := do(ctx, tx)
		if err == nil {
			err = tx.tookAll(ctx, r, e)
		}
		if err != nil || e == nil {
			return err
		}
		return tx.report(e)
	})
}

// Record reports a change whose rows the application writes itself, in this
// transaction: through [ModelTransaction.SQL], before or after. It knows what
// changed: a TicketChanged has the state in Values, and Old. TID, Seq, Author,
// IPNR and Authenticated become the transaction's, and so does a Time of zero.
// The resource is locked, so that changes of one resource are delivered in the order
// of their commits. To read old values that cannot change any more, call
// [ModelTransaction.Lock] first. Two changes of a resource in one transaction are
// delivered as one. If the second takes the first back, without a comment, and the
// rest of the state is the same except for times, nothing is stored or delivered.
// Fields of this package's events are the caller's again when Record returns.
// Instead of an event it takes a [State].
func (tx *ModelTransaction) Record(ctx context.Context, t Told) error {
	if s, is := t.(State); is {
		return tx.recordState(ctx, s)
	}
	e, err := toldEvent(t)
	if err != nil {
		return tx.call(ctx, "record", func() error { return err })
	}
	return tx.call(ctx, "record "+e.Resource().String(), func() error {
		if r := e.Resource(); tx.conn != nil && tx.lent.Ready() == nil && !tx.captured(r) {
			tx.conn.LockLater([2]string{string(r.Realm), r.ID})
		} else if err := tx.lock(ctx, r); err != nil {
			return err
		}
		return tx.report(e)
	})
}

// call runs one call of the transaction. It refuses a second one meanwhile, and one
// that makes no sense in the transaction's state. A call that fails or panics
// poisons the transaction.
func (tx *ModelTransaction) call(ctx context.Context, what string, f func() error) error {
	if err := tx.enter(txPrepared, "is prepared"); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	err := errPanicked // unless f returns
	defer func() { tx.leave(what, err) }()
	if unmarked := tx.setMark(ctx); unmarked != nil {
		err = unmarked
	} else {
		err = f()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

var errPanicked = errors.New("it panicked")

// enter begins a call, which nobody else can until leave or end. It refuses one that
// makes no sense in the transaction's state.
func (tx *ModelTransaction) enter(want txState, that string) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	switch {
	case tx.busy:
		return errors.New("another call of this transaction goes on: it is for one goroutine, and a Model must not save others")
	case tx.err != nil && tx.errAt == 0:
		return tx.poisoned()
	case tx.state != want:
		return fmt.Errorf("the transaction is %s: expected one that %s", tx.state, that)
	}
	tx.busy = true
	return nil
}

// enterEnd begins the call that ends the transaction, or says why it cannot be ended.
func (tx *ModelTransaction) enterEnd(verb string) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	switch {
	case tx.busy:
		return fmt.Errorf("%s: another call of this transaction goes on", verb)
	case tx.state != txPrepared:
		return fmt.Errorf("%s: the transaction is %s: expected one that is %s", verb, tx.state, txPrepared)
	case tx.lent.Busy():
		return fmt.Errorf("%s: a statement of this transaction goes on, in another goroutine", verb)
	}
	tx.busy = true
	return nil
}

// note keeps what is known of the transaction.
func (tx *ModelTransaction) note(state txState, tid int64) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.state, tx.tid = state, tid
}

// known returns what is known of the transaction, and whether a call goes on that may
// change it.
func (tx *ModelTransaction) known() (state txState, tid int64, busy bool) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.state, tx.tid, tx.busy
}

// leave ends a call. An error poisons the transaction.
func (tx *ModelTransaction) leave(what string, err error) {
	tx.mu.Lock()
	if err != nil && tx.err == nil {
		tx.err, tx.errAt = fmt.Errorf("%s: %w", what, err), tx.mark
	}
	tx.busy = tx.doomed && !tx.joined && tx.state <= txPrepared
	doomed := tx.busy
	tx.mu.Unlock()
	if doomed {
		tx.end(txRolledBack, (*store.Conn).Rollback)
	}
}

// Lock locks resources among all transactions of this journal until this one
// ends, which Save, Delete and Record do for theirs. A database that lets one
// transaction write at a time needs no more than that. On PostgreSQL a lock that was taken after
// a savepoint ends when that is rolled back to. With [JournalConfig.Capture] the
// journal first gets what others wrote to them and it does not have yet.
func (tx *ModelTransaction) Lock(ctx context.Context, resources ...Resource) error {
	if _, _, busy := tx.known(); !busy {
		if err := tx.setMark(ctx); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
	}
	return tx.lock(ctx, resources...)
}

func (tx *ModelTransaction) lock(ctx context.Context, resources ...Resource) error {
	pairs := make([][2]string, len(resources))
	for i, r := range resources {
		pairs[i] = [2]string{string(r.Realm), r.ID}
	}
	if err := tx.lent.Ready(); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if tx.joined && !tx.touched {
		if err := tx.own(ctx); err != nil {
			return fmt.Errorf("join: %w", err)
		}
		tx.touched, tx.touchedAt = true, tx.mark
	}
	if err := tx.journal.store.Lock(ctx, tx.q, pairs...); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return tx.takeIn(ctx, resources)
}

// SQL runs the application's own statements within the transaction: its methods
// are those that GORM and sqlc ask for. Statements that begin or end a
// transaction must not be among them. Savepoints may be: a change that was saved or recorded
// after one is not delivered if the application rolls back to it, and is if it releases it.
// Rows have to be closed before the next statement, except on SQLite. Rows and statements
// that are still open at the commit are closed: what is left of rows is read, and the
// transaction is rolled back if that takes more than 15 s. On SQLite, where work of others is to be
// committed with it, a statement that has begun is not interrupted by its context, because SQLite would roll back theirs too.
func (tx *ModelTransaction) SQL() SQL { return tx.lent }

// Actor returns what was prepared.
func (tx *ModelTransaction) Actor() Actor { return tx.who }

// Time returns the time of the transaction's changes, in UTC and whole
// microseconds.
func (tx *ModelTransaction) Time() time.Time { return tx.time }

// Dialect returns the database's dialect.
func (tx *ModelTransaction) Dialect() Dialect { return tx.journal.dialect }

// Schema returns the name of the schema that the journal's tables are in, and
// the tables of a [Model] beside them: that of JournalConfig, or else the one
// that the connection used when the journal was opened. It is empty on SQLite.
func (tx *ModelTransaction) Schema() string { return tx.journal.store.Schema() }

// Realm returns what the journal was opened with for a realm, or nil.
func (tx *ModelTransaction) Realm(r Realm) JournalRealm { return tx.journal.realm(r) }
