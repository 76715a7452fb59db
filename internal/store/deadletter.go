package store

import (
	"context"
	"errors"
	"time"
)

// DeadLetter is a change that a name's listener was not told of, for it kept failing.
type DeadLetter struct {
	TID                 int64
	Seq                 int
	CommitID, Realm, ID string
	Error               string // of the last call; cut to 1000 bytes
	Attempts            int
	Since               int64 // microseconds since 1970; zero when written: now
	Redeliver           bool  // it is to be told again
}

// PutDeadLetter moves the cursor as [Store.MoveCursor] does, and sets a change aside,
// both or none of them. One that is set aside already gets the new error, a try
// more, and is not to be told again for now: so a retry that failed, which moves
// nothing, is put back with from and to the same.
func (s *Store) PutDeadLetter(ctx context.Context, name string, epoch int64, from, to Cursor, lease time.Duration, a DeadLetter) (moved bool, err error) {
	a.Error = storable(a.Error, maxError)
	return s.holding(ctx, moveOnce, moving(name, epoch, from, to, lease), func(conn *Conn) error {
		// Nobody else writes rows of this name meanwhile, for that of
		// journal_once is locked.
		result, err := conn.ExecContext(ctx, s.SQL("UPDATE {journal_aside} SET error = ?, tries = tries + 1, retry = 0 WHERE name = ? AND tid = ? AND seq = ? AND mark = ?"),
			a.Error, name, a.TID, a.Seq, a.CommitID)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n > 0 {
			return err
		}
		// A row with another mark is of a history that is gone.
		if _, err := conn.ExecContext(ctx, s.SQL(deleteAside), name, a.TID, a.Seq); err != nil {
			return err
		}
		since, args := "?", []any{name, a.TID, a.Seq, a.CommitID, a.Realm, a.ID, a.Error, max(a.Attempts, 1), a.Since}
		if a.Since == 0 {
			since, args = "{NOW}", args[:len(args)-1]
		}
		_, err = conn.ExecContext(ctx, s.SQL("INSERT INTO {journal_aside} (name, tid, seq, mark, realm, id, error, tries, since, retry) VALUES (?, ?, ?, ?, ?, ?, ?, ?, "+since+", 0)"), args...)
		return err
	})
}

const deleteAside = "DELETE FROM {journal_aside} WHERE name = ? AND tid = ? AND seq = ?"

// holding runs a statement that changes a name's row in journal_once if its epoch
// still holds, and f in the same transaction if it does.
func (s *Store) holding(ctx context.Context, text string, args []any, f func(*Conn) error) (held bool, err error) {
	conn, err := s.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Rollback()
	result, err := conn.ExecContext(ctx, s.SQL(text), args...)
	if err != nil {
		return false, err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	if err := f(conn); err != nil {
		return false, err
	}
	if err := s.Commit(ctx, conn, commitLimit); err != nil {
		return false, err
	}
	return true, nil
}

// DeadLetters reads what a name has set aside behind a tid and a seq, in their order,
// up to limit: all of it, or what is to be told again.
func (s *Store) DeadLetters(ctx context.Context, name string, onlyRetry bool, afterTID int64, afterSeq, limit int) (all []DeadLetter, err error) {
	text := "SELECT tid, seq, mark, realm, id, error, tries, since, retry FROM {journal_aside} WHERE name = ? AND tid >= ? AND (tid > ? OR seq > ?)"
	if onlyRetry {
		text += " AND retry = 1"
	}
	rows, err := s.db.QueryContext(ctx, s.SQL(text+" ORDER BY tid, seq LIMIT ?"), name, afterTID, afterTID, afterSeq, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var a DeadLetter
		if err := rows.Scan(&a.TID, &a.Seq, &a.CommitID, &a.Realm, &a.ID, &a.Error, &a.Attempts, &a.Since, &a.Redeliver); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}

// RedeliverDeadLetters asks for changes to be told again: those named, by TID, Seq and, if
// it is given, Mark; or all of the name if none is. It returns how many were not
// asked for before, also with an error.
func (s *Store) RedeliverDeadLetters(ctx context.Context, name string, which ...DeadLetter) (n int64, err error) {
	const text = "UPDATE {journal_aside} SET retry = 1 WHERE name = ? AND retry = 0"
	if len(which) == 0 {
		return s.count(ctx, text, name)
	}
	for _, a := range which {
		one, args := text+" AND tid = ? AND seq = ?", []any{name, a.TID, a.Seq}
		if a.CommitID != "" {
			one, args = one+" AND mark = ?", append(args, a.CommitID)
		}
		found, err := s.count(ctx, one, args...)
		n += found
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// DropDeadLetters forgets changes that are set aside, and returns how many.
func (s *Store) DropDeadLetters(ctx context.Context, name string, which ...DeadLetter) (n int64, err error) {
	for _, a := range which {
		found, err := s.count(ctx, deleteAside, name, a.TID, a.Seq)
		n += found
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// ForgetDeadLetter forgets a change that was told after all. It does nothing for a
// holder that is deposed.
func (s *Store) ForgetDeadLetter(ctx context.Context, name string, epoch int64, tid int64, seq int) error {
	_, err := s.holding(ctx, "UPDATE {journal_once} SET beat = beat + 1 WHERE name = ? AND epoch = ? AND holder <> ''", []any{name, epoch}, func(conn *Conn) error {
		_, err := conn.ExecContext(ctx, s.SQL(deleteAside), name, tid, seq)
		return err
	})
	return err
}
