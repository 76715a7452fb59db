package turns

import (
	"context"
	"database/sql"
)

// Statements is what runs those that this library sends.
type Statements interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Plain is what runs all statements, as a *sql.Conn does.
type Plain interface {
	Statements
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// Connection is what is in a transaction: a [Turn], or [Own].
type Connection interface {
	Plain
	ExecKept(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryKept(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	Kept() Statements
	Uninterrupted() bool
	Failed()
}

// Own is a connection that is shared with nobody, and does without what a Turn needs.
type Own struct{ Plain }

// ExecKept is ExecContext.
func (o Own) ExecKept(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return o.ExecContext(ctx, query, args...)
}

// QueryKept is QueryContext.
func (o Own) QueryKept(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return o.QueryContext(ctx, query, args...)
}

// Kept returns the connection.
func (o Own) Kept() Statements { return o }

// Uninterrupted returns false: what is interrupted is nobody else's.
func (o Own) Uninterrupted() bool { return false }

// Failed does nothing.
func (o Own) Failed() {}
