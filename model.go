package tracbus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"

	"github.com/tracbus/tracbus/internal/borrow"
	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/wire"
)

// Model is a change of one resource, as [ModelTransaction.Save] and Delete take
// it: it knows how the resource's rows are read and written. Those of package trac
// write Trac's tables. An application with tables of its own implements Model for
// them, or writes its rows itself and reports the change with
// [ModelTransaction.Record].
//
// A Model is used by one transaction, and by one goroutine at a time.
type Model interface {
	// Resource returns what is changed. Its ID is empty if storing the resource is
	// what gives it one.
	Resource() Resource

	// Save reads the resource's rows under lock, writes what is different and
	// returns the event that describes it: its Author, IPNR, Authenticated and Time
	// are those of tx and may be left out. nil, nil means that nothing is
	// different: then Save must not have written anything.
	//
	// The transaction has locked the resource among all transactions of this
	// journal before the call, unless its ID is empty. To lock out those who write
	// the rows without a journal, Save reads with FOR UPDATE if the database has
	// that.
	//
	// An error poisons the transaction. It wraps [ErrConflict] if somebody else
	// was faster.
	Save(ctx context.Context, tx *ModelTransaction) (Event, error)

	// Delete deletes the resource in the same manner.
	Delete(ctx context.Context, tx *ModelTransaction) (Event, error)
}

// Actor is who makes the changes of a transaction: Author, from the IP address IPNR.
// Authenticated says whether the author is signed in.
type Actor struct {
	Author        string
	IPNR          string
	Authenticated bool
}

// Entry is a change as a journal keeps it: one row of journal_change, in the form that all
// realms share.
type Entry struct {
	Resource Resource // what was changed
	Kind     Kind     // what was done to it

	// Change is the event's common part.
	Change Change

	// State is what the event says of the resource, without the fields in New:
	// a journal keeps those only once.
	State Fields

	// New and Old are the fields that changed, after and before. A field that only
	// one of them has was added or removed.
	New, Old Fields
}

// Recordable is an [Event] that a journal can keep. All event types of this
// package but [Resync] are; those of a realm of your own need this method, and a
// [JournalRealm] that understands the result.
type Recordable interface {
	Event
	// Entry returns the event in the form that the journal keeps. What it
	// returns is not changed by anybody; it may share the event's Fields.
	Entry() Entry
}

// JournalRealm is a kind of resource that a journal has views for,
// <realm>_journal and <realm>_history. [Tickets] and [Pages] are two.
type JournalRealm interface {
	// Realm returns the realm's name: lower-case letters, digits and _, a
	// letter first, 30 at most.
	Realm() Realm

	// Event returns the event of an entry, exactly as it was when
	// [Recordable.Entry] was called on it. An error says that the entry is not
	// one of this realm.
	Event(Entry) (Event, error)
}

// NewState returns the full state after the change: State with New laid over it.
func (e Entry) NewState() Fields {
	return entry.Entry{State: e.State, New: e.New}.NewState()
}

// plain returns the entry in the form of package entry, which knows no event. It
// does not say who committed it, nor its trace, which is the transaction's.
func (e Entry) plain() entry.Entry {
	c := e.Change
	return entry.Entry{
		Resource: plainResource(e.Resource), Kind: string(e.Kind),
		TID: c.TID, Seq: c.Seq, CommitID: c.CommitID, Time: c.Time,
		Author: c.Author, IPNR: c.IPNR, Authenticated: c.Authenticated, Env: c.Env, Comment: c.Comment,
		Null: wire.Attrs(c.Null), Absent: wire.Attrs(c.Absent),
		State: e.State, New: e.New, Old: e.Old,
	}
}

func plainResource(r Resource) entry.Resource {
	return entry.Resource{Realm: string(r.Realm), ID: r.ID}
}

// madeOf is the reverse of plain.
func madeOf(e entry.Entry) Entry {
	return Entry{
		Resource: Resource{Realm(e.Resource.Realm), e.Resource.ID}, Kind: Kind(e.Kind),
		Change: Change{
			TID: e.TID, Seq: e.Seq, CommitID: e.CommitID, Time: e.Time,
			Author: e.Author, IPNR: e.IPNR, Authenticated: e.Authenticated, Env: e.Env, Comment: e.Comment,
			Trace: Trace(e.Trace), Null: Attrs(e.Null), Absent: Attrs(e.Absent),
		},
		State: e.State, New: e.New, Old: e.Old,
	}
}

// entryOf returns the entry that rows hold. It does not say who committed it.
func entryOf(row store.Change) (Entry, error) {
	e, err := entry.FromRow(row)
	return madeOf(e), err
}

// SQL is what *sql.DB, *sql.Conn and *sql.Tx have in common, and what GORM's
// ConnPool and sqlc's DBTX ask for.
type SQL interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// LoadListener is a listener, with the scope [Everywhere], whose state is built
// from the database's tables and kept up to date by events. On a bus with a
// journal it is called before the first event, and again in the place of each
// [Resync]. Until it returns nil, it is called again, and gets nothing else.
// Without a journal it is not called. A listener whose other method returns
// [ErrNeedsLoad] is loaded again too.
type LoadListener interface {
	// Load replaces the state by what s shows. The listener then gets exactly the
	// changes that s did not show: none is missing, none comes twice.
	Load(ctx context.Context, s *Snapshot) error
}

