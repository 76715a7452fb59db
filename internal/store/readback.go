package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	for {
		floor, err := s.PrunedTo(ctx, q) // what is below it may not be deleted yet
		if err != nil {
			return nil, 0, err
		}
		transactions, err := s.upTo(ctx, q, floor, last, limit)
		if err != nil || len(transactions) == 0 {
			return nil, 0, err
		}
		first, end := transactions[0].TID, transactions[len(transactions)-1]
		all = nil
		for place := (Place{TID: first - 1}); err == nil && len(transactions) > 0; {
			var b Batch
			if b, err = s.collect(ctx, q, place, transactions, realms); err == nil {
				all = append(all, b.Changes...)
				place = b.Places[len(b.Places)-1]
				transactions = transactions[len(b.Places):]
			}
		}
		if err == nil {
			err = s.kept(ctx, q, Place{TID: first - 1}, end)
		}
		if !errors.Is(err, ErrPruned) && !errors.Is(err, ErrRewound) { // else not all are there any more
			return all, first, err
		}
	}
}

// upTo returns the last transactions up to a tid and above the floor, in their
// order.
func (s *Store) upTo(ctx context.Context, q SQL, floor, last int64, limit int) (found []Transaction, err error) {
	rows, err := q.QueryContext(ctx, s.SQL("SELECT tid, mark, origin, realms FROM {journal_transaction} WHERE tid > ? AND tid <= ? ORDER BY tid DESC LIMIT ?"), floor, last, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t Transaction
		if err := rows.Scan(&t.TID, &t.CommitID, &t.Origin, &t.Realms); err != nil {
			return nil, err
		}
		found = append(found, t)
	}
	slices.Reverse(found)
	return found, errors.Join(rows.Err(), rows.Close())
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
	t := Transaction{TID: p.TID}
	err = limit.QueryRow(ctx, q, s.SQL("SELECT mark, origin, realms FROM {journal_transaction} WHERE tid = ?"), p.TID).Scan(&t.CommitID, &t.Origin, &t.Realms)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, s.restGone(ctx, q, p, seq)
	case err != nil:
		return nil, err
	case p.CommitID != "" && t.CommitID != p.CommitID:
		return nil, fmt.Errorf("%w: tid %d has the commit id %s, and not %s", ErrRewound, p.TID, t.CommitID, p.CommitID)
	}
	batch, err := s.collect(ctx, q, Place{TID: p.TID - 1}, []Transaction{t}, realms)
	if err != nil {
		return nil, err
	}
	if floor, err := s.PrunedTo(ctx, q); err != nil || floor >= p.TID { // it may be a part that was read
		return nil, cmp.Or(err, s.restGone(ctx, q, p, seq))
	}
	for _, c := range batch.Changes {
		if c.Seq > seq || c.Damage != nil {
			all = append(all, c)
		}
	}
	return all, nil
}

// restGone says why a transaction does not exist. One that is pruned may have had
// more changes, even if it was the last to be pruned.
func (s *Store) restGone(ctx context.Context, q SQL, p Place, seq int) error {
	floor, err := s.PrunedTo(ctx, q)
	if err == nil && floor == p.TID {
		err = fmt.Errorf("%w: with what tid %d has after seq %d", ErrPruned, p.TID, seq)
	}
	if err != nil {
		return err
	}
	return s.gone(ctx, q, p)
}
