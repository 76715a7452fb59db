package tracbus

import (
	"context"
	"database/sql"
)

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
