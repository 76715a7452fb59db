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
// begin yet.
type Conn struct {
	*sql.Conn

	mu    sync.Mutex // held while the first statement is sent: no other one may come before it
	begin string     // what begins the transaction; empty: it has begun
}

// Lazily has a transaction begin with the next statement, by what begin says. The connection
// has to take many statements at once. It is called before the connection is used.
func (c *Conn) Lazily(begin string) { c.begin = begin }

// Begun says whether the transaction has begun.
func (c *Conn) Begun() bool { return c.pending() == "" }

func (c *Conn) pending() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begin
}

// maxLead is how long a first statement may be, with its values. A driver may not put
// longer ones into its text, and then needs it alone.
const maxLead = 1 << 20

// first returns a statement, with what begins the transaction if that has to go with it, and a
// function to call when it was sent.
func (c *Conn) first(ctx context.Context, query string, args []any) (text string, sent func(), err error) {
	c.mu.Lock()
	begin := c.begin
	switch {
	case begin == "":
		c.mu.Unlock()
		return query, func() {}, nil
	case strings.Count(query, "?") != len(args) || length(query, args) > maxLead:
		c.mu.Unlock()
		return query, func() {}, c.start(ctx)
	}
	c.begin = ""
	return begin + "; " + query, c.mu.Unlock, nil
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

// start begins the transaction alone.
func (c *Conn) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begin != "" {
		if _, err := c.Conn.ExecContext(ctx, c.begin); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		c.begin = ""
	}
	return nil
}

// ExecContext runs a statement.
func (c *Conn) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	query, sent, err := c.first(ctx, query, args)
	if err != nil {
		return nil, err
	}
	defer sent()
	return c.Conn.ExecContext(ctx, query, args...)
}

// QueryContext runs a query.
func (c *Conn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	query, sent, err := c.first(ctx, query, args)
	if err != nil {
		return nil, err
	}
	defer sent()
	return c.Conn.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a query for one row.
func (c *Conn) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	text, sent, err := c.first(ctx, query, args)
	if err != nil {
		text = c.pending() + "; " + query // a Row has no error but the database's, which says it again
	}
	defer sent()
	return c.Conn.QueryRowContext(ctx, text, args...)
}

// PrepareContext prepares a statement, which goes alone.
func (c *Conn) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	return c.Conn.PrepareContext(ctx, query)
}
