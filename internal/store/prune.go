package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
)

// pruneRows is how many transactions one DELETE takes: a longer one would hold
// locks for long.
const pruneRows = 1000

// Prune deletes what is at or below a tid, but never the last transaction. It
// returns how many transactions it deleted, also with an error. First it says so
// in journal_facts, so that no reader takes what is left for all there was.
func (s *Store) Prune(ctx context.Context, upTo int64, realms []string) (deleted int64, err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	end, err := s.End(ctx, s.db)
	if err != nil {
		return 0, err
	}
	if upTo = min(upTo, end.TID-1); upTo < 1 {
		return 0, nil
	}
	if err := s.checkRealms(ctx, upTo, realms); err != nil {
		return 0, err
	}
	if err := s.raiseFloor(ctx, upTo); err != nil {
		return 0, err
	}
	for {
		limit.Progress(ctx)
		n, more, err := s.pruneSome(ctx, upTo, realms)
		deleted += n
		if err != nil || !more {
			return deleted, err
		}
	}
}

// checkRealms refuses transactions with changes of other realms: their rows
// would stay for ever, and their age was not asked for.
func (s *Store) checkRealms(ctx context.Context, upTo int64, realms []string) error {
	rows, err := s.db.QueryContext(ctx, s.SQL("SELECT DISTINCT realms FROM {journal_transaction} WHERE tid <= ?"), upTo)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var named string
		if err := rows.Scan(&named); err != nil {
			return err
		}
		for realm := range strings.SplitSeq(named, ",") {
			if realm != "" && !slices.Contains(realms, realm) {
				return fmt.Errorf("there are changes of realm %q, which this journal was not opened with: expected one that has all realms, and has %s", realm, realms)
			}
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

func (s *Store) raiseFloor(ctx context.Context, floor int64) error {
	conn, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer conn.Rollback()
	if _, err := conn.ExecContext(ctx, s.SQL("UPDATE {journal_facts} SET floor = ? WHERE one = 1 AND floor < ?"), floor, floor); err != nil {
		return err
	}
	return s.Commit(ctx, conn)
}

// pruneSome deletes some of the oldest transactions up to a tid.
func (s *Store) pruneSome(ctx context.Context, upTo int64, realms []string) (n int64, more bool, err error) {
	conn, err := s.Begin(ctx)
	if err != nil {
		return 0, false, err
	}
	defer conn.Rollback()
	var some *int64 // null if there are none
	err = limit.QueryRow(ctx, conn, s.SQL("SELECT max(tid) FROM (SELECT tid FROM {journal_transaction} WHERE tid <= ? ORDER BY tid LIMIT ?) oldest"), upTo, pruneRows).Scan(&some)
	if err != nil || some == nil {
		return 0, false, err
	}
	for _, realm := range realms {
		for _, table := range []string{"_history", "_journal"} {
			if _, err := conn.ExecContext(ctx, s.SQL("DELETE FROM {"+realm+table+"} WHERE tid <= ?"), *some); err != nil {
				return 0, false, err
			}
			limit.Progress(ctx)
		}
	}
	result, err := conn.ExecContext(ctx, s.SQL("DELETE FROM {journal_transaction} WHERE tid <= ?"), *some)
	if err != nil {
		return 0, false, err
	}
	if n, err = result.RowsAffected(); err != nil {
		return 0, false, err
	}
	if err := s.Commit(ctx, conn); err != nil {
		return 0, false, err
	}
	return n, *some < upTo, nil
}

// MadeBefore returns the highest tid up to which all changes were made before a time,
// as far as the tables of these realms say. Times are in microseconds since 1970. A
// change that is dated after now tells nothing: it was made between its neighbours,
// for tids follow the commits. So it goes with the last one before the time, and stays
// if no such one comes after it.
func (s *Store) MadeBefore(ctx context.Context, micros, now int64, realms []string) (tid int64, err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	first := int64(1) << 48 // of what is to stay
	for _, realm := range realms {
		var kept *int64
		err := limit.QueryRow(ctx, s.db, s.SQL("SELECT min(tid) FROM {"+realm+"_journal} WHERE time >= ? AND time <= ?"), micros, now).Scan(&kept)
		if err != nil {
			return 0, err
		}
		if kept != nil {
			first = min(first, *kept)
		}
	}
	for _, realm := range realms {
		var old *int64
		err := limit.QueryRow(ctx, s.db, s.SQL("SELECT max(tid) FROM {"+realm+"_journal} WHERE time < ? AND tid < ?"), micros, first).Scan(&old)
		if err != nil {
			return 0, err
		}
		if old != nil {
			tid = max(tid, *old)
		}
	}
	return tid, nil
}

// Keeping returns the tid up to which changes go so that n transactions stay.
func (s *Store) Keeping(ctx context.Context, n int64) (tid int64, err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	var last *int64
	err = limit.QueryRow(ctx, s.db, s.SQL("SELECT min(tid) FROM (SELECT tid FROM {journal_transaction} ORDER BY tid DESC LIMIT ?) kept"), n).Scan(&last)
	if err != nil || last == nil {
		return 0, err
	}
	return *last - 1, nil
}
