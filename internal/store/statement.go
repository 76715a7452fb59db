package store

import (
	"context"
	"database/sql"
)

// What follows is for those who keep tables of their own beside the journal's.

// Exec runs one statement that writes, and returns how many rows changed. Its text
// is as [Store.SQL] takes it.
func (s *Store) Exec(ctx context.Context, text string, args ...any) (n int64, err error) {
	defer s.Within(s.toWrite(), &ctx, &err)()
	err = s.patiently(ctx, func() error {
		result, err := s.db.ExecContext(ctx, s.SQL(text), args...)
		if err == nil {
			n, err = result.RowsAffected()
		}
		return err
	})
	return n, err
}

// Query runs one statement that reads, within a bound of the caller's: see [Store.Within].
func (s *Store) Query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return s.db.QueryContext(ctx, s.SQL(text), args...)
}

// Transact runs f in a transaction that writes, and commits what it did if it
// returns nil. After an error nothing changed, unless that is [ErrInDoubt].
func (s *Store) Transact(ctx context.Context, f func(*Conn) error) (err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	conn, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer conn.Rollback()
	if err := f(conn); err != nil {
		return err
	}
	return s.Commit(ctx, conn)
}
