// Package queries is what sqlc generates of queries for package sql, in short: a DBTX, and a function
// for each query.
package queries

import (
	"context"
	"database/sql"
)

// DBTX is a database or a transaction.
type DBTX interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	PrepareContext(context.Context, string) (*sql.Stmt, error)
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// New returns the queries on a database or in a transaction.
func New(db DBTX) *Queries { return &Queries{db: db} }

// Queries has a method for each query.
type Queries struct{ db DBTX }
