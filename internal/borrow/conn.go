package borrow

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

// connector connects to what is lent, as often as package sql wants: it takes another
// connection for what is asked while rows are open.
type connector struct{ loan *Loan }

func (c connector) Connect(context.Context) (driver.Conn, error) { return conn(c), nil }
func (c connector) Driver() driver.Driver                        { return nil }

// conn runs on what is lent. Values go through it as they are: what is lent checks and
// converts them.
type conn struct{ loan *Loan }

// QueryContext implements [driver.QueryerContext].
func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if once, ok := ctx.(atOnce); ok {
		ctx = once.caller
	}
	c.loan.read(query)
	return c.loan.open(ctx, func(ctx context.Context) (*sql.Rows, error) {
		if c.loan.alone() {
			return c.loan.keeper.QueryKept(ctx, query, values(args)...)
		}
		return c.loan.q.QueryContext(ctx, query, values(args)...)
	})
}

// PrepareContext implements [driver.ConnPrepareContext].
func (c conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.loan.read(query)
	if err := c.loan.ask(ctx); err != nil {
		return nil, err
	}
	defer c.loan.leave()
	w := c.loan.during(ctx)
	defer w.release()
	prepared, err := c.loan.q.PrepareContext(w.ctx, query)
	if err != nil {
		return nil, w.explain(err)
	}
	s := &stmt{c.loan, prepared}
	c.loan.mu.Lock()
	defer c.loan.mu.Unlock()
	if c.loan.stmts == nil {
		c.loan.stmts = map[*stmt]bool{}
	}
	c.loan.stmts[s] = true
	return s, nil
}

// CheckNamedValue implements [driver.NamedValueChecker].
func (c conn) CheckNamedValue(*driver.NamedValue) error { return nil }

// Prepare, Begin and Close implement [driver.Conn]; nobody calls the first two.
func (c conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}
func (c conn) Begin() (driver.Tx, error) { return nil, driver.ErrSkip }
func (c conn) Close() error              { return nil }

// stmt is a prepared statement.
type stmt struct {
	loan     *Loan
	prepared *sql.Stmt
}

// QueryContext implements [driver.StmtQueryContext].
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.loan.open(ctx, func(ctx context.Context) (*sql.Rows, error) {
		return s.prepared.QueryContext(ctx, values(args)...)
	})
}

// ExecContext implements [driver.StmtExecContext].
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.loan.ask(ctx); err != nil {
		return nil, err
	}
	defer s.loan.leave()
	w := s.loan.during(ctx)
	defer w.release()
	result, err := s.prepared.ExecContext(w.ctx, values(args)...)
	return result, w.explain(err)
}

// Close implements [driver.Stmt]. After the loan, the statement is closed already.
func (s *stmt) Close() error {
	if s.loan.use() != nil {
		return nil
	}
	defer s.loan.leave()
	s.loan.mu.Lock()
	delete(s.loan.stmts, s)
	s.loan.mu.Unlock()
	return s.prepared.Close()
}

// NumInput, Exec and Query implement [driver.Stmt]; nobody calls the last two.
func (s *stmt) NumInput() int                              { return -1 }
func (s *stmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (s *stmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

// values are the arguments as they were given.
func values(args []driver.NamedValue) []any {
	all := make([]any, len(args))
	for i, a := range args {
		all[i] = a.Value
		if a.Name != "" {
			all[i] = sql.Named(a.Name, a.Value)
		}
	}
	return all
}

// refusal connects to nothing.
type refusal struct{ err error }

func (r refusal) Connect(context.Context) (driver.Conn, error) { return nil, r.err }
func (r refusal) Driver() driver.Driver                        { return nil }
