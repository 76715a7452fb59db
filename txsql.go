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

// exec, query and queryRow run a statement of this library (see store.SQL).
func (tx *ModelTransaction) exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	return tx.sql.q.ExecContext(ctx, tx.journal.store.SQL(text), args...)
}

func (tx *ModelTransaction) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return tx.sql.q.QueryContext(ctx, tx.journal.store.SQL(text), args...)
}

func (tx *ModelTransaction) queryRow(ctx context.Context, text string, args ...any) *sql.Row {
	return tx.sql.q.QueryRowContext(ctx, tx.journal.store.SQL(text), args...)
}

// insert runs an INSERT into a table whose column id the database fills in.
func (tx *ModelTransaction) insert(ctx context.Context, text string, args ...any) (id int64, err error) {
	if tx.journal.store.ReturnsID() {
		err = tx.queryRow(ctx, text+" RETURNING id", args...).Scan(&id)
		return id, err
	}
	result, err := tx.exec(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}
