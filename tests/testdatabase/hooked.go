package testdatabase

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"
)

// Hooked opens a database whose statements are each announced to before, which may
// take its time, or refuse the statement. A prepared one is announced when it is
// prepared. The pool ends with the test.
func (s *Server) Hooked(t testing.TB, dsn string, before func(ctx context.Context, query string) error) *sql.DB {
	t.Helper()
	return s.hooked(t, &hooks{dsn: dsn, before: before})
}

// HookedRuns is Hooked, but a prepared statement is announced each time it is run.
func (s *Server) HookedRuns(t testing.TB, dsn string, before func(ctx context.Context, query string) error) *sql.DB {
	t.Helper()
	return s.hooked(t, &hooks{dsn: dsn, before: before, runs: true})
}

func (s *Server) hooked(t testing.TB, h *hooks) *sql.DB {
	t.Helper()
	h.driver = s.Open(t, h.dsn).Driver()
	db := sql.OpenDB(h)
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
	runs   bool // of prepared statements are announced
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
	if !c.of.runs {
		if err := c.of.before(ctx, query); err != nil {
			return nil, err
		}
		return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	}
	stmt, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &hookedStmt{stmt, c.of, query}, nil
}

// hookedStmt is announced whenever it is run.
type hookedStmt struct {
	driver.Stmt
	of    *hooks
	query string
}

func (s *hookedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.of.before(ctx, s.query); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s *hookedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.of.before(ctx, s.query); err != nil {
		return nil, err
	}
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

func (s *hookedStmt) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := s.Stmt.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
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
