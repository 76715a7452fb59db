package tracbustest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

// liar is a database that does not do what it is told: rewrite changes each statement and
// its parameters on their way.
type liar struct {
	driver  driver.Driver
	dsn     string
	rewrite func(c *lyingConn, query string, args []driver.NamedValue) string
}

// lies opens pools of a database that lies.
func lies(t *testing.T, s *testdatabase.Server, dsn string, rewrite func(*lyingConn, string, []driver.NamedValue) string) func() (*sql.DB, error) {
	d := s.Open(t, dsn).Driver()
	return func() (*sql.DB, error) { return sql.OpenDB(&liar{d, dsn, rewrite}), nil }
}

func (l *liar) Driver() driver.Driver { return l.driver }

func (l *liar) Connect(context.Context) (driver.Conn, error) {
	conn, err := l.driver.Open(l.dsn)
	if err != nil {
		return nil, err
	}
	return &lyingConn{Conn: conn, of: l}, nil
}

type lyingConn struct {
	driver.Conn
	of     *liar
	change bool // the application's table was written since the last BEGIN
}

func (c *lyingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, c.of.rewrite(c, query, args), args)
}

func (c *lyingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, c.of.rewrite(c, query, args), args)
}

func (c *lyingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

// instead rewrites every third statement that ends a transaction in which the
// application has written: from the one into the other.
func instead(from, to string) func(*lyingConn, string, []driver.NamedValue) string {
	var ends atomic.Int64
	var honest atomic.Bool // from the last change on, which is waited for
	return func(c *lyingConn, query string, args []driver.NamedValue) string {
		if len(args) == 1 && args[0].Value == "last" {
			honest.Store(true)
		}
		switch {
		case strings.HasPrefix(query, "BEGIN"):
			c.change = false
		case strings.HasPrefix(query, "INSERT INTO") && strings.Contains(query, "done"):
			c.change = true
		case c.change && query == from && !honest.Load() && ends.Add(1)%3 == 0:
			return to
		}
		return query
	}
}
