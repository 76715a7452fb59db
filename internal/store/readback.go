package store

import (
	"context"
	"errors"
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
