package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/tracbus/tracbus/internal/limit"
)

// End returns the last transaction up to which all are decided. In a journal
// without any, its tid is that up to which it is pruned.
func (s *Store) End(ctx context.Context, q SQL) (p Place, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	upTo, err := s.dialect.decided(s, ctx, q)
	if err != nil {
		return Place{}, err
	}
	p, err = s.Before(ctx, q, upTo)
	if err == nil && p.TID == 0 {
		p.TID, err = s.PrunedTo(ctx, q)
	}
	return p, err
}

// Shown returns the tids above one that q shows, decided or not.
func (s *Store) Shown(ctx context.Context, q SQL, above int64) (tids []int64, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	rows, err := q.QueryContext(ctx, s.SQL("SELECT tid FROM {journal_transaction} WHERE tid > ? ORDER BY tid"), above)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var tid int64
		if err := rows.Scan(&tid); err != nil {
			return nil, err
		}
		tids = append(tids, tid)
	}
	return tids, errors.Join(rows.Err(), rows.Close())
}

// Has says whether a place exists in the database.
func (s *Store) Has(ctx context.Context, q SQL, p Place) (has bool, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	_, exists, err := s.find(ctx, q, p.CommitID, p.TID)
	return exists, err
}

// Before returns the last transaction up to a tid, as far as it is seen.
func (s *Store) Before(ctx context.Context, q SQL, tid int64) (p Place, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	err = limit.QueryRow(ctx, q, s.SQL("SELECT tid, mark FROM {journal_transaction} WHERE tid <= ? ORDER BY tid DESC LIMIT 1"), tid).Scan(&p.TID, &p.CommitID)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return p, err
}
