package trac

import (
	"context"
	"fmt"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/borrow"
	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/tracsql"
)

type (
	tables = tracsql.Tables
	read   = tracsql.Read
)

func tablesOf(tx *tracbus.ModelTransaction) tables {
	lent, ok := tx.SQL().(*borrow.Loan)
	return tables{SQL: tx.SQL(), Dialect: sqltext.Of(string(tx.Dialect())), Schema: tx.Schema(), Batches: ok && lent.Batches}
}

func tablesIn(s *tracbus.Snapshot) tables {
	return tables{SQL: s, Dialect: sqltext.Of(string(s.Dialect())), Schema: s.Schema()}
}

// bounded keeps a Model from waiting for ever for rows that others have locked, or for a
// connection that died in silence.
func bounded(ctx *context.Context, err *error) (done func()) {
	return limit.Bound(ctx, err, limit.From(*ctx).Lock, func() string {
		return ", and another transaction may hold what is waited for"
	})
}

// orConflict returns an error as [tracbus.ErrConflict] if it means that a row
// with the same key exists: Trac takes no lock that this package could wait for.
// That cannot happen on SQLite, on which one transaction writes at a time.
func orConflict(err error) error {
	if sqltext.IsDuplicate(err) {
		return fmt.Errorf("%w: %w", tracbus.ErrConflict, err)
	}
	return err
}
