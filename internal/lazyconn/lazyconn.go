// Package lazyconn begins a transaction together with its first statement. Its secret is
// when the two can go in one round trip.
package lazyconn

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
)

// Conn is a connection whose transaction begins with its first statement, if it has to
// begin yet. If that has failed, nothing else is run on it: it would be outside of a
// transaction, and stay.
type Conn struct {
	*sql.Conn

	mu     sync.Mutex // held while the first statement is sent: no other one may come before it
	begin  string     // what begins the transaction; empty: it has begun, or failed to
	asks   string     // fails if the transaction has not begun, and else changes nothing
	failed error      // why it has not begun, or perhaps not; nil: it has, or has to
}

// Lazily has a transaction begin with the next statement, by what begin says. The connection
// has to take many statements at once. asks fails unless the transaction has begun. It is
// called before the connection is used.
func (c *Conn) Lazily(begin, asks string) { c.begin, c.asks = begin, asks }

// Begun says whether the transaction has begun, or may have.
func (c *Conn) Begun() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begin == ""
}

// Ends says that the transaction ends with the next statement, or is rolled back if that fails:
// whether it had begun matters no more.
func (c *Conn) Ends() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asks = ""
}

// Failed returns why the transaction has not begun, or perhaps not, although it had to: nil
// if that is not so.
func (c *Conn) Failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// maxLead is how long a first statement may be, with its values. A driver may not put
// longer ones into its text, and then needs it alone.
const maxLead = 1 << 20

// run has a statement run, with what begins the transaction before it if that has to go with it.
func (c *Conn) run(ctx context.Context, query string, args []any, run func(text string) error) error {
	c.mu.Lock()
	switch {
	case c.failed != nil || c.begin == "":
		err := c.failed
		c.mu.Unlock()
		if err != nil {
			return err
		}
		return run(query)
	case strings.Count(query, "?") != len(args) || length(query, args) > maxLead:
		err := c.start(ctx)
		c.mu.Unlock()
		if err != nil {
			return err
		}
		return run(query)
	}
	defer c.mu.Unlock()
	text := c.begin + "; " + query
	c.begin = ""
	err := run(text)
	if err != nil && c.asks != "" { // of the statement, unless the transaction has not begun
		if _, not := c.Conn.ExecContext(ctx, c.asks); not != nil {
			c.failed = fmt.Errorf("the transaction has not begun: %w", err)
		}
	}
	return err
}

// start begins the transaction alone. The caller holds mu.
func (c *Conn) start(ctx context.Context) error {
	if c.failed == nil && c.begin != "" {
		_, err := c.Conn.ExecContext(ctx, c.begin)
		if c.begin = ""; err != nil {
			c.failed = fmt.Errorf("the transaction has not begun: %w", err)
		}
	}
	return c.failed
}

// length returns how long a statement is with its values, as far as that may be much.
func length(query string, args []any) int {
	n := len(query)
	for _, v := range args {
		switch v := v.(type) {
		case nil, bool, int, int32, int64, float64:
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		default: // nobody knows before the driver has seen it
			n += maxLead
		}
	}
	return n
}

// ExecContext runs a statement.
func (c *Conn) ExecContext(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	err = c.run(ctx, query, args, func(text string) (err error) {
		result, err = c.Conn.ExecContext(ctx, text, args...)
		return err
	})
	return result, err
}

// QueryContext runs a query.
func (c *Conn) QueryContext(ctx context.Context, query string, args ...any) (rows *sql.Rows, err error) {
	err = c.run(ctx, query, args, func(text string) (err error) {
		rows, err = c.Conn.QueryContext(ctx, text, args...)
		return err
	})
	return rows, err
}

// QueryRowContext runs a query for one row.
func (c *Conn) QueryRowContext(ctx context.Context, query string, args ...any) (row *sql.Row) {
	err := c.run(ctx, query, args, func(text string) error {
		row = c.Conn.QueryRowContext(ctx, text, args...)
		return row.Err()
	})
	if row == nil { // a Row has no error but what its query was refused for
		row = c.Conn.QueryRowContext(refused{ctx, err}, "the transaction has not begun")
	}
	return row
}

// refused is a context that has ended by an error.
type refused struct {
	context.Context
	err error
}

func (r refused) Err() error { return r.err }

// PrepareContext prepares a statement, which goes alone.
func (c *Conn) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	c.mu.Lock()
	err := c.start(ctx)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c.Conn.PrepareContext(ctx, query)
}
