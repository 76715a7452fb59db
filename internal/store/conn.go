package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// Conn is a connection of the pool in a transaction of its own.
type Conn struct {
	*sql.Conn
	// Session is how MySQL names the connection, known if this one of the store's users may append.
	Session Session
	later   later
	limits  Limits
	spoiled bool // its session is not fit for others
	ended   bool
}

// Begin begins a transaction that writes, on a connection of its own.
func (s *Store) Begin(ctx context.Context) (c *Conn, err error) {
	defer s.Within(s.toWrite(), &ctx, &err)()
	if s.begins == "" {
		return s.begin(ctx, s.toWrite(), s.dialect.begin)
	}
	if c, err = s.begin(ctx, s.toWrite(), []string{s.begins}); err != nil {
		return nil, err
	}
	// Now, because an answer that is lost is asked for by it. In a session that shows no
	// rows, Append says so.
	if c.Session, err = s.sessions.Of(ctx, c.Conn); err != nil && !errors.Is(err, sql.ErrNoRows) {
		c.Rollback()
		return nil, err
	}
	return c, nil
}

// Snapshot begins a transaction that shows the database as of this moment.
func (s *Store) Snapshot(ctx context.Context) (*Conn, error) {
	return s.begin(ctx, s.limits.Answer, s.dialect.snapshot)
}

func (s *Store) begin(ctx context.Context, most time.Duration, statements []string) (c *Conn, err error) {
	defer s.Within(most, &ctx, &err)()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	limit.Progress(ctx)
	c = &Conn{Conn: conn, limits: s.limits}
	if s.batches || s.joins {
		statements = []string{strings.Join(statements, "; ")}
	}
	for _, text := range statements {
		if err := s.patiently(ctx, func() error { _, err := conn.ExecContext(ctx, text); return err }); err != nil {
			c.Rollback() // the answer may have been lost
			return nil, err
		}
		limit.Progress(ctx)
	}
	return c, nil
}

// Joined sets a savepoint in an application's transaction, so that
// [Store.JoinedStillOpen] knows whether it is still the same.
func (s *Store) Joined(ctx context.Context, q SQL) (err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	if s.dialect.oneWriter {
		return nil
	}
	_, err = q.ExecContext(ctx, "SAVEPOINT tracbus")
	return err
}

// JoinedStillOpen is StillOpen for a transaction of the application.
func (s *Store) JoinedStillOpen(ctx context.Context, q SQL) (err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	if s.dialect.oneWriter {
		return s.beginFails(ctx, q)
	}
	if _, err := q.ExecContext(ctx, "RELEASE SAVEPOINT tracbus"); err != nil {
		return fmt.Errorf("it is no transaction, or another one than at first: %w", err)
	}
	return nil
}

func (s *Store) beginFails(ctx context.Context, q SQL) error {
	switch _, err := q.ExecContext(ctx, "BEGIN"); {
	case err == nil:
		_, _ = q.ExecContext(ctx, "ROLLBACK")
		return errors.New("the transaction was ended before its commit, or never begun")
	case !sqltext.IsWithinTransaction(err): // it failed for another reason, which may have ended the transaction
		return fmt.Errorf("whether the transaction is still open: %w", err)
	}
	return nil
}

// StillOpen returns an error if the transaction has ended already. On SQLite, whose
// full disk ends one, BEGIN must fail.
func (s *Store) StillOpen(ctx context.Context, c *Conn) (err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	if !s.dialect.oneWriter {
		if err := limit.Ask(ctx, c, s.dialect.stillOpen); err != nil {
			return fmt.Errorf("the transaction has failed, or ended before its commit: %w", err)
		}
		return nil
	}
	return s.beginFails(ctx, c)
}

// Commit sends COMMIT, and gives the connection back if that held or was
// refused. It cannot be interrupted, because then nobody would know what became of
// it, and Limits.Commit bounds how long an answer is waited for. An error that wraps
// [ErrInDoubt] leaves the connection to be broken.
func (s *Store) Commit(ctx context.Context, c *Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.Commit)
	defer cancel()
	err := s.patiently(ctx, func() error { _, err := c.ExecContext(ctx, "COMMIT"); return err })
	switch {
	case err == nil:
		c.Release()
		return nil
	case s.dialect.answered(err):
		c.Rollback()
		return err
	case s.dialect.oneWriter:
		if _, open := c.ExecContext(ctx, "ROLLBACK"); open == nil {
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
// the transaction may still be open: the pool must not hand that out. It does
// nothing after Commit, Release or Break.
func (c *Conn) Rollback() {
	if c.ended {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.limits.Rollback)
	defer cancel()
	_, err := c.ExecContext(ctx, "ROLLBACK")
	if err != nil && !sqltext.IsNoTransaction(err) || c.spoiled {
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
