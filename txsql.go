package tracbus

import (
	"context"
	"database/sql"
	"errors"
)

// txSQL is what a transaction lets the application use, as long as it lasts.
type txSQL struct {
	tx    *ModelTransaction
	q     SQL
	until context.Context // ends before the transaction does
}

var errTxEnded = errors.New("the ModelTransaction has ended")

func (s txSQL) check() error {
	if s.tx.state >= txFlushed {
		return errTxEnded
	}
	return nil
}

// ExecContext implements [SQL].
func (s txSQL) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.q.ExecContext(ctx, query, args...)
}

// QueryContext implements [SQL].
func (s txSQL) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.q.QueryContext(s.lasting(ctx), query, args...)
}

// QueryRowContext implements [SQL].
func (s txSQL) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return s.q.QueryRowContext(s.lasting(ctx), query, args...) // the connection itself says where it has ended
}

// lasting returns a context that ends with the transaction too: rows that are
// left open would keep the connection from committing, and for ever.
func (s txSQL) lasting(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(s.until, cancel)
	return ctx
}

// openSQL lets the application use q until closing is called.
func (tx *ModelTransaction) openSQL(q SQL) {
	until, closing := context.WithCancel(context.Background())
	tx.closing = closing
	tx.sql = txSQL{tx, q, until}
}

// PrepareContext implements [SQL].
func (s txSQL) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.q.PrepareContext(ctx, query)
}
