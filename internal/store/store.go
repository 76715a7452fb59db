// Package store keeps a journal's tables. Its secrets are how they look and how
// databases differ; it knows nothing of tickets and pages, nor of Go values.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
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
	dialect *Dialect
	schema  string
	realms  []string
	uuid    string
	class   int64 // of the advisory locks
	packet  int64 // how long a statement may be, on MySQL
	batches bool  // the connection takes many statements, with values, at once
	texts   sync.Map
}

// The ways in which a database can be no place for a journal.
var (
	ErrSchema      = errors.New("not the journal's schema")
	ErrUnsupported = errors.New("database is not fit for a journal")
	ErrPruned      = errors.New("the journal is pruned there")
	ErrRewound     = errors.New("the journal's history went back")
)

// Config says where a journal is.
type Config struct {
	Dialect string
	Schema  string // zero means the connection's
	Realms  []string
	Manual  bool // do not create tables
}

// Open finds or makes a journal's tables, and checks that the database is set up
// for it.
func Open(ctx context.Context, db *sql.DB, config Config) (*Store, error) {
	s := &Store{db: db, dialect: dialects[config.Dialect], schema: config.Schema, realms: config.Realms}
	if s.dialect == nil {
		return nil, fmt.Errorf("dialect %q: expected sqlite, postgresql or mysql", config.Dialect)
	}
	err := s.patiently(ctx, func() error { // the first connections to a file may be making it one with a WAL
		if err := s.findSchema(ctx); err != nil {
			return err
		}
		return s.check(ctx)
	})
	switch {
	case errors.Is(err, ErrUnsupported):
		return nil, err
	case err != nil: // perhaps it is another's
		return nil, fmt.Errorf("as dialect %q: %w", config.Dialect, err)
	}
	if err := s.migrate(ctx, config.Manual); err != nil {
		return nil, err
	}
	return s, s.checkSequence(ctx)
}

// Schema returns the name of the schema that the tables are in, empty on SQLite.
func (s *Store) Schema() string { return s.schema }

// UUID names the journal.
func (s *Store) UUID() string { return s.uuid }

// RefusesNUL says whether texts cannot hold U+0000.
func (s *Store) RefusesNUL() bool { return s.dialect.text.NoNUL }

// OneWriter says whether a transaction excludes all others from its beginning.
func (s *Store) OneWriter() bool { return s.dialect.oneWriter }

// ReturnsID says whether an INSERT returns the new id as a row.
func (s *Store) ReturnsID() bool { return s.dialect.text.Returning }

func (s *Store) findSchema(ctx context.Context) error {
	if s.schema == "" {
		if err := s.db.QueryRowContext(ctx, s.dialect.schemaName).Scan(&s.schema); err != nil {
			return err
		}
		if s.schema == "" && s.dialect.schemaName != dialects["sqlite"].schemaName {
			return fmt.Errorf("%w: the connection uses no schema: expected one in the data source name, or in the configuration", ErrUnsupported)
		}
	}
	return s.dialect.checkSchema(s.schema)
}

// checkSchema refuses a name that cannot stand between quotes in a statement.
func (d *Dialect) checkSchema(schema string) error {
	switch {
	case schema != "" && d.oneWriter:
		return fmt.Errorf("schema %q: expected none on SQLite", schema)
	case strings.ContainsAny(schema, "\"`'\\{}?.") || strings.Contains(schema, "$$") ||
		strings.ContainsFunc(schema, func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) }):
		return fmt.Errorf("schema %q: expected a name without quotes, dots and the like", schema)
	}
	return nil
}

// Conn is a connection of the pool in a transaction of its own.
type Conn struct {
	*sql.Conn
	// Session is how MySQL names the connection, known once COMMIT goes
	// together with what takes the tid; else it may be 0.
	Session int64
	// began is when PostgreSQL's transaction began, known once something was
	// locked.
	began string
	ended bool
}

// Begin begins a transaction that writes, on a connection of its own.
func (s *Store) Begin(ctx context.Context) (*Conn, error) { return s.begin(ctx, s.dialect.begin) }

// Snapshot begins a transaction that shows the database as of this moment.
func (s *Store) Snapshot(ctx context.Context) (*Conn, error) { return s.begin(ctx, s.dialect.snapshot) }

func (s *Store) begin(ctx context.Context, statements []string) (*Conn, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if s.batches {
		statements = []string{strings.Join(statements, "; ")}
	}
	for _, text := range statements {
		if err := s.patiently(ctx, func() error { _, err := conn.ExecContext(ctx, text); return err }); err != nil {
			c := &Conn{Conn: conn}
			c.Rollback() // the answer may have been lost
			return nil, err
		}
	}
	return &Conn{Conn: conn}, nil
}

// commitLimit is for the journal's own small transactions.
const commitLimit = 15 * time.Second

// patience is how long SQLite's one place for a writer is waited for. It is long
// enough for any queue of writers, and short enough for a program that waits for
// itself to say so.
const patience = 30 * time.Second

