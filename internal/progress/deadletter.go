package progress

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// DeadLetter is a change that a consumer's listener did not handle: it kept failing.
type DeadLetter struct {
	TID                 int64
	Seq                 int
	CommitID, Realm, ID string
	Error               string // of the last call; cut to 1000 bytes
	Attempts            int
	Since               int64 // microseconds since 1970; zero when written: now
	Redeliver           bool  // the listener is to be called with it again
}

// PutDeadLetter moves the cursor as [Tables.MoveCursors] does, and stores a dead letter,
// both or neither. One that is stored already gets the new error and one attempt
// more, and is not to be redelivered for now. So the redelivery that failed, which
// moves no cursor, is put back with equal from and to.
func (t *Tables) PutDeadLetter(ctx context.Context, name string, token int64, from, to Cursor, lease time.Duration, a DeadLetter) (moved bool, err error) {
	defer t.within(&ctx, &err)()
	a.Error = storable(a.Error, maxError)
	text, args := t.moving(lease, []Move{{Claim{name, token}, from, to}})
	return t.holding(ctx, text, args, func(conn *store.Conn) error {
		// Nobody else writes rows of this name meanwhile, because that of
		// journal_consumer is locked.
		result, err := conn.ExecContext(ctx, t.store.SQL("UPDATE {journal_dead_letter} SET error = ?, attempts = attempts + 1, redeliver = 0 WHERE name = ? AND tid = ? AND seq = ? AND commit_id = ?"),
			a.Error, name, a.TID, a.Seq, a.CommitID)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n > 0 {
			return err
		}
		// A row with another commit id is of a history that is gone.
		if _, err := conn.ExecContext(ctx, t.store.SQL(deleteDeadLetter), name, a.TID, a.Seq); err != nil {
			return err
		}
		since, args := "?", []any{name, a.TID, a.Seq, a.CommitID, a.Realm, a.ID, a.Error, max(a.Attempts, 1), a.Since}
		if a.Since == 0 {
			since, args = "{NOW}", args[:len(args)-1]
		}
		_, err = conn.ExecContext(ctx, t.store.SQL("INSERT INTO {journal_dead_letter} (name, tid, seq, commit_id, realm, id, error, attempts, since, redeliver) VALUES (?, ?, ?, ?, ?, ?, ?, ?, "+since+", 0)"), args...)
		return err
	})
}

const deleteDeadLetter = "DELETE FROM {journal_dead_letter} WHERE name = ? AND tid = ? AND seq = ?"

// holding runs a statement that changes a consumer's row if the token is still the
// last, and then f in the same transaction.
func (t *Tables) holding(ctx context.Context, text string, args []any, f func(*store.Conn) error) (held bool, err error) {
	err = t.store.Transact(ctx, func(conn *store.Conn) error {
		result, err := conn.ExecContext(ctx, t.store.SQL(text), args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return cmp.Or(err, errOther)
		}
		return f(conn)
	})
	if errors.Is(err, errOther) {
		return false, nil
	}
	return err == nil, err
}

// errOther rolls back what found the row to be another than expected.
var errOther = errors.New("the consumer's row is another")

// DeadLetters reads up to limit dead letters of a consumer after a tid and a seq, in
// their order: all, or those that are to be redelivered.
func (t *Tables) DeadLetters(ctx context.Context, name string, onlyRedeliver bool, afterTID int64, afterSeq, limit int) (all []DeadLetter, err error) {
	defer t.within(&ctx, &err)()
	text := "SELECT tid, seq, commit_id, realm, id, error, attempts, since, redeliver FROM {journal_dead_letter} WHERE name = ? AND tid >= ? AND (tid > ? OR seq > ?)"
	if onlyRedeliver {
		text += " AND redeliver = 1"
	}
	rows, err := t.store.Query(ctx, text+" ORDER BY tid, seq LIMIT ?", name, afterTID, afterTID, afterSeq, limit)
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

// Redelivering returns the names of the consumers that have dead letters to be
// redelivered.
func (t *Tables) Redelivering(ctx context.Context) (names []string, err error) {
	defer t.store.Within(t.store.Limits().Answer, &ctx, &err)()
	rows, err := t.store.Query(ctx, "SELECT DISTINCT name FROM {journal_dead_letter} WHERE redeliver = 1")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, cmp.Or(rows.Err(), rows.Close())
}

// RedeliverDeadLetters has the listener called again with dead letters: those that
// are given by TID, Seq and, unless it is empty, CommitID; or all of the consumer if
// none is given. It returns how many were not asked for before, also with an error.
func (t *Tables) RedeliverDeadLetters(ctx context.Context, name string, which ...DeadLetter) (n int64, err error) {
	const text = "UPDATE {journal_dead_letter} SET redeliver = 1 WHERE name = ? AND redeliver = 0"
	if len(which) == 0 {
		return t.store.Exec(ctx, text, name)
	}
	for _, a := range which {
		one, args := text+" AND tid = ? AND seq = ?", []any{name, a.TID, a.Seq}
		if a.CommitID != "" {
			one, args = one+" AND commit_id = ?", append(args, a.CommitID)
		}
		found, err := t.store.Exec(ctx, one, args...)
		n += found
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// DropDeadLetters deletes dead letters, and returns how many.
func (t *Tables) DropDeadLetters(ctx context.Context, name string, which ...DeadLetter) (n int64, err error) {
	for _, a := range which {
		found, err := t.store.Exec(ctx, deleteDeadLetter, name, a.TID, a.Seq)
		n += found
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// ForgetDeadLetter deletes the dead letter of a change that was handled after all. It
// does nothing for a holder that is deposed.
func (t *Tables) ForgetDeadLetter(ctx context.Context, name string, token int64, tid int64, seq int) (err error) {
	defer t.within(&ctx, &err)()
	_, err = t.holding(ctx, "UPDATE {journal_consumer} SET heartbeat = heartbeat + 1 WHERE name = ? AND token = ? AND holder <> ''", []any{name, token}, func(conn *store.Conn) error {
		_, err := conn.ExecContext(ctx, t.store.SQL(deleteDeadLetter), name, tid, seq)
		return err
	})
	return err
}
