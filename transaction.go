package tracbus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/value"
)

// Actor is who makes the changes of a transaction: Author, from the IP address IPNR.
// Authenticated says whether the author is signed in.
type Actor struct {
	Author        string
	IPNR          string
	Authenticated bool
}

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
// committed any more. It is for one goroutine at a time.
type ModelTransaction struct {
	journal *Journal
	sql     txSQL
	closing context.CancelFunc // ends what is open of its queries
	conn    *store.Conn        // its own; nil in a joined transaction
	joined  bool

	who      Actor
	kind     Kind // that was prepared; "" is any
	time     time.Time
	commitID string
	after    store.Place // to which the journal was read when it began, after a number of rewinds
	rewinds  int
	inside   bool // an Update, which ends it
	touched  bool // a joined one: its place is noted
	pending  entry.Pending

	mu    sync.Mutex // guards what follows against misuse by goroutines
	state txState
	busy  bool  // in a call
	err   error // that poisoned it
	tid   int64
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
	if err := j.store.AcquireWriter(ctx); err != nil {
		j.ended()
		return nil, fmt.Errorf("begin: %w", err)
	}
	if tx.conn, err = j.store.Begin(ctx); err != nil {
		j.store.ReleaseWriter()
		j.ended()
		return nil, fmt.Errorf("begin: %w", err)
	}
	tx.openSQL(tx.conn)
	return tx, nil
}

// Join makes a ModelTransaction of a transaction that the application began and
// will commit, as *sql.Tx or *sql.Conn: with pgx through its stdlib package and
// OpenDBFromPool. Call [ModelTransaction.Flush] as the last thing before the
// application's commit, and Notify after it. On SQLite, begin with BEGIN
// IMMEDIATE: a transaction that begins by reading cannot write once somebody
// else has. On PostgreSQL and MySQL, READ COMMITTED suits best; stricter ones
// make the database refuse what others changed meanwhile.
func (j *Journal) Join(q SQL) (*ModelTransaction, error) {
	tx, err := j.newTransaction()
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	j.ended() // nothing to wait for: the application ends it
	switch q := q.(type) {
	case txSQL:
		return nil, fmt.Errorf("join: it is the SQL of a ModelTransaction, %s: use that one", q.tx.state)
	case nil, *sql.DB:
		return nil, fmt.Errorf("join: expected a transaction that was begun, such as *sql.Tx, got %T", q)
	}
	tx.joined = true
	tx.openSQL(q)
	return tx, nil
}

// Prepare says who makes the changes, and of which kind they are: [KindCreated],
// [KindChanged] or [KindDeleted], or "" for any (the proposal's create, modify, delete). A
// change of another kind is then an error.
func (tx *ModelTransaction) Prepare(who Actor, kind Kind) error {
	if tx.state != txBegun {
		return fmt.Errorf("prepare: the transaction is %s: expected one that was just begun", tx.state)
	}
	switch kind {
	case "", KindCreated, KindChanged, KindDeleted:
	default:
		return fmt.Errorf("prepare: kind %q: expected %q, %q, %q, or %q for any", kind, KindCreated, KindChanged, KindDeleted, "")
	}
	tx.who = Actor{value.Text(who.Author), value.Text(who.IPNR), who.Authenticated}
	if err := tx.journal.checkText("author", tx.who.Author); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if err := tx.journal.checkText("ipnr", tx.who.IPNR); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	tx.kind, tx.state = kind, txPrepared
	return nil
}

// Save stores m's changes. It returns an error, which poisons the transaction,
// if m does, or if they contradict what was prepared.
func (tx *ModelTransaction) Save(ctx context.Context, m Model) error {
	if m == nil {
		return tx.call("save", errNoModel)
	}
	return tx.change(ctx, "save", m, m.Save)
}

// Delete deletes what m names, like Save.
func (tx *ModelTransaction) Delete(ctx context.Context, m Model) error {
	if m == nil {
		return tx.call("delete", errNoModel)
	}
	return tx.change(ctx, "delete", m, m.Delete)
}

func errNoModel() error { return errors.New("expected a Model, got nil") }

