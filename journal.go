package tracbus

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/capture"
	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/follow"
	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/retention"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/tracfile"
)

// Dialect says which database a journal is in.
type Dialect string

// The dialects. MySQL is also that of MariaDB.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgresql"
	MySQL      Dialect = "mysql"
)

// JournalConfig says in which tables a journal is, and holds what most trackers
// need not decide.
type JournalConfig struct {
	// Dialect is the database's. There is no default.
	Dialect Dialect

	// Realms are the kinds of resources. Zero means [Tickets] and [Pages].
	// Processes may know different realms: each receives the changes of those that
	// it knows.
	Realms []JournalRealm

	// Schema is the one with the tables: PostgreSQL's schema or MySQL's database.
	// Zero means the one that a connection begins with.
	Schema string

	// Capture has the journal take in what others, such as Trac, write to the tables of its
	// realms. Zero means that it has what is written through it alone. If one process of a
	// journal has it, all that have those realms need it.
	Capture Capture

	// NoMigrate leaves the making of tables to the application; see
	// [JournalSchema]. Zero means that OpenJournal makes those that are missing.
	NoMigrate bool

	// WriteOnly is for processes that soon end, such as hooks and commands: the journal takes
	// what they write and delivers nothing to them. Run, leases and consumers are left to others,
	// which are woken before Close returns. Zero means that it delivers to its bus.
	WriteOnly bool

	// PollInterval is how often the database is asked for changes of other
	// processes, if nothing wakes this one. Zero means 100 ms, but 5 ms on SQLite,
	// because asking costs next to nothing there.
	PollInterval time.Duration

	// BatchSize bounds how many transactions are read at once. Zero means 256.
	BatchSize int

	// Waker is how the processes wake each other after a commit, such as that of [NewRedisWaker].
	// Zero means not at all: others are polled for.
	Waker Waker

	// Logger gets one line for each change of state. Zero means
	// slog.Default().
	Logger *slog.Logger
}

// Waker is a way for processes to wake each other: [RedisWaker], or LISTEN and NOTIFY of PostgreSQL
// in module pgxbus. What it loses costs the time until the next poll. Its methods are called concurrently.
type Waker interface {
	// Call sends a text to whoever hears a channel, the caller too. ctx ends if that takes long. An
	// error that wraps [ErrUnheard] says that it was sent and not even the caller hears, if that is known.
	Call(ctx context.Context, channel, text string) error
	// Hear yields what is sent, and "" when it begins to hear, until ctx ends. After an error it
	// goes on and yields "" when it hears again, or returns and is called again after a pause.
	// A connection that died in silence has to be an error too, such as by a ping now and then:
	// nobody else sees that.
	Hear(ctx context.Context, channel string) iter.Seq2[string, error]
}

// ErrUnheard is an error of [Waker.Call]: a journal says it if it comes again and again while it hears.
var ErrUnheard = follow.ErrUnheard

// Journal keeps who changed what in tables beside those of the tracker, and
// delivers that to the bus: what this process committed as primary, what others
// committed as secondary, all in one order. Its methods may be called concurrently,
// also by listeners, but these may not call Wait or Close.
type Journal struct {
	db        *sql.DB
	bus       *Bus
	store     *store.Store
	tables    *progress.Tables // of durable consumers
	retention retention.Rows   // what can be pruned
	config    JournalConfig
	dialect   Dialect
	realms    []JournalRealm
	origin    string // of this process: a random identity

	follower *follow.Follower
	unread   delivery.Runs[Event] // of changes that cannot be read; only the follower uses it
	keeper   *consumer.Keeper[Event]
	inbox    *capture.Inbox // nil without Capture
	importer *capture.Importer

	mu      sync.Mutex    // guards what follows; the follower's is taken after it
	opened  int           // transactions of its own that have not ended
	idle    chan struct{} // closed when opened falls to zero after Close
	closed  bool
	running chan struct{} // closed when Run ends; nil while it does not run
	stop    context.CancelFunc
}

