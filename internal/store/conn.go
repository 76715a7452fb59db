package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/chain"
	"github.com/tracbus/tracbus/internal/lazyconn"
	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/store/turns"
)

// Conn is a connection of the pool in a transaction of its own, or one that it shares
// with others: see package turns.
type Conn struct {
	turns.Connection
	own   *lazyconn.Conn // nil: turn
	turn  *turns.Turn    // nil: own
	chain *chain.Watch   // nil: the database shows by itself that the transaction is another one

	Session Session // how MySQL names the connection, known if this one of the store's users may append
	later   later
	limits  Limits
	fits    string // asks whether its session is fit for others; empty: nothing could make it unfit
	spoiled bool   // it is not
	ended   bool
}

// BeginInTurn begins a transaction that writes. If the database lets one write at a time,
// those of this process take turns in the order of their calls, and may be committed
// together.
func (s *Store) BeginInTurn(ctx context.Context) (*Conn, error) {
	if s.line == nil {
		return s.beginOf(ctx, "'1'")
	}
	turn, err := s.line.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &Conn{Connection: turn, turn: turn, limits: s.limits}, nil
}

// Close gives back what is kept for those who write. The store can be used on.
func (s *Store) Close() {
	if s.line != nil {
		s.line.Close()
	}
}

// kept is q for the library's statements that come in every transaction, and wait for nothing.
func kept(q turns.Statements) turns.Statements {
	if c, own := q.(*Conn); own {
		return c.Kept()
	}
	return q
}

// Begin begins a transaction that writes the journal's tables alone, on a connection of its own.
func (s *Store) Begin(ctx context.Context) (*Conn, error) { return s.beginOf(ctx, "NULL") }

// beginOf begins one; own is the mark that package capture knows the library's own writes by.
func (s *Store) beginOf(ctx context.Context, own string) (c *Conn, err error) {
	defer s.Within(s.toWrite(), &ctx, &err)()
	if s.begins == "" {
		return s.begin(ctx, s.toWrite(), s.dialect.begin)
	}
	if c, err = s.begin(ctx, s.toWrite(), nil); err != nil {
		return nil, err
	}
	c.fits = s.SQL("SELECT (@tracbus_own := NULL) IS NULL AND " + s.straight + " AND @@autocommit LIMIT 1") // and what others write on it is not the library's own
	// Now: an answer that is lost is asked for by it. Append refuses a session that shows no rows.
	fresh := false
	if c.Session, fresh, err = s.sessions.Of(ctx, c.own.Conn); err != nil && !errors.Is(err, sql.ErrNoRows) {
		c.Release()
		return nil, err
	}
	begins := strings.Replace(s.begins, "OWN", own, 1)
	if s.batches && fresh { // else it is to be known that the connection lives
		c.own.Lazily(begins, "RELEASE SAVEPOINT tracbus_begun; SAVEPOINT tracbus_begun")
	} else if _, err := c.ExecContext(ctx, begins); err != nil {
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
	own := &lazyconn.Conn{Conn: conn}
	c = &Conn{Connection: turns.Own{Plain: own}, own: own, limits: s.limits}
	if s.dialect.chains {
		c.chain = &chain.Watch{Plain: own}
		c.Connection = turns.Own{Plain: c.chain}
	}
	if (s.batches || s.joins) && len(statements) > 0 {
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

// InTransaction returns an error unless q, which is an application's, is in a transaction.
func (s *Store) InTransaction(ctx context.Context, q SQL) (err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	if s.dialect.oneWriter {
		return s.beginFails(ctx, q)
	}
	for _, text := range []string{"SAVEPOINT tracbus_in_transaction", "RELEASE SAVEPOINT tracbus_in_transaction"} {
		if _, err := q.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("it is no transaction, or another one than at first: %w", err)
		}
	}
	return nil
}

func (s *Store) beginFails(ctx context.Context, q SQL) error {
	switch _, err := kept(q).ExecContext(ctx, "BEGIN"); {
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
	if c.turn != nil {
		if c.turn.SurelyOpen() {
			return nil
		}
		return s.beginFails(ctx, c)
	}
	defer s.Within(s.limits.Answer, &ctx, &err)()
	if !s.dialect.oneWriter {
		if err := limit.Ask(ctx, c, s.dialect.stillOpen); err != nil {
			return fmt.Errorf("the transaction has failed, or ended before its commit: %w", err)
		}
		if !c.fit(ctx) { // as append says, or it would go to the pool
			return s.blame(ctx, c, errors.New("the transaction's session is not fit for others"))
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
	if c.turn != nil {
		c.ended = true
		return c.turn.Commit(ctx)
	}
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
	if c.own != nil {
		_ = c.own.Close()
	}
}

// Rollback ends the transaction, and gives the connection back, or breaks it if
// the transaction may still be open: the pool must not hand that out. It does
// nothing after Commit, Release or Break.
func (c *Conn) Rollback() {
	if c.ended {
		return
	}
	if c.turn != nil {
		c.ended = true
		c.turn.Rollback()
		return
	}
	if !c.own.Begun() {
		c.Release()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.limits.Rollback)
	defer cancel()
	_, err := c.own.Conn.ExecContext(ctx, "ROLLBACK")
	if err != nil && !sqltext.IsNoTransaction(err) || c.own.Failed() != nil || c.spoiled || !c.fit(ctx) {
		c.Break()
		return
	}
	c.Release()
}

// fit says whether the session is fit for others, as far as it can be asked.
func (c *Conn) fit(ctx context.Context) (fits bool) {
	return c.fits == "" || limit.QueryRow(ctx, c.own.Conn, c.fits).Scan(&fits) == nil && fits
}

// Break closes the connection itself, and with it whatever it was doing.
func (c *Conn) Break() {
	if c.turn != nil { // it has done so, if that is to be
		c.Rollback()
		return
	}
	c.ended = true
	_ = c.own.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.own.Close()
}
