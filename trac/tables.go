package trac

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/borrow"
	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// tables are Trac's tables as a transaction or a snapshot sees them, in the
// schema of the journal's. Statements are in the words of
// [sqltext.Dialect.Write].
type tables struct {
	sql     tracbus.SQL
	dialect *sqltext.Dialect
	schema  string
	batches bool // sql takes many statements at once
}

func tablesOf(tx *tracbus.ModelTransaction) tables {
	lent, ok := tx.SQL().(*borrow.Loan)
	return tables{tx.SQL(), sqltext.Of(string(tx.Dialect())), tx.Schema(), ok && lent.Batches}
}

func tablesIn(s *tracbus.Snapshot) tables {
	return tables{s, sqltext.Of(string(s.Dialect())), s.Schema(), false}
}

// bounded keeps a Model from waiting for ever for rows that others have locked, or for a
// connection that died in silence.
func bounded(ctx *context.Context, err *error) (done func()) {
	return limit.Bound(ctx, err, limit.From(*ctx).Lock, func() string {
		return ", and another transaction may hold what is waited for"
	})
}

func (t tables) exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	result, err := t.sql.ExecContext(ctx, t.dialect.Write(t.schema, text), args...)
	limit.Progress(ctx)
	return result, err
}

func (t tables) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return t.sql.QueryContext(ctx, t.dialect.Write(t.schema, text), args...)
}

func (t tables) queryRow(ctx context.Context, text string, args ...any) limit.Row {
	return limit.QueryRow(ctx, t.sql, t.dialect.Write(t.schema, text), args...)
}

// read is a SELECT, and what is done with each of its rows.
type read struct {
	text string
	args []any
	scan func(rows *sql.Rows) error
}

// readAll runs one SELECT after the other: in one round trip where the driver can.
func (t tables) readAll(ctx context.Context, reads ...read) error {
	if !t.batches {
		for _, r := range reads {
			rows, err := t.query(ctx, r.text, r.args...)
			if err == nil {
				err = r.all(ctx, rows)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	var texts []string
	var args []any
	for _, r := range reads {
		texts, args = append(texts, t.dialect.Write(t.schema, r.text)), append(args, r.args...)
	}
	rows, err := t.sql.QueryContext(ctx, strings.Join(texts, "; "), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for i, r := range reads {
		if i > 0 && !rows.NextResultSet() {
			return cmp.Or(rows.Err(), errors.New("the database answered to fewer statements than were asked"))
		}
		if err := r.each(ctx, rows); err != nil {
			return err
		}
	}
	return limit.Drain(ctx, rows)
}

// all reads rows to their end, and closes them.
func (r read) all(ctx context.Context, rows *sql.Rows) error {
	defer rows.Close()
	if err := r.each(ctx, rows); err != nil {
		return err
	}
	return limit.Drain(ctx, rows)
}

func (r read) each(ctx context.Context, rows *sql.Rows) error {
	for rows.Next() {
		limit.Progress(ctx)
		if err := r.scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// insert runs an INSERT into a table whose column id the database fills in.
func (t tables) insert(ctx context.Context, text string, args ...any) (id int64, err error) {
	if t.dialect.Returning {
		err = t.queryRow(ctx, text+" RETURNING id", args...).Scan(&id)
		return id, err
	}
	result, err := t.exec(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// insertRows writes rows in one statement.
func (t tables) insertRows(ctx context.Context, insert string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	var args []any
	row := "(?" + strings.Repeat(", ?", len(rows[0])-1) + ")"
	for _, values := range rows {
		args = append(args, values...)
	}
	_, err := t.exec(ctx, insert+" VALUES "+row+strings.Repeat(", "+row, len(rows)-1), args...)
	return err
}

// has says whether the database has a table of Trac's.
func (t tables) has(ctx context.Context, name string) (ok bool, err error) {
	err = t.queryRow(ctx, strings.ReplaceAll(t.dialect.HasTable, "TABLE", name)).Scan(&ok)
	switch {
	case sqltext.IsNoTable(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for Trac's table %s: %w", name, err)
	}
	return ok, nil
}

// execAttachments runs a statement on Trac's table attachment, if there is one.
func (t tables) execAttachments(ctx context.Context, statement string, args ...any) error {
	ok, err := t.has(ctx, "attachment")
	if ok && err == nil {
		_, err = t.exec(ctx, statement, args...)
	}
	return err
}

// checkText says why the database cannot store a text.
func (t tables) checkText(name, s string) error {
	if t.dialect.NoNUL && strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("%s %.60q: it has the character U+0000, which PostgreSQL cannot store", name, s)
	}
	return nil
}

// orConflict returns an error as [tracbus.ErrConflict] if it means that a row
// with the same key exists: Trac takes no lock that this package could wait for.
// That cannot happen on SQLite, on which one transaction writes at a time.
func orConflict(err error) error {
	if sqltext.IsDuplicate(err) {
		return fmt.Errorf("%w: %w", tracbus.ErrConflict, err)
	}
	return err
}
