package tracbus

import (
	"context"
	"database/sql"
)

// query and queryRow run a statement of this library (see store.SQL).
func (s *Snapshot) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return s.QueryContext(ctx, s.journal.store.SQL(text), args...)
}

func (s *Snapshot) queryRow(ctx context.Context, text string, args ...any) *sql.Row {
	return s.QueryRowContext(ctx, s.journal.store.SQL(text), args...)
}

// timeType is the only type of a field that JSON does not have, in a stream's entry.
const timeType = "time"
