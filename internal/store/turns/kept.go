package turns

import (
	"context"
	"database/sql"
)

// Kept runs the statements of this library that come in every turn: they stay prepared. They
// wait for nobody, and are not interrupted.
type Kept struct{ pin *pin }

// ExecContext runs a statement.
func (k Kept) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return k.pin.exec(context.WithoutCancel(ctx), text, args...)
}

// QueryContext runs a query, whose rows are closed before the same comes again.
func (k Kept) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return k.pin.query(context.WithoutCancel(ctx), text, args...)
}