func (tx *ModelTransaction) change(ctx context.Context, verb string, m Model, do func(context.Context, *ModelTransaction) (Event, error)) error {
	r := m.Resource()
	what := verb + " " + r.String()
	if r.ID == "" {
		what = verb + " a new " + string(r.Realm)
	}
	return tx.call(what, func() error {
		if r.ID != "" {
			if err := tx.Lock(ctx, r); err != nil {
				return err
			}
		}
		e, err := do(ctx, tx)
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
func (tx *ModelTransaction) Record(ctx context.Context, e Event) error {
	if err := checkType(e); err != nil {
		return tx.call("record", func() error { return err })
	}
	return tx.call("record "+e.Resource().String(), func() error {
		if err := tx.Lock(ctx, e.Resource()); err != nil {
			return err
		}
		return tx.report(e)
	})
}

// call runs one call of the transaction. It refuses a second one meanwhile, and one
// that makes no sense in the transaction's state. A call that fails or panics
// poisons the transaction.
func (tx *ModelTransaction) call(what string, f func() error) error {
	if err := tx.enter(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	err := errPanicked // unless f returns
	defer func() { tx.leave(what, err) }()
	if err = f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

var errPanicked = errors.New("it panicked")

func (tx *ModelTransaction) enter() error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	switch {
	case tx.busy:
		return errors.New("another call of this transaction goes on: it is for one goroutine, and a Model must not save others")
	case tx.err != nil:
		return fmt.Errorf("the transaction was poisoned by: %w", tx.err)
	case tx.state != txPrepared:
		return fmt.Errorf("the transaction is %s: expected one that is prepared", tx.state)
	}
	tx.busy = true
	return nil
}

func (tx *ModelTransaction) leave(what string, err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.busy = false
	if err != nil {
		tx.err = fmt.Errorf("%s: %w", what, err)
	}
}

// Lock locks resources among all transactions of this journal until this one
// ends, which Save, Delete and Record do for theirs. A database that lets one
// transaction write at a time needs no more than that.
func (tx *ModelTransaction) Lock(ctx context.Context, resources ...Resource) error {
	pairs := make([][2]string, len(resources))
	for i, r := range resources {
		pairs[i] = [2]string{string(r.Realm), r.ID}
	}
	if tx.joined && !tx.touched {
		if err := tx.journal.store.Joined(ctx, tx.sql.q); err != nil {
			return fmt.Errorf("join: expected a transaction that was begun: %w", err)
		}
		tx.touched = true
	}
	if err := tx.journal.store.Lock(ctx, tx.sql.q, pairs...); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

// SQL runs the application's own statements within the transaction: its methods
// are those that GORM and sqlc ask for. Statements that begin or end a
// transaction must not be among them, nor ROLLBACK TO a savepoint that was set
// before a change was saved or recorded: the change would be delivered all the same.
// What is still open of a query is closed before the commit.
func (tx *ModelTransaction) SQL() SQL { return tx.sql }

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

// txSQL is what a transaction lets the application use, as long as it lasts.
type txSQL struct {
	tx    *ModelTransaction
	q     SQL
	until context.Context // ends before the transaction does
}

var errTxEnded = errors.New("the ModelTransaction has ended")

func (s txSQL) check() error {
	if s.tx.state >= txFlushed {
		return errTxEnded
	}
	return nil
}

// ExecContext implements [SQL].
func (s txSQL) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.q.ExecContext(ctx, query, args...)
}

// QueryContext implements [SQL].
func (s txSQL) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.q.QueryContext(s.lasting(ctx), query, args...)
}

// QueryRowContext implements [SQL].
func (s txSQL) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return s.q.QueryRowContext(s.lasting(ctx), query, args...) // the connection itself says if the transaction has ended
}

// lasting returns a context that ends with the transaction too: rows that are
// left open would keep the connection from committing, and for ever.
func (s txSQL) lasting(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(s.until, cancel)
	return ctx
}

// openSQL lets the application use q until closing is called.
func (tx *ModelTransaction) openSQL(q SQL) {
	until, closing := context.WithCancel(context.Background())
	tx.closing = closing
	tx.sql = txSQL{tx, q, until}
}

// PrepareContext implements [SQL].
func (s txSQL) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.q.PrepareContext(ctx, query)
}
