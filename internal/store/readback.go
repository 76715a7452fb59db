package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
)

// ReadBack reads the changes of up to limit transactions that end with the tid
// last, up to which all are decided, in their order. first is the tid they begin
// with, or 0 if there are none.
func (s *Store) ReadBack(ctx context.Context, q SQL, last int64, limit int, realms []string) (all []Change, first int64, err error) {
	for {
		floor, err := s.Floor(ctx, q) // what is below it may not be deleted yet
		if err != nil {
			return nil, 0, err
		}
		var lowest *int64
		err = q.QueryRowContext(ctx, s.SQL("SELECT min(tid) FROM (SELECT tid FROM {journal_transaction} WHERE tid > ? AND tid <= ? ORDER BY tid DESC LIMIT ?) latest"),
			floor, last, limit).Scan(&lowest)
		if err != nil || lowest == nil {
			return nil, 0, err
		}
		all, err = s.between(ctx, q, *lowest, last, limit, realms)
		if errors.Is(err, ErrPruned) { // meanwhile
			continue
		}
		return all, *lowest, err
	}
}

// between reads the changes of the transactions from one tid to another, limit
// at a time.
func (s *Store) between(ctx context.Context, q SQL, first, last int64, limit int, realms []string) (all []Change, err error) {
	for place := (Place{TID: first - 1}); place.TID < last; {
		b, err := s.Read(ctx, q, place, limit, realms)
		if err != nil {
			return nil, err
		}
		for _, c := range b.Changes {
			if c.TID <= last {
				all = append(all, c)
			}
		}
		if len(b.Places) == 0 {
			break
		}
		place = b.Places[len(b.Places)-1]
	}
	return all, nil
}

// Rest reads what a transaction that was seen has behind a seq; nothing if that is
// below zero. It returns ErrPruned or ErrRewound, wrapped, where the transaction
// is gone. It does not ask whether all before it are decided: whoever has seen
// it knows that, and on PostgreSQL another process may not be able to tell yet.
func (s *Store) Rest(ctx context.Context, q SQL, p Place, seq int, realms []string) (all []Change, err error) {
	if p.TID == 0 || seq < 0 {
		return nil, nil
	}
	t := Transaction{TID: p.TID}
	err = q.QueryRowContext(ctx, s.SQL("SELECT mark, origin, realms FROM {journal_transaction} WHERE tid = ?"), p.TID).Scan(&t.Mark, &t.Origin, &t.Realms)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, s.restGone(ctx, q, p, seq)
	case err != nil:
		return nil, err
	case p.Mark != "" && t.Mark != p.Mark:
		return nil, fmt.Errorf("%w: tid %d has the mark %s, and not %s", ErrRewound, p.TID, t.Mark, p.Mark)
	}
	for _, realm := range realms {
		if !t.has(realm) {
			continue
		}
		changes, _, err := s.changes(ctx, q, realm, p.TID-1, p.TID)
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			if c.Seq > seq {
				c.Mark, c.Origin = t.Mark, t.Origin
				all = append(all, c)
			}
		}
	}
	slices.SortFunc(all, func(a, b Change) int { return cmp.Compare(a.Seq, b.Seq) })
	return all, nil
}

// restGone says why a transaction is not there. One that is pruned may have had
// more, also where it was the last to be pruned.
func (s *Store) restGone(ctx context.Context, q SQL, p Place, seq int) error {
	floor, err := s.Floor(ctx, q)
	if err == nil && floor == p.TID {
		err = fmt.Errorf("%w: with what tid %d has behind seq %d", ErrPruned, p.TID, seq)
	}
	if err != nil {
		return err
	}
	return s.gone(ctx, q, p, nil)
}
