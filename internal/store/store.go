// Package store keeps a journal's tables. Its secrets are how they look and how
// databases differ; it knows nothing of tickets and pages, nor of Go values.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/pool"
	"github.com/tracbus/tracbus/internal/session"
	"github.com/tracbus/tracbus/internal/store/turns"
	"github.com/tracbus/tracbus/internal/tombstone"
)

// SQL is what runs statements: a connection or a transaction.
type SQL interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Store is one journal in one database. Its methods may be called concurrently.
type Store struct {
	db      *sql.DB
	dialect *dialect
	schema  string
	realms  []string
	uuid    string
	class   int64  // of the advisory locks
	packet  int64  // how long a statement may be, on MySQL
	batches bool   // the connection takes many statements, with values, at once
	joins   bool   // it does without values
	bent    string // says in SQL which settings of a session bend results
	appends string // stores the first change of a transaction, on PostgreSQL

	begins   string // begins a transaction that writes, once the procedures are there, on MySQL, as what follows
	straight string // says in SQL that none does
	closer   *tombstone.Closer
	sessions *session.Sessions

	texts  sync.Map
	known  atomic.Int64 // how many texts there are
	line   *turns.Line  // of those who write, if only one can; else nil
	limits Limits
	last   atomic.Pointer[Place] // that was read, and up to which all is decided
}

// Session is how MySQL names a connection. Zero is not known.
type Session = session.Session

// The ways in which a database can be no place for a journal.
var (
	ErrSchema      = errors.New("not the journal's schema")
	ErrUnsupported = errors.New("database is not fit for a journal")
	ErrPruned      = errors.New("the journal is pruned there")
	ErrRewound     = errors.New("the journal's history went back")
)

// Config says in which tables a journal is.
type Config struct {
	Dialect string
	Schema  string // zero means the connection's
	Realms  []string
	Manual  bool // do not create tables
}

// Open finds or makes a journal's tables, and checks that the database is set up
// for it. ctx may have limits of its own: [WithLimits].
func Open(ctx context.Context, db *sql.DB, config Config) (*Store, error) {
	s := &Store{db: db, dialect: dialectOf(config.Dialect), schema: config.Schema, realms: config.Realms, limits: limit.From(ctx)}
	if s.dialect == nil {
		return nil, fmt.Errorf("dialect %q: expected %s", config.Dialect, names())
	}
	if s.dialect.oneWriter {
		s.line = turns.New(db, s.limits, func(ctx *context.Context, err *error) func() { return s.Within(s.toWrite(), ctx, err) })
	}
	err := s.examine(ctx)
	switch {
	case errors.Is(err, ErrUnsupported):
		return nil, err
	case err != nil: // perhaps it is another's
		return nil, fmt.Errorf("as dialect %q: %w", config.Dialect, err)
	}
	if err := s.migrate(ctx, config.Manual); err != nil {
		return nil, err
	}
	return s, nil
}

// examine finds the schema, and refuses a database that is not fit.
func (s *Store) examine(ctx context.Context) (err error) {
	defer s.Within(s.toWrite(), &ctx, &err)()
	return s.patiently(ctx, func() error { // the first connections to a file may be making it one with a WAL
		if why, err := pool.Unfit(ctx, s.db, s.dialect.text.Name); why != "" {
			return fmt.Errorf("%w: %s", ErrUnsupported, why)
		} else if err != nil {
			return err
		}
		if err := s.findSchema(ctx); err != nil {
			return err
		}
		return s.dialect.check(s, ctx)
	})
}

// Schema returns the name of the schema that the tables are in, empty on SQLite.
func (s *Store) Schema() string { return s.schema }

// UUID names the journal.
func (s *Store) UUID() string { return s.uuid }

// CheckText says why a text cannot be stored in this database. name says what
// the text is.
func (s *Store) CheckText(name, text string) error {
	if s.dialect.text.NoNUL && strings.IndexByte(text, 0) >= 0 {
		return fmt.Errorf("%s %.60q: it has the character U+0000, which %s cannot store", name, text, s.dialect.title)
	}
	return nil
}

// OneWriter says whether a transaction excludes all others from its beginning.
func (s *Store) OneWriter() bool { return s.dialect.oneWriter }

// Contiguous says whether every tid up to the end is of a row, or was pruned.
func (s *Store) Contiguous() bool { return s.dialect.oneWriter || s.dialect.gapless }

// Batches says whether a connection of the store's takes many statements, with values, at
// once, and answers with the rows of each.
func (s *Store) Batches() bool { return s.batches }

// Lingers says whether a statement that waits for a lock goes on waiting, and keeps the
// locks that it has, after its connection is gone.
func (s *Store) Lingers() bool { return s.dialect.lingers }

// Arrays says whether a value can be an array.
func (s *Store) Arrays() bool { return s.dialect.arrays }

// ReturnsID says whether an INSERT returns the new id as a row.
func (s *Store) ReturnsID() bool { return s.dialect.text.Returning }

func (s *Store) findSchema(ctx context.Context) error {
	if s.schema == "" {
		if err := limit.QueryRow(ctx, s.db, s.dialect.schemaName).Scan(&s.schema); err != nil {
			return err
		}
		if s.schema == "" && s.dialect.schemas {
			return fmt.Errorf("%w: the connection uses no schema: expected one in the data source name, or in the configuration", ErrUnsupported)
		}
	}
	return s.dialect.checkSchema(s.schema)
}

// checkSchema refuses a name that cannot be put between quotes in a statement.
func (d *dialect) checkSchema(schema string) error {
	switch {
	case schema != "" && !d.schemas:
		return fmt.Errorf("schema %q: expected none on %s", schema, d.title)
	case strings.ContainsAny(schema, "\"`'\\{}?.") || strings.Contains(schema, "$$") ||
		strings.ContainsFunc(schema, func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) }):
		return fmt.Errorf("schema %q: expected a name without quotes, dots and the like", schema)
	}
	return nil
}
