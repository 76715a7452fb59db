// Package tombstone decides the numbers of an AUTO_INCREMENT key that nobody has seen yet.
// Its secret is how MySQL and MariaDB are asked who holds one, and how a number is closed
// that nobody holds, so that no transaction can commit with it.
//
// A row's number is taken before its transaction commits, so a reader may see a number and
// miss the one before. That one is of a transaction that is open: then the row is
// locked, and the reader waits. Or nobody holds it: its transaction was rolled back, or
// has taken it and not inserted the row yet. Then the reader inserts a row of its own with
// it, a tombstone. The key decides who was first. Either way there is a committed
// row in the end, and it never becomes another one. No time is too long for a transaction.
package tombstone

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// Closer closes numbers of one table. Its methods may be called concurrently, and by many
// processes.
type Closer struct {
	DB *sql.DB

	// Look has two marks, and returns a number from one to another whose row is committed.
	// It fails, and does not wait, if a row is there whose transaction is open.
	Look string

	// Insert begins a statement that inserts rows which are not there yet, Row is one, with
	// a mark for its number, and one for a random identity.
	Insert, Row string

	// All has a mark, and returns all numbers above one, in order, and the identity of each.
	All string

	// Mark has marks for a number, its identity and again the number: it notes for
	// others up to where all is decided. What it noted of rows that are gone is no obstacle.
	Mark string

	// Show has a mark, and returns numbers above one, and the session that inserted each.
	Show string

	// MariaDB says that a setting can be given for one statement, Batches that a connection
	// takes many statements, with values, at once.
	MariaDB, Batches bool

	refused atomic.Pointer[error]
	next    atomic.Int64 // the number from which on another one is noted
}

const (
	atOnce = 1000             // so many are closed in one statement
	pause  = time.Millisecond // a number that was taken is inserted sooner than that, mostly
)

// Decide looks who holds the numbers from one to another, which a read has missed, and
// closes them if nobody does. It says whether some are decided now, so that
// another read sees more. It looks twice before: whoever finds his number closed has to
// take another one.
func (c *Closer) Decide(ctx context.Context, from, to int64) (decided bool, err error) {
	to = min(to, from+atOnce-1)
	for again := range 2 {
		if again > 0 && !limit.Sleep(ctx, pause) {
			return false, ctx.Err()
		}
		there, held, err := c.look(ctx, from, to)
		if err != nil || there || held {
			return there, c.forgive(err)
		}
	}
	err = c.close(ctx, from, to)
	if sqltext.IsLocked(err) || sqltext.IsConflict(err) { // somebody has inserted one meanwhile
		return false, nil
	}
	if err == nil {
		c.refused.Store(nil)
	}
	return err == nil, c.forgive(err)
}

// Held says whether a transaction that is open has a number.
func (c *Closer) Held(ctx context.Context, n int64) (held bool, err error) {
	_, held, err = c.look(ctx, n, n)
	return held, err
}

// Taken is a number, and the session that inserted its row.
type Taken struct{ N, Session int64 }

// Shown returns the first numbers above one, as q shows them.
func (c *Closer) Shown(ctx context.Context, q limit.Querier, above int64) (all []Taken, err error) {
	rows, err := q.QueryContext(ctx, c.Show, above)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t Taken
		if err := rows.Scan(&t.N, &t.Session); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}

// Refused returns why this process could not close a number, when it last tried: its user
// may not write, or the server does not let anybody. It waits for another process to do it.
func (c *Closer) Refused() error {
	if err := c.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// forgive keeps an error that says no more than that this process may not close numbers.
func (c *Closer) forgive(err error) error {
	if !sqltext.IsRefused(err) {
		return err
	}
	c.refused.Store(&err)
	return nil
}

// look says whether one of some numbers has a committed row, or else a transaction that is
// open has one of them.
func (c *Closer) look(ctx context.Context, from, to int64) (there, held bool, err error) {
	q, text, release, err := c.alone(ctx, c.Look)
	if err != nil {
		return false, false, err
	}
	defer release()
	var n int64
	switch err = limit.QueryRow(ctx, q, text, from, to).Scan(&n); {
	case errors.Is(err, sql.ErrNoRows):
		return false, false, nil
	case sqltext.IsLocked(err):
		limit.Progress(ctx)
		return false, true, nil
	}
	return err == nil, false, err
}

// close inserts a tombstone for each of some numbers that has no row.
func (c *Closer) close(ctx context.Context, from, to int64) error {
	args := make([]any, 0, 2*(to-from+1))
	for n := from; n <= to; n++ {
		args = append(args, n, rand.Text())
	}
	return c.Briefly(ctx, c.Insert+c.Row+strings.Repeat(", "+c.Row, int(to-from)), args...)
}

// commits has each statement committed, also in a session of which the application has left it
// otherwise: nobody would commit a tombstone there, or give up a lock, and all readers would wait.
const commits = "autocommit = 1"

// alone returns what runs a statement that is a transaction of its own, and with which text.
func (c *Closer) alone(ctx context.Context, statement string) (q querier, text string, release func(), err error) {
	if c.Batches {
		return c.DB, "SET " + commits + "; " + statement, func() {}, nil
	}
	conn, err := c.DB.Conn(ctx)
	if err != nil {
		return nil, "", nil, err
	}
	release = func() { _ = conn.Close() }
	if _, err = conn.ExecContext(ctx, "SET "+commits); err != nil {
		release()
		return nil, "", nil, err
	}
	return conn, statement, release, nil
}

// querier is a pool or a connection of it.
type querier interface {
	limit.Querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Briefly runs a statement that is a transaction of its own, and waits for no other one,
// or for a second where that cannot be helped.
func (c *Closer) Briefly(ctx context.Context, text string, args ...any) error {
	if c.MariaDB {
		q, text, release, err := c.alone(ctx, "SET STATEMENT innodb_lock_wait_timeout = 0 FOR "+text)
		if err != nil {
			return err
		}
		defer release()
		_, err = q.ExecContext(ctx, text, args...)
		return err
	}
	conn, err := c.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err = conn.ExecContext(ctx, "SET @tracbus_wait = @@innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1, "+commits); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, text, args...)
	if _, failed := conn.ExecContext(ctx, "SET SESSION innodb_lock_wait_timeout = @tracbus_wait"); failed != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // nobody may use it like this
	}
	return err
}
