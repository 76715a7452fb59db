package tracbus

import (
	"context"
	"database/sql"
	"fmt"
)

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
// [Resync]. Until it returns nil, it is called again and told nothing else.
// Without a journal it is not called. A listener's method that returns
// [ErrNeedsLoad] asks for it.
type LoadListener interface {
	// Load builds the state anew from what s shows. The listener is then told
	// of exactly the changes that s did not show: none is missing, none twice.
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

// query and queryRow run a statement of this library (see store.SQL).
func (s *Snapshot) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return s.QueryContext(ctx, s.journal.store.SQL(text), args...)
}

func (s *Snapshot) queryRow(ctx context.Context, text string, args ...any) *sql.Row {
	return s.QueryRowContext(ctx, s.journal.store.SQL(text), args...)
}

// shown says which changes a snapshot showed.
type shown struct {
	journal bool // there is one, and the listener was loaded
	upTo    int64
	later   []int64 // in their order; those that were passed are forgotten
}

// has says whether a change was shown. It is asked in the order of tids.
func (s *shown) has(tid int64) bool {
	for len(s.later) > 0 && s.later[0] < tid {
		s.later = s.later[1:]
	}
	if len(s.later) == 0 {
		s.later = nil // and its memory
	}
	return s.journal && (tid <= s.upTo || len(s.later) > 0 && s.later[0] == tid)
}

// load calls f with a snapshot. Everything that the bus was told before is
// committed, so every snapshot shows it; what else it shows stands in the table
// of transactions that it shows.
func (j *Journal) load(ctx context.Context, f func(context.Context, *Snapshot) error) (shown, error) {
	told := j.bus.told()
	conn, err := j.store.Snapshot(ctx)
	if err != nil {
		return shown{}, fmt.Errorf("load: %w", err)
	}
	defer conn.Rollback()
	tids, err := j.store.Shown(ctx, conn, told)
	if err != nil {
		return shown{}, fmt.Errorf("load: %w", err)
	}
	s := shown{journal: true, upTo: told, later: tids}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // closes rows that were left open: they would keep the connection
	return s, f(ctx, &Snapshot{SQL: conn, TID: told, journal: j})
}