// OpenJournal finds or makes the journal's tables and ties the journal to a bus.
// From now on the journal alone delivers to that bus: [Journal.Run], which the caller
// starts, delivers what is committed from now on. The db and its driver are the
// application's: OpenJournal borrows connections and does not close it.
//
// On PostgreSQL (13 and later) db must be the primary server: a standby does not
// show who is about to commit. On MySQL (8) and MariaDB (10.3), sql_mode must be
// strict; with multiStatements=true and interpolateParams=true in the data
// source name, the journal's rows and COMMIT go in one round trip.
//
// With [JournalConfig.WriteOnly] nothing is delivered in this process, so that it is an error if
// the bus has a listener with another scope than [Durable]: what is Primary to this process is
// handled by nobody. A Durable listener is called where somebody runs the journal.
func OpenJournal(ctx context.Context, db *sql.DB, bus *Bus, config JournalConfig) (*Journal, error) {
	j, err := newJournal(db, bus, config)
	if err == nil {
		err = j.connect(ctx)
	}
	if err == nil && !config.WriteOnly {
		err = j.createConsumers(ctx, j.follower.Place())
	}
	if err == nil {
		err = bus.attach(j, j.follower.Place())
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

func newJournal(db *sql.DB, bus *Bus, config JournalConfig) (*Journal, error) {
	if db == nil || bus == nil {
		panic("tracbus: OpenJournal needs a database and a bus")
	}
	if config.PollInterval < 0 || config.BatchSize < 0 {
		return nil, errors.New("JournalConfig: expected PollInterval and BatchSize from zero")
	}
	if config.Realms == nil {
		config.Realms = []JournalRealm{Tickets{}, Pages{}}
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	config.BatchSize = cmp.Or(config.BatchSize, 256)
	j := &Journal{
		db: db, bus: bus, config: config, dialect: config.Dialect, realms: config.Realms, origin: rand.Text(),
		idle: make(chan struct{}), unread: delivery.Runs[Event]{Join: joinUnread},
	}
	for i, r := range j.realms {
		name := r.Realm()
		if err := entry.CheckName("realm", string(name)); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(j.realms[:i], func(other JournalRealm) bool { return other.Realm() == name }) {
			return nil, fmt.Errorf("realm %q: expected once, found twice", name)
		}
	}
	return j, nil
}

func (j *Journal) connect(ctx context.Context) (err error) {
	j.store, err = store.Open(ctx, j.db, store.Config{
		Dialect: string(j.dialect), Schema: j.config.Schema, Realms: j.realmNames(), Manual: j.config.NoMigrate,
	})
	if err != nil {
		return err
	}
	j.tables = progress.Of(j.store, j.db)
	j.retention = retention.Of(j.store, j.db)
	if j.store.OneWriter() && !j.config.WriteOnly {
		if lack, err := tracfile.CopiesLack(ctx, j.db); err != nil {
			return err
		} else if lack {
			j.config.Logger.Warn("the database is a file of Trac's with a write-ahead log: backups by trac-admin hotcopy may lack what was committed")
		}
		j.config.PollInterval = cmp.Or(j.config.PollInterval, 5*time.Millisecond)
	}
	j.config.PollInterval = cmp.Or(j.config.PollInterval, 100*time.Millisecond)
	if err := j.fitCounter(ctx); err != nil {
		return err
	}
	if err := j.newInbox(ctx); err != nil {
		return err
	}
	if err := j.newFollower(ctx); err != nil {
		return err
	}
	j.newKeeper()
	return nil
}

// fitCounter has the next tid be above all that the journal's tables have had.
func (j *Journal) fitCounter(ctx context.Context) error {
	was, is, err := j.store.FitCounter(ctx)
	if err == nil && was != is {
		j.config.Logger.Warn("the counter of tids did not fit the journal's tables, as after a restore of a part of them: it was set", "was", was, "is", is)
	}
	return err
}

// JournalSchema returns the SQL that makes a journal's tables in a schema (""
// for the connection's), for applications that have a migration tool of their own
// and set [JournalConfig.NoMigrate]. Statements are separated by empty lines.
func JournalSchema(dialect Dialect, schema string, realms ...Realm) (string, error) {
	return schemaText(dialect, schema, realms, false)
}

// JournalUpgrade is JournalSchema for tables whose schema_version is 2, of exactly these
// realms. Processes of that release fail from the first statement on.
func JournalUpgrade(dialect Dialect, schema string, realms ...Realm) (string, error) {
	return schemaText(dialect, schema, realms, true)
}

// newTransaction counts a transaction, which has to be counted off.
func (j *Journal) newTransaction() (*ModelTransaction, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, ErrJournalClosed
	}
	j.opened++
	now := time.Now().UTC().Truncate(time.Microsecond)
	tx := &ModelTransaction{journal: j, time: now, commitID: rand.Text()}
	tx.after, tx.rewinds = j.follower.Now()
	return tx, nil
}

// ended counts a transaction off.
func (j *Journal) ended() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.opened--; j.opened == 0 && j.closed {
		close(j.idle)
	}
}

// committed notes that a transaction of this process holds.
func (j *Journal) committed(tx *ModelTransaction, tid int64) {
	j.follower.NoteCommit(store.Place{TID: tid, CommitID: tx.commitID}, tx.rewinds)
	j.follower.Hint()
}

// flushed notes what the application is about to commit.
func (j *Journal) flushed(tx *ModelTransaction, tid int64) {
	j.follower.NoteFlush(store.Place{TID: tid, CommitID: tx.commitID}, tx.rewinds)
}

// The errors of a journal, which are wrapped in one that says what was done.
var (
	// ErrNotCommitted: the transaction was rolled back; nothing was stored and
	// nothing is delivered. Returned by Update, Commit, CommitWith and Outcome.
	ErrNotCommitted = errors.New("not committed")

	// ErrCommitUnknown: the database's answer to COMMIT was lost, or on SQLite is not there because others go
	// on (see Update), and it could not be asked since, or the transaction may have been pruned by then. If the
	// transaction was committed, it is delivered like any other. Returned by Update, Commit, CommitWith and Outcome, within a [*CommitUnknownError].
	ErrCommitUnknown = errors.New("commit unknown")

	// ErrConflict: somebody else changed the resource meanwhile (Trac's mid-air
	// collision). Returned by Save and Delete, with ErrNotCommitted by Update.
	ErrConflict = errors.New("changed by somebody else meanwhile")

	// ErrNotFound: there is no such resource. Returned by Save and Delete, with
	// ErrNotCommitted by Update.
	ErrNotFound = errors.New("does not exist")

	// ErrPruned: changes after the place that was asked for are pruned.
	// Returned by Since and Resume, and the Err of a [Resync] with the reason
	// [ResyncPruned].
	ErrPruned = store.ErrPruned

	// ErrRewound: the database's history is not the one that was seen before;
	// it was restored from a backup, or a replica was promoted. Returned by
	// Resume, and the Err of a [Resync] with the reason
	// [ResyncRewound].
	ErrRewound = store.ErrRewound

	// ErrSchema: the journal's tables are missing, or of a version that this
	// library does not know, or what counts their tids is behind them and cannot
	// be set. Returned by OpenJournal.
	ErrSchema = store.ErrSchema

	// ErrUnsupportedDatabase: the database, or how it is set up, cannot give the guarantees.
	// Returned by OpenJournal, in JournalStatus.Err, and with ErrNotCommitted by
	// Update, if settings of the session would bend what is stored.
	ErrUnsupportedDatabase = store.ErrUnsupported

	// ErrNeedsLoad is returned by a [LoadListener] that cannot derive its new state
	// from an event: it is loaded again. It is no failure.
	ErrNeedsLoad = errors.New("load again")

	// ErrBusHasJournal is returned by [Bus.Notify] on a bus that has a journal.
	ErrBusHasJournal = errors.New("the bus belongs to a journal")

	// ErrNoJournal is returned by [Bus.Notify] on a bus that has a listener with
	// the scope [Durable], because only a journal can deliver to it.
	ErrNoJournal = errors.New("the bus has no journal")

	// ErrJournalClosed is returned by Begin, Join and Update after Close.
	ErrJournalClosed = errors.New("journal is closed")
)

// CommitUnknownError is what wraps [ErrCommitUnknown]: it has the transaction,
// which can be asked again.
type CommitUnknownError struct {
	Transaction *ModelTransaction // its Outcome asks what became of it
	Err         error             // why that is not known
}

// Error says why.
func (e *CommitUnknownError) Error() string { return ErrCommitUnknown.Error() + ": " + e.Err.Error() }

// Unwrap returns [ErrCommitUnknown] and Err.
func (e *CommitUnknownError) Unwrap() []error { return []error{ErrCommitUnknown, e.Err} }
