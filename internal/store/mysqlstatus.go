package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/tombstone"
)

// statusMySQL says who holds tids: the rows of open transactions name their sessions to
// whoever reads what is not committed.
func (s *Store) statusMySQL(ctx context.Context, st Status) (Status, error) {
	st.skips = true
	var taken []tombstone.Taken
	err := s.dirtily(ctx, func(q SQL) (err error) {
		taken, err = s.closer.Shown(ctx, q, st.End.TID)
		if err == nil {
			err = limit.QueryRow(ctx, q, s.SQL("SELECT coalesce(max(tid), 0) FROM {journal_change}")).Scan(&st.Head)
		}
		return err
	})
	if err != nil || st.Head <= st.End.TID {
		st.Head = max(st.Head, st.End.TID)
		return st, err
	}
	committed, err := s.closer.Shown(ctx, s.db, st.End.TID)
	if err != nil {
		return st, err
	}
	if err := s.closer.Refused(); err != nil && (len(taken) == 0 || taken[0].N > st.End.TID+1) {
		st.Blockers = append(st.Blockers, Blocker{Session: fmt.Sprintf("nobody: tid %d was rolled back, and this process may not close it, but any other that may insert into journal_change: %v", st.End.TID+1, err)})
	}
	taken = slices.DeleteFunc(taken, func(h tombstone.Taken) bool { return slices.Contains(committed, h) })
	var open []int64
	for _, h := range taken {
		open = append(open, h.Session)
	}
	who, err := s.sessions.Describe(ctx, open)
	for _, h := range taken {
		st.Blockers = append(st.Blockers, Blocker{fmt.Sprintf("%s, with tid %d", who[h.Session].Text, h.N), who[h.Session].Age})
	}
	slices.SortStableFunc(st.Blockers, func(a, b Blocker) int { return cmp.Compare(b.Age, a.Age) })
	return st, err
}
