package limit

import (
	"context"
	"database/sql"
	"errors"
)

// Querier is what asks a database.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Row is what a query answers that asks for one row.
type Row struct {
	ctx  context.Context
	rows *sql.Rows
	err  error
}

// QueryRow asks for one row. Unlike [sql.Row], a [Row] is read to its end before it is
// closed: MySQL's driver heeds no context while it closes what is left of an answer.
func QueryRow(ctx context.Context, q Querier, query string, args ...any) Row {
	rows, err := q.QueryContext(ctx, query, args...)
	return Row{ctx, rows, err}
}

// Scan reads the row. Without one it returns [sql.ErrNoRows].
func (r Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	err := r.rows.Scan(dest...)
	return errors.Join(err, Drain(r.ctx, r.rows))
}

// Drain reads what is left of rows, and closes them.
func Drain(ctx context.Context, rows *sql.Rows) error {
	for rows.Next() {
		Progress(ctx)
	}
	Progress(ctx)
	return errors.Join(rows.Err(), rows.Close())
}

// Ask runs a statement whose answer says nothing.
func Ask(ctx context.Context, q Querier, text string, args ...any) error {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	return Drain(ctx, rows)
}
