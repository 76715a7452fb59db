package store

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// What follows is for those who keep tables of their own beside the journal's.

// Exec runs one statement that writes, and returns how many rows changed. Its text
// is as [Store.SQL] takes it.
func (s *Store) Exec(ctx context.Context, text string, args ...any) (n int64, err error) {
	defer s.Within(s.toWrite(), &ctx, &err)()
	err = again(ctx, func() error {
		return s.patiently(ctx, func() error {
			result, err := s.db.ExecContext(ctx, s.SQL(text), args...)
			if err == nil {
				n, err = result.RowsAffected()
			}
			return err
		})
	})
	return n, err
}

// Query runs one statement that reads, within a bound of the caller's: see [Store.Within].
func (s *Store) Query(ctx context.Context, text string, args ...any) (rows *sql.Rows, err error) {
	err = again(ctx, func() error {
		rows, err = s.db.QueryContext(ctx, s.SQL(text), args...)
		return err
	})
	return rows, err
}

// again repeats a statement that is a transaction of its own while the database says
// that it was rolled back for the sake of others. That is no fault under an isolation
// that is stricter than READ COMMITTED, which the session may have by default.
func again(ctx context.Context, f func() error) error {
	err := f()
	for pause := time.Millisecond; sqltext.IsConflict(err) && pause < time.Second; pause *= 2 {
		if !Sleep(ctx, pause/2+rand.N(pause)) {
			return err
		}
		limit.Progress(ctx) // it was an answer
		err = f()
	}
	return err
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
