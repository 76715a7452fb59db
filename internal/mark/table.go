package mark

import (
	"context"
	"database/sql"
	"errors"

	"github.com/tracbus/tracbus/internal/limit"
)

// inTable keeps marks in a row of a table, which is there within the transaction alone: it
// is removed before the commit. One that others can see is of a transaction that was
// committed without that.
type inTable struct{}

func (w inTable) extend(ctx context.Context, q SQL, m *Marks, n int) (string, error) {
	var now string
	if m.set { // else there is no row: to look for one with a lock would lock what is between rows
		var err error
		if now, err = w.read(ctx, q, m, false); err != nil {
			return "", err
		}
	}
	holds, err := parse(now)
	if err != nil {
		return "", err
	}
	text := "INSERT INTO {journal_mark} (marks, commit_id) VALUES (?, ?)"
	if now != "" {
		text = "UPDATE {journal_mark} SET marks = ? WHERE commit_id = ?"
	}
	want := holds.with(n)
	_, err = q.ExecContext(ctx, m.text(text), want, m.id)
	return want, err
}

func (inTable) read(ctx context.Context, q SQL, m *Marks, remove bool) (now string, err error) {
	err = limit.QueryRow(ctx, q, m.text("SELECT marks FROM {journal_mark} WHERE commit_id = ?"), m.id).Scan(&now)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err == nil && remove {
		_, err = q.ExecContext(ctx, m.text("DELETE FROM {journal_mark} WHERE commit_id = ?"), m.id)
	}
	return now, err
}
