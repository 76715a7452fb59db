package store

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/tracbus/tracbus/internal/limit"
)

// ReadBack reads the changes of up to limit transactions that end with the tid
// last, in their order. first is the tid they begin with, or 0 if there are none.
// The caller knows that all are decided up to there. That is not asked again,
// because on PostgreSQL the answer can be a lower one: a writer that takes its tid
// late lowers it until it has ended.
func (s *Store) ReadBack(ctx context.Context, q SQL, last int64, limit int, realms []string) (all []Change, first int64, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	floor, err := s.PrunedTo(ctx, q) // what is below it may not be deleted yet
	if err != nil {
		return nil, 0, err
	}
	rows, err := q.QueryContext(ctx, s.SQL(selectChanges+fromChanges+"WHERE tid > ? AND tid <= ? ORDER BY tid DESC, seq DESC LIMIT ?"), floor, last, limit+1)
	if err != nil {
		return nil, 0, err
	}
	g, err := gather(ctx, rows, gathering{realms: realms, back: true})
	if err != nil || len(g.groups) == 0 {
		return nil, 0, err
	}
	if g.rows > limit {
		g.groups, err = s.complete(ctx, q, g.groups, realms)
		switch {
		case errors.Is(err, ErrPruned) || errors.Is(err, ErrRewound): // since the statement before
			return s.ReadBack(ctx, q, last, limit, realms)
		case err != nil:
			return nil, 0, err
		}
	}
	for _, t := range slices.Backward(g.groups) {
		slices.SortFunc(t.changes, func(a, b Change) int { return a.Seq - b.Seq })
		all = append(all, t.all(realms)...)
		first = cmp.Or(first, t.TID)
	}
	return all, first, nil
}

// Rest reads the changes that a transaction has after a seq; none if that is below
// zero. It returns ErrPruned or ErrRewound, wrapped, if the transaction is gone. It
// does not ask whether all before it are decided: whoever has seen it knows that,
// and on PostgreSQL another process may not be able to know yet.
func (s *Store) Rest(ctx context.Context, q SQL, p Place, seq int, realms []string) (all []Change, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	if p.TID == 0 || seq < 0 {
		return nil, nil
	}
	t, err := s.transaction(ctx, q, p, realms)
	if err != nil {
		return nil, err
	}
	for _, c := range t.all(realms) {
		if c.Seq > seq || c.Damage != nil {
			all = append(all, c)
		}
	}
	return all, nil
}

// ReadOne reads one change of a realm. found is false if it does not exist, or not any more.
func (s *Store) ReadOne(ctx context.Context, q SQL, tid int64, seq int, realm string) (c Change, found bool, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	all, err := s.some(ctx, q, "WHERE tid = ? AND seq = ? AND realm = ?", tid, seq, realm)
	if err != nil || len(all) == 0 {
		return Change{}, false, err
	}
	return all[0], true, nil
}

// History returns the changes of one resource after a tid and seq, oldest first, up to
// limit, as far as they are decided.
func (s *Store) History(ctx context.Context, q SQL, realm, id string, tid int64, seq, limit int) (all []Change, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	upTo, err := s.decided(ctx, q, s.dialect.decided)
	if err != nil {
		return nil, err
	}
	return s.some(ctx, q, "WHERE realm = ? AND id = ? AND tid >= ? AND (tid > ? OR seq > ?) AND tid <= ? ORDER BY tid, seq LIMIT ?", realm, id, tid, tid, seq, upTo, limit)
}

// HistoryBefore returns the last changes of one resource before a tid and seq, in
// their order, up to limit, as far as they are decided.
func (s *Store) HistoryBefore(ctx context.Context, q SQL, realm, id string, tid int64, seq, limit int) (all []Change, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	upTo, err := s.decided(ctx, q, s.dialect.decided)
	if err != nil {
		return nil, err
	}
	all, err = s.some(ctx, q, "WHERE realm = ? AND id = ? AND tid <= ? AND (tid < ? OR seq < ?) AND tid <= ? ORDER BY tid DESC, seq DESC LIMIT ?", realm, id, tid, tid, seq, upTo, limit)
	slices.Reverse(all)
	return all, err
}

// Latest returns the last changes of one resource, which is locked, as q sees them, the newest first. If
// current is true, MySQL shows them as they are now, and keeps others from writing beside them until
// the transaction ends.
func (s *Store) Latest(ctx context.Context, q SQL, realm, id string, limit int, current bool) (all []Change, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	which := "WHERE realm = ? AND id = ? ORDER BY tid DESC, seq DESC LIMIT ?"
	if current {
		which += " LOCK IN SHARE MODE"
	}
	return s.some(ctx, q, which, realm, id, limit)
}

// some reads single changes.
func (s *Store) some(ctx context.Context, q SQL, which string, args ...any) (all []Change, err error) {
	rows, err := q.QueryContext(ctx, s.SQL(selectChanges+fromChanges+which), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		c, _, err := scanChange(rows)
		if err != nil {
			return nil, err
		}
		limit.Progress(ctx)
		all = append(all, c)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}
