package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// ReadOne reads one change of a realm, with its Origin and Mark. found is false
// if it is not there, or not any more.
func (s *Store) ReadOne(ctx context.Context, q SQL, tid int64, seq int, realm string) (c Change, found bool, err error) {
	var t Transaction
	err = q.QueryRowContext(ctx, s.SQL("SELECT mark, origin FROM {journal_transaction} WHERE tid = ?"), tid).Scan(&t.Mark, &t.Origin)
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
	for rows.Next() {
		next, _, err := scanChange(rows, realm)
		switch {
		case err != nil:
			return Change{}, false, err
		case found:
			c.Fields = append(c.Fields, next.Fields...)
		default:
			c, found = next, true
		}
	}
	c.CommitID, c.Origin = t.Mark, t.Origin
	return c, found, errors.Join(rows.Err(), rows.Close())
}
