package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
)

// ReadOne reads one change of a realm, with its Origin and CommitID. found is
// false if it does not exist, or not any more.
func (s *Store) ReadOne(ctx context.Context, q SQL, tid int64, seq int, realm string) (c Change, found bool, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	var t Transaction
	err = limit.QueryRow(ctx, q, s.SQL("SELECT mark, origin FROM {journal_transaction} WHERE tid = ?"), tid).Scan(&t.CommitID, &t.Origin)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Change{}, false, nil
	case err != nil:
		return Change{}, false, err
	}
	rows, err := q.QueryContext(ctx, s.SQL(strings.ReplaceAll(selectChanges+"WHERE j.tid = ? AND j.seq = ?", "REALM", realm)), tid, seq)
	if err != nil {
		return Change{}, false, err
	}
	defer rows.Close()
	var all []Change // one at most
	for rows.Next() {
		next, _, err := scanChange(rows, realm)
		if err != nil {
			return Change{}, false, err
		}
		all = fold(all, next)
	}
	if len(all) > 0 {
		c, found = all[0], true
	}
	c.CommitID, c.Origin = t.CommitID, t.Origin
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || !found {
		return c, false, err
	}
	t.TID = tid
	if err := s.kept(ctx, q, Place{TID: tid - 1}, t); !errors.Is(err, ErrPruned) {
		return c, true, err
	}
	return Change{}, false, nil // it is a part that was read
}