// patiently repeats what SQLite refuses because somebody else writes, for those
// who open it without a busy timeout, or with a short one.
func (s *Store) patiently(ctx context.Context, f func() error) error {
	err := f()
	if !s.dialect.oneWriter || !isBusy(err) {
		return err
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for pause := time.Millisecond; isBusy(err); pause = min(2*pause, 50*time.Millisecond) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-timeout.C:
			timer.Stop()
			return fmt.Errorf("another transaction has been writing for %v: %w", patience, err)
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("another transaction is writing: %w", ctx.Err())
		}
		err = f()
	}
	if err != nil && errors.Is(err, ctx.Err()) { // it ended in the midst of a try
		return fmt.Errorf("another transaction is writing: %w", err)
	}
	return err
}

// isBusy knows SQLite's message, which all drivers pass on.
func isBusy(err error) bool {
	return err != nil && strings.Contains(err.Error(), "database is locked")
}

// Joined notes where an application's transaction stands, so that [Store.StillOpen]
// can tell whether it is still the same.
func (s *Store) Joined(ctx context.Context, q SQL) error {
	if s.dialect.oneWriter {
		return nil
	}
	_, err := q.ExecContext(ctx, "SAVEPOINT tracbus")
	return err
}

// JoinedStillOpen is Stands for a transaction of the application.
func (s *Store) JoinedStillOpen(ctx context.Context, q SQL) error {
	if s.dialect.oneWriter {
		return s.beginFails(ctx, q)
	}
	if _, err := q.ExecContext(ctx, "RELEASE SAVEPOINT tracbus"); err != nil {
		return fmt.Errorf("it is no transaction, or another one than at first: %w", err)
	}
	return nil
}

func (s *Store) beginFails(ctx context.Context, q SQL) error {
	if _, err := q.ExecContext(ctx, "BEGIN"); err == nil {
		_, _ = q.ExecContext(ctx, "ROLLBACK")
		return errors.New("the transaction was ended before its commit, or never begun")
	}
	return nil
}

// StillOpen returns an error if the transaction has ended already. On SQLite, whose
// full disk ends one, BEGIN must fail.
func (s *Store) StillOpen(ctx context.Context, c *Conn) error {
	if !s.dialect.oneWriter {
		if err := drain(c.QueryContext(ctx, s.dialect.stands)); err != nil {
			return fmt.Errorf("the transaction has failed, or ended before its commit: %w", err)
		}
		return nil
	}
	return s.beginFails(ctx, c)
}

// Commit sends COMMIT, and gives the connection back if that held or was
// refused. It cannot be interrupted, for then nobody would know what became of
// it; limit bounds how long an answer is waited for. An error that wraps
// [ErrInDoubt] leaves the connection to be broken.
func (s *Store) Commit(ctx context.Context, c *Conn, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	err := s.patiently(ctx, func() error { _, err := c.ExecContext(ctx, "COMMIT"); return err })
	switch {
	case err == nil:
		c.Release()
		return nil
	case s.answered(err):
		c.Rollback()
		return err
	case s.dialect.oneWriter:
		if _, standing := c.ExecContext(ctx, "ROLLBACK"); standing == nil {
			c.Release()
			return err
		}
	}
	return inDoubt(err, true)
}

// Release gives a connection back whose transaction has ended.
func (c *Conn) Release() {
	c.ended = true
	_ = c.Close()
}

// Rollback ends the transaction, and gives the connection back, or breaks it if
// the transaction may still stand: the pool must not hand that out. It does
// nothing after Commit, Release or Break.
func (c *Conn) Rollback() {
	if c.ended {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := c.ExecContext(ctx, "ROLLBACK")
	if err != nil && !strings.Contains(err.Error(), "no transaction is active") {
		c.Break()
		return
	}
	c.Release()
}

// Break closes the connection itself, and with it whatever it was doing.
func (c *Conn) Break() {
	c.ended = true
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.Close()
}

// Lock locks resources, each a realm and an id, until q's transaction ends:
// among all who lock them like this, one at a time goes on.
func (s *Store) Lock(ctx context.Context, q SQL, resources ...[2]string) error {
	if s.dialect.oneWriter {
		return nil
	}
	slots := make([]int64, 0, len(resources))
	for _, r := range resources {
		slots = append(slots, slotOf(r))
	}
	slices.Sort(slots) // in one order, so that two who lock the same do not wait for each other
	for _, slot := range slices.Compact(slots) {
		args := []any{slot}
		if s.dialect.text.Numbered {
			args = []any{s.class, slot}
		}
		var err error
		if c, ok := q.(*Conn); ok && s.batches {
			err = c.QueryRowContext(ctx, s.SQL(s.dialect.lock), args...).Scan(&c.Session)
		} else if ok && s.dialect.text.Numbered {
			var began string
			if err = c.QueryRowContext(ctx, s.SQL(s.dialect.lock), args...).Scan(&began); c.began == "" {
				c.began = began
			}
		} else {
			err = drain(q.QueryContext(ctx, s.SQL(s.dialect.lock), args...))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// slots is how many locks there are for all resources together. PostgreSQL has
// room for some 6,400 locks, MySQL's need a row each.
const slots = 4096

func slotOf(r [2]string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(r[0] + "\x00" + r[1]))
	return int64(h.Sum32() % slots)
}

func drain(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}
