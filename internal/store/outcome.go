package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store/turns"
)

// ErrInDoubt says that COMMIT was sent and its answer is not known.
var ErrInDoubt = turns.ErrInDoubt

func inDoubt(err error, committing bool) error {
	if err == nil || !committing {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInDoubt, err)
}

// Find asks what became of a transaction, by its commit id. It waits until the answer
// cannot change any more: landed is final. tid is the one that the transaction
// took, or 0 if that is not known: then it was above after, a place that was read before it
// began. session is [Conn.Session]. If the transaction may have been pruned, Find returns ErrPruned,
// wrapped, because then nobody knows any more. The answer is final
// on PostgreSQL when the bound has passed the tid, or a crash has made the server forget
// that it was taken, on MySQL when nobody holds the tid, or the session is gone and has left
// no row, and on SQLite within a transaction that
// writes: see find in postgresql.go, mysql.go and sqlite.go. ModelTransaction.Outcome
// (the root's commit.go) asks, and says what the caller gets.
func (s *Store) Find(ctx context.Context, commitID string, tid int64, after Place, session Session) (found int64, landed bool, err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	var above int64
	if tid == 0 && after.TID != 0 { // tids up to the place are looked through only if the history went back, or it is pruned
		is, err := s.Has(ctx, s.db, after)
		if err != nil {
			return 0, false, err
		}
		if is {
			above = after.TID
		}
	}
	found, landed, err = s.dialect.find(s, ctx, commitID, tid, above, session)
	if err != nil || landed {
		return found, landed, err
	}
	floor, err := s.PrunedTo(ctx, s.db) // after the look: it rises before anything is deleted
	if err == nil && floor >= cmp.Or(tid, after.TID+1) {
		err = fmt.Errorf("%w: up to tid %d, and the transaction may have been among those", ErrPruned, floor)
	}
	return 0, false, err
}

// find looks for a commit id: at a tid, or, if that is 0, from the newest on, above another.
func (s *Store) find(ctx context.Context, q SQL, commitID string, tid, above int64) (found int64, landed bool, err error) {
	text, args := "SELECT tid FROM {journal_change} WHERE tid > ? AND commit_id = ? ORDER BY tid DESC LIMIT 1", []any{above, commitID}
	if tid != 0 {
		text, args = "SELECT tid FROM {journal_change} WHERE tid = ? AND commit_id = ? LIMIT 1", []any{tid, commitID}
	}
	err = limit.QueryRow(ctx, q, s.SQL(text), args...).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return found, err == nil, err
}
