package store

import (
	"context"
	"errors"

	"github.com/tracbus/tracbus/internal/limit"
)

// decidedMySQL looks for the first tid that is not seen, from the last that is known to be
// decided on. Unless q is an older snapshot, it has that tid decided.
func (s *Store) decidedMySQL(ctx context.Context, q SQL) (tid int64, err error) {
	at, err := s.noted(ctx, q)
	for range looks {
		if err != nil {
			break
		}
		var from, to int64
		if from, to, err = s.firstGap(ctx, q, &at); err != nil {
			break
		}
		s.noteDecided(ctx, at)
		if from == 0 || q != SQL(s.db) {
			break
		}
		var floor int64
		if floor, err = s.PrunedTo(ctx, q); floor >= from { // what is missing was pruned meanwhile
			at = Place{TID: floor}
			continue
		}
		var decided bool
		if err == nil {
			decided, err = s.closer.Decide(ctx, from, to)
		}
		if !decided {
			break
		}
	}
	return at.TID, err
}

// looks is how often a read looks again at once because something was decided meanwhile.
const looks = 100

// firstGap moves a place to the last tid before the first that is not seen, and returns that
// one and the last of those that follow it and are not seen either; zero if there is none.
func (s *Store) firstGap(ctx context.Context, q SQL, at *Place) (from, to int64, err error) {
	rows, err := q.QueryContext(ctx, s.SQL("SELECT tid, commit_id FROM {journal_change} WHERE tid > ? AND seq = 0 ORDER BY tid"), at.TID)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var next Place
		if err := rows.Scan(&next.TID, &next.CommitID); err != nil {
			return 0, 0, err
		}
		limit.Progress(ctx)
		if next.TID > at.TID+1 {
			return at.TID + 1, next.TID - 1, limit.Drain(ctx, rows)
		}
		*at = next
	}
	return 0, 0, errors.Join(rows.Err(), rows.Close())
}

// noted returns a place up to which all is decided: what this process has read, or else
// what somebody has noted, if the database still has that, or else the floor.
func (s *Store) noted(ctx context.Context, q SQL) (at Place, err error) {
	if last := s.last.Load(); last != nil {
		if _, exists, err := s.find(ctx, q, last.CommitID, last.TID); err != nil || exists {
			return *last, err
		}
	}
	var decided Place
	err = limit.QueryRow(ctx, q, s.SQL(`SELECT f.floor, coalesce(c.tid, 0), coalesce(c.commit_id, '') FROM {journal_facts} f JOIN {journal_decided} d ON d.one = f.one
		LEFT JOIN {journal_change} c ON c.tid = d.tid AND c.seq = 0 AND c.commit_id = d.commit_id WHERE f.one = 1`)).Scan(&at.TID, &decided.TID, &decided.CommitID)
	if decided.TID > at.TID {
		at = decided
	}
	return at, err
}

// noteEvery is how many tids are decided before somebody notes it: who opens the journal
// looks at no more than those.
const noteEvery = 1000

// noteInTables notes for other processes, and later ones, what is decided. What is noted
// there of a history that is gone is no obstacle. Users that may not write leave it to others.
func (s *Store) noteInTables(ctx context.Context, at Place) {
	before := s.noteAt.Load()
	if at.TID < before || !s.noteAt.CompareAndSwap(before, at.TID+noteEvery) {
		return
	}
	_ = s.closer.Briefly(ctx, s.SQL(`UPDATE {journal_decided} d SET d.tid = ?, d.commit_id = ? WHERE d.one = 1 AND (d.tid < ? OR NOT EXISTS (
		SELECT 1 FROM {journal_change} c WHERE c.tid = d.tid AND c.seq = 0 AND c.commit_id = d.commit_id))`), at.TID, at.CommitID, at.TID)
}
