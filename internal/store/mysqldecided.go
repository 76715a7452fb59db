package store

import (
	"context"

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
		if from, to, err = s.closer.FirstGap(ctx, q, &at.TID, &at.CommitID); err != nil {
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

// noted returns a place up to which all is decided: what this process has read, or else
// what somebody has noted, if the database still has that, or else the floor.
func (s *Store) noted(ctx context.Context, q SQL) (at Place, err error) {
	if last := s.last.Load(); last != nil {
		exists, err := s.Has(ctx, q, *last)
		if err != nil || exists {
			return *last, err
		}
		s.closer.Forget() // the history went back, if q is no older snapshot; decided forgets last
	}
	var decided Place
	err = limit.QueryRow(ctx, q, s.SQL(`SELECT f.floor, coalesce(c.tid, 0), coalesce(c.commit_id, '') FROM {journal_facts} f JOIN {journal_decided} d ON d.one = f.one
		LEFT JOIN {journal_change} c ON c.tid = d.tid AND c.seq = 0 AND c.commit_id = d.commit_id WHERE f.one = 1`)).Scan(&at.TID, &decided.TID, &decided.CommitID)
	if decided.TID > at.TID {
		at = decided
	}
	return at, err
}
