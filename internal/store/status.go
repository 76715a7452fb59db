package store

import (
	"context"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
)

// Status is what the database knows of a journal.
type Status struct {
	Head      int64 // the highest tid that was taken, as far as it is seen
	Committed int64 // the highest tid with rows that are committed, decided or not
	End       Place // up to which all is decided
	PrunedTo  int64 // up to which changes are pruned

	Blockers []Blocker // who may hold readers or writers back, the oldest first
	skips    bool      // Head counts transactions that were rolled back too
}

// HeldBack says whether something after a tid is held back by a transaction that
// has not ended.
func (st Status) HeldBack(tid int64) bool {
	return st.Head > tid && (len(st.Blockers) > 0 || !st.skips)
}

// Blocker is a transaction that has taken a tid, or is about to, and not ended.
type Blocker struct {
	Session string // how the database names it
	Age     time.Duration
}

// Status reads the state of the journal.
func (s *Store) Status(ctx context.Context) (st Status, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	if st.End, err = s.End(ctx, s.db); err != nil {
		return st, err
	}
	if st.PrunedTo, err = s.PrunedTo(ctx, s.db); err != nil {
		return st, err
	}
	if err = limit.QueryRow(ctx, s.db, s.SQL("SELECT coalesce(max(tid), 0) FROM {journal_change}")).Scan(&st.Committed); err != nil {
		return st, err
	}
	return s.dialect.status(s, ctx, st)
}
