package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrInDoubt says that COMMIT was sent and its answer is not known.
var ErrInDoubt = errors.New("no answer to COMMIT")

func inDoubt(err error, committing bool) error {
	if err == nil || !committing {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInDoubt, err)
}

// Find asks what became of a transaction by its mark. It waits until the answer
// cannot change any more: landed is then the last word. tid is the one that it
// took, or 0 where that is not known; session is [Conn.Session].
func (s *Store) Find(ctx context.Context, mark string, tid, session int64) (found int64, landed bool, err error) {
	if s.dialect.Name == "postgresql" {
		return s.findDecided(ctx, mark, tid)
	}
	if session != 0 {
		if err := s.sessionGone(ctx, session); err != nil {
			return 0, false, err
		}
	}
	conn, err := s.Begin(ctx) // on SQLite, behind every other writer
	if err != nil {
		return 0, false, err
	}
	defer conn.Rollback()
	if s.dialect.prefix { // behind everyone who has taken a tid
		var head int64
		if err := conn.QueryRowContext(ctx, s.SQL(readTID+" {FOR UPDATE}")).Scan(&head); err != nil {
			return 0, false, err
		}
	}
	return s.find(ctx, conn, mark, tid)
}

// sessionGone waits until MySQL has done with a connection that was broken. Only
// then is it sure that it will not come to a statement yet which it had received
// in one piece.
func (s *Store) sessionGone(ctx context.Context, session int64) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		var n int
		err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM information_schema.processlist WHERE id = ?", session).Scan(&n)
		if err != nil || n == 0 {
			return err
		}
		if err := wait(ctx, pause); err != nil {
			return fmt.Errorf("connection %d has not ended: %w", session, err)
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// findDecided waits until the transaction's lock is gone: then it is seen, or
// never will be.
func (s *Store) findDecided(ctx context.Context, mark string, tid int64) (int64, bool, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		bound, err := s.bound(ctx, s.db)
		if err != nil {
			return 0, false, err
		}
		found, landed, err := s.find(ctx, s.db, mark, tid)
		if err != nil || landed || bound >= tid {
			return found, landed, err
		}
		if err := wait(ctx, pause); err != nil {
			return 0, false, err
		}
	}
}

// find looks for a mark: with a tid, at that place; else from the newest on.
func (s *Store) find(ctx context.Context, q SQL, mark string, tid int64) (found int64, landed bool, err error) {
	text, args := "SELECT tid FROM {journal_transaction} WHERE mark = ? ORDER BY tid DESC LIMIT 1", []any{mark}
	if tid != 0 {
		text, args = "SELECT tid FROM {journal_transaction} WHERE tid = ? AND mark = ?", []any{tid, mark}
	}
	err = q.QueryRowContext(ctx, s.SQL(text), args...).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return found, err == nil, err
}

// answered says whether an error is the database's own word, and not the lack of
// one.
func (s *Store) answered(err error) bool {
	switch s.dialect.Name {
	case "postgresql":
		var state interface{ SQLState() string }
		if !errors.As(err, &state) || len(state.SQLState()) != 5 {
			return false
		}
		switch state.SQLState()[:2] {
		case "08", "57", "58": // of the connection, of who ends it, of the system
			return false
		}
		return true
	case "mysql":
		return strings.HasPrefix(err.Error(), "Error ") // of go-sql-driver, with the server's number
	}
	return false
}
