package testdatabase

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"
)

// Hooked opens a database whose statements are each announced to before, which may
// take its time, or refuse the statement. The pool ends with the test.
func (s *Server) Hooked(t testing.TB, dsn string, before func(ctx context.Context, query string) error) *sql.DB {
	t.Helper()
	db := sql.OpenDB(&hooks{s.Open(t, dsn).Driver(), dsn, before})
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close %s: %v", s.Dialect, err)
		}
	})
	return db
}

type hooks struct {
	driver driver.Driver
	dsn    string
	before func(ctx context.Context, query string) error
}

func (h *hooks) Connect(context.Context) (driver.Conn, error) {
	conn, err := h.driver.Open(h.dsn)
	if err != nil {
		return nil, err
	}
	return &hookedConn{conn, h}, nil
}

func (h *hooks) Driver() driver.Driver { return h.driver }

type hookedConn struct {
	driver.Conn
	of *hooks
}

func (c *hookedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.of.before(ctx, query); err != nil {
		return nil, err
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *hookedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.of.before(ctx, query); err != nil {
		return nil, err
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *hookedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.of.before(ctx, query); err != nil {
		return nil, err
	}
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
}

func (c *hookedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

func (c *hookedConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *hookedConn) ResetSession(ctx context.Context) error {
	if resetter, ok := c.Conn.(driver.SessionResetter); ok {
		return resetter.ResetSession(ctx)
	}
	return nil
}

func (c *hookedConn) IsValid() bool {
	validator, ok := c.Conn.(driver.Validator)
	return !ok || validator.IsValid()
}
