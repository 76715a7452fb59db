// Package retention deletes the oldest changes of a journal. Its secret is how that
// holds up nobody, and deceives no reader.
package retention

import (
	"context"
	"database/sql"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store"
)

// Rows are the rows of a journal's changes. Their methods may be called concurrently.
type Rows struct {
	store *store.Store
	db    *sql.DB
}

// Of returns the rows of a journal that is in a database.
func Of(s *store.Store, db *sql.DB) Rows { return Rows{s, db} }

// within bounds what is asked of the database, as [store.Store.Within] says.
func (r Rows) within(ctx *context.Context, err *error) (done func()) {
	return r.store.Within(r.store.Limits().Lock, ctx, err)
}

// pruneRows is how many transactions one DELETE takes: a longer one would hold
// locks for long.
const pruneRows = 1000

// Done returns, asked with q, the tid up to which nobody needs the changes any more.
type Done func(ctx context.Context, q store.SQL) (tid int64, err error)

// Prune deletes what is at or below a tid and done with, but never the last
// transaction. It returns how many transactions it deleted, also with an error. First it
// says so in journal_facts, so that no reader takes what is left for all there was.
func (r Rows) Prune(ctx context.Context, upTo int64, done Done) (deleted int64, err error) {
	defer r.within(&ctx, &err)()
	end, err := r.store.End(ctx, r.db)
	if err != nil {
		return 0, err
	}
	free, err := done(ctx, r.db)
	if err != nil {
		return 0, err
	}
	if upTo = min(upTo, free, end.TID-1); upTo < 1 {
		return 0, nil
	}
	if upTo, err = r.raiseFloor(ctx, upTo, done); err != nil {
		return 0, err
	}
	for {
		limit.Progress(ctx)
		n, more, err := r.pruneSome(ctx, upTo)
		deleted += n
		if err != nil || !more {
			return deleted, err
		}
	}
}

// raiseFloor raises the floor to a tid, or to that up to which all is still done with:
// since that was asked, somebody may have begun at the oldest change. Nobody can while
// the floor is locked.
func (r Rows) raiseFloor(ctx context.Context, upTo int64, done Done) (floor int64, err error) {
	err = r.store.Transact(ctx, func(conn *store.Conn) error {
		if err := r.store.LockFloor(ctx, conn); err != nil {
			return err
		}
		free, err := done(ctx, conn)
		if err != nil {
			return err
		}
		floor = min(upTo, free)
		_, err = conn.ExecContext(ctx, r.store.SQL("UPDATE {journal_facts} SET floor = ? WHERE one = 1 AND floor < ?"), floor, floor)
		return err
	})
	return floor, err
}

// pruneSome deletes some of the oldest transactions up to a tid.
func (r Rows) pruneSome(ctx context.Context, upTo int64) (n int64, more bool, err error) {
	conn, err := r.store.Begin(ctx)
	if err != nil {
		return 0, false, err
	}
	defer conn.Rollback()
	var some *int64 // null if there are none
	err = limit.QueryRow(ctx, conn, r.store.SQL("SELECT max(tid), count(DISTINCT tid) FROM (SELECT tid FROM {journal_change} WHERE tid <= ? ORDER BY tid LIMIT ?) oldest"), upTo, pruneRows).Scan(&some, &n)
	if err != nil || some == nil {
		return 0, false, err
	}
	result, err := conn.ExecContext(ctx, r.store.SQL("DELETE FROM {journal_change} WHERE tid <= ?"), *some)
	if err != nil {
		return 0, false, err
	}
	if rows, err := result.RowsAffected(); err != nil {
		return 0, false, err
	} else if rows == 0 { // another process was faster
		n = 0
	}
	if err := r.store.Commit(ctx, conn); err != nil {
		return 0, false, err
	}
	return n, *some < upTo, nil
}

// MadeBefore returns the highest tid up to which all changes were made before a time,
// as far as they say. A change that is dated after now tells
// nothing: it was made between its neighbours, for tids follow the commits. So it goes
// with the last one before the time, and stays if no such one comes after it.
func (r Rows) MadeBefore(ctx context.Context, since, now time.Time) (tid int64, err error) {
	defer r.within(&ctx, &err)()
	var first, old *int64 // of what is to stay, and the last before
	err = limit.QueryRow(ctx, r.db, r.store.SQL("SELECT min(tid) FROM {journal_change} WHERE time >= ? AND time <= ?"), since.UnixMicro(), now.UnixMicro()).Scan(&first)
	if err != nil {
		return 0, err
	}
	text, args := "SELECT max(tid) FROM {journal_change} WHERE time < ?", []any{since.UnixMicro()}
	if first != nil {
		text, args = text+" AND tid < ?", append(args, *first)
	}
	if err = limit.QueryRow(ctx, r.db, r.store.SQL(text), args...).Scan(&old); err != nil || old == nil {
		return 0, err
	}
	return *old, nil
}

// Keeping returns the tid up to which changes go so that n transactions stay.
func (r Rows) Keeping(ctx context.Context, n int64) (tid int64, err error) {
	defer r.within(&ctx, &err)()
	var last *int64
	err = limit.QueryRow(ctx, r.db, r.store.SQL("SELECT min(tid) FROM (SELECT tid FROM {journal_change} WHERE seq = 0 ORDER BY tid DESC LIMIT ?) kept"), n).Scan(&last)
	if err != nil || last == nil {
		return 0, err
	}
	return *last - 1, nil
}