// Snapshot shows the database as of one moment, read-only. It is valid until
// [LoadListener.Load] returns, and for one goroutine.
type Snapshot struct {
	SQL
	// TID is the place in the journal that the snapshot is of: it shows every
	// change up to it. It may show some later ones too.
	TID int64

	journal *Journal
}

// Dialect returns the database's dialect.
func (s *Snapshot) Dialect() Dialect { return s.journal.dialect }

// Schema returns the name of the schema that the journal's tables are in, as
// [ModelTransaction.Schema] does.
func (s *Snapshot) Schema() string { return s.journal.store.Schema() }

// Realm returns what the journal was opened with for a realm, or nil.
func (s *Snapshot) Realm(r Realm) JournalRealm { return s.journal.realm(r) }

// load calls f with a snapshot. Everything that was delivered to the bus before is
// committed, so every snapshot shows it. What else the snapshot shows is in the table
// of transactions, as the snapshot shows it.
func (j *Journal) load(ctx context.Context, q *delivery.Queue[Event], f func(context.Context, *Snapshot) error) error {
	fed := j.bus.beginLoad(q)
	conn, err := j.store.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	defer conn.Rollback()
	later, err := j.store.Shown(ctx, conn, fed, delivery.MaxShown+1)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if !q.Showed(fed, shownPlaces(later)) {
		return fmt.Errorf("load: %w while the snapshot was made", ErrRewound)
	}
	lent := borrow.Of(conn, nil, !j.store.OneWriter(), j.store.Limits().Lock)
	defer lent.Return(errSnapshotOver, j.store.Limits().Rollback)
	return f(ctx, &Snapshot{SQL: lent, TID: fed, journal: j})
}

// errSnapshotOver is what a listener gets that uses a snapshot after its Load.
var errSnapshotOver = errors.New("the snapshot is over: its Load has returned")

// beginLoad says that a queue's listener is going to be loaded, and returns the tid up to
// which the journal has fed it.
func (b *Bus) beginLoad(q *delivery.Queue[Event]) (fed int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q.BeginLoad()
	return b.fed.TID
}

// shownPlaces returns transactions as a queue compares them.
func shownPlaces(transactions []store.Place) []delivery.Place {
	places := make([]delivery.Place, len(transactions))
	for i, p := range transactions {
		places[i] = delivery.Place(p)
	}
	return places
}

func schemaText(dialect Dialect, schema string, realms []Realm, upgrade bool) (string, error) {
	for _, r := range realms {
		if err := entry.CheckName("realm", string(r)); err != nil {
			return "", fmt.Errorf("journal schema: %w", err)
		}
	}
	return store.Text(string(dialect), schema, realms, upgrade)
}

func (j *Journal) realm(name Realm) JournalRealm {
	for _, r := range j.realms {
		if r.Realm() == name {
			return r
		}
	}
	return nil
}

// checkRealm refuses a realm that the journal was not opened with.
func (j *Journal) checkRealm(name Realm) error {
	if j.realm(name) == nil {
		return fmt.Errorf("the journal has no such realm: expected one of %s", j.realmNames())
	}
	return nil
}

func (j *Journal) realmNames() []string {
	names := make([]string, len(j.realms))
	for i, r := range j.realms {
		names[i] = string(r.Realm())
	}
	return names
}

// entryOf returns the entry of an event, which can be stored.
func (tx *ModelTransaction) entryOf(e Event, primary bool) (entry.Entry, error) {
	reported, err := normalized(e, tx.journal.bus.env, primary)
	if err != nil {
		return entry.Entry{}, err
	}
	recordable, ok := reported.(Recordable)
	if !ok {
		return entry.Entry{}, fmt.Errorf("event of type %T: expected one with a method Entry", e)
	}
	made := recordable.Entry()
	if made.Resource != reported.Resource() || made.Kind != reported.Kind() {
		return entry.Entry{}, fmt.Errorf("its Entry is of %s %s: expected what the event is of", made.Resource, made.Kind)
	}
	made.Change = reported.About()
	plain := made.plain()
	if plain.Env == tx.journal.bus.env { // which is not kept
		plain.Env = ""
	}
	plain.New, plain.Old = maps.Clone(plain.New), maps.Clone(plain.Old) // they may be the caller's, who has them again
	_, normalised := reported.(ownEvent)
	return plain, plain.Check(normalised, tx.journal.store.CheckText)
}

// Also reports one change more from the Save or Delete of a [Model] that changes other
// resources beside its own: the tickets of a milestone that is renamed, say. The Model
// has locked them with [ModelTransaction.Lock], and returns the error if there is one.
func (tx *ModelTransaction) Also(e Event) error {
	if _, _, busy := tx.known(); !busy {
		return errors.New("also: expected a call from the Save or Delete of a Model")
	}
	return tx.report(e)
}
