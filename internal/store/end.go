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
	upTo, err := s.decided(ctx, q, s.dialect.decided)
	if err != nil {
		return Place{}, err
	}
	p, err = s.Before(ctx, q, upTo)
	if err == nil && p.TID == 0 {
		p.TID, err = s.PrunedTo(ctx, q)
	}
	return p, err
}

// Shown returns the first transactions after a tid that q shows, decided or not.
func (s *Store) Shown(ctx context.Context, q SQL, after int64, most int) (places []Place, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	rows, err := q.QueryContext(ctx, s.SQL("SELECT tid, commit_id FROM {journal_change} WHERE tid > ? AND seq = 0 ORDER BY tid LIMIT ?"), after, most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p Place
		if err := rows.Scan(&p.TID, &p.CommitID); err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	return places, errors.Join(rows.Err(), rows.Close())
}

// Has says whether a place exists in the database.
func (s *Store) Has(ctx context.Context, q SQL, p Place) (has bool, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	_, exists, err := s.find(ctx, q, p.CommitID, p.TID, 0)
	return exists, err
}

// Landed is Has on another connection than an application's, which is in a transaction: so it
// says whether what that connection did before is committed. It does not wait for the last
// connection of the pool, which may be the application's.
func (s *Store) Landed(ctx context.Context, p Place) (landed bool, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	if pool := s.db.Stats(); pool.MaxOpenConnections > 0 && pool.InUse >= pool.MaxOpenConnections {
		return false, errors.New("no connection of the pool is free to ask on")
	}
	return s.Has(ctx, s.db, p)
}

// Before returns the last transaction up to a tid, as far as it is seen.
func (s *Store) Before(ctx context.Context, q SQL, tid int64) (p Place, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	err = limit.QueryRow(ctx, q, s.SQL("SELECT tid, commit_id FROM {journal_change} WHERE tid <= ? ORDER BY tid DESC LIMIT 1"), tid).Scan(&p.TID, &p.CommitID)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return p, err
}
