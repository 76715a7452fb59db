// Package tracsql runs statements on Trac's tables, in the words of three databases.
package tracsql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tracbus/tracbus/internal/borrow"
	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// Tables are Trac's tables as a transaction or a snapshot sees them, in the schema of the
// journal's. Statements are in the words of [sqltext.Dialect.Write].
type Tables struct {
	SQL     borrow.SQL
	Dialect *sqltext.Dialect
	Schema  string
	Batches bool // SQL takes many statements at once
}

// Exec runs a statement that returns no rows.
func (t Tables) Exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	result, err := t.SQL.ExecContext(ctx, t.Dialect.Write(t.Schema, text), args...)
	limit.Progress(ctx)
	if sqltext.IsUnstorable(err) {
		err = unstorable(err, args)
	}
	return result, err
}

// unstorable says which text a table of MySQL cannot store: tables that an old Trac made have
// the character set utf8mb3, which ends at U+FFFF.
func unstorable(err error, args []any) error {
	for _, arg := range args {
		s, _ := arg.(string)
		if i := strings.IndexFunc(s, Beyond); i >= 0 {
			r, _ := utf8.DecodeRuneInString(s[i:])
			return fmt.Errorf("text %.60q has the character %U, which the table's character set cannot store; expected utf8mb4: %w", s, r, err)
		}
	}
	return err
}

// Beyond says whether utf8mb3 does not have a character.
func Beyond(r rune) bool { return r > 0xFFFF }

// Query runs a SELECT.
func (t Tables) Query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return t.SQL.QueryContext(ctx, t.Dialect.Write(t.Schema, text), args...)
}

// QueryRow runs a SELECT of one row.
func (t Tables) QueryRow(ctx context.Context, text string, args ...any) limit.Row {
	return limit.QueryRow(ctx, t.SQL, t.Dialect.Write(t.Schema, text), args...)
}

// Read is a SELECT, and what is done with each of its rows.
type Read struct {
	Text string
	Args []any
	Scan func(rows *sql.Rows) error
}

// ReadAll runs one SELECT after the other: in one round trip where the driver can.
func (t Tables) ReadAll(ctx context.Context, reads ...Read) error {
	if !t.Batches || len(reads) == 1 {
		for _, r := range reads {
			rows, err := t.Query(ctx, r.Text, r.Args...)
			if err == nil {
				err = r.all(ctx, rows)
			}
			if err != nil && !sqltext.IsForeignText(err) { // else no row has that text
				return err
			}
		}
		return nil
	}
	var texts []string
	var args []any
	for _, r := range reads {
		texts, args = append(texts, t.Dialect.Write(t.Schema, r.Text)), append(args, r.Args...)
	}
	rows, err := t.SQL.QueryContext(ctx, strings.Join(texts, "; "), args...)
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
func (r Read) all(ctx context.Context, rows *sql.Rows) error {
	defer rows.Close()
	if err := r.each(ctx, rows); err != nil {
		return err
	}
	return limit.Drain(ctx, rows)
}

func (r Read) each(ctx context.Context, rows *sql.Rows) error {
	for rows.Next() {
		limit.Progress(ctx)
		if err := r.Scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Insert runs an INSERT into a table whose column id the database fills in.
func (t Tables) Insert(ctx context.Context, text string, args ...any) (id int64, err error) {
	if t.Dialect.Returning {
		err = t.QueryRow(ctx, text+" RETURNING id", args...).Scan(&id)
		return id, err
	}
	result, err := t.Exec(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// InsertRows writes rows in one statement.
func (t Tables) InsertRows(ctx context.Context, insert string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	var args []any
	row := "(?" + strings.Repeat(", ?", len(rows[0])-1) + ")"
	for _, values := range rows {
		args = append(args, values...)
	}
	_, err := t.Exec(ctx, insert+" VALUES "+row+strings.Repeat(", "+row, len(rows)-1), args...)
	return err
}

// Has says whether the database has a table of Trac's.
func (t Tables) Has(ctx context.Context, name string) (ok bool, err error) {
	err = t.QueryRow(ctx, strings.ReplaceAll(t.Dialect.HasTable, "TABLE", name)).Scan(&ok)
	switch {
	case sqltext.IsNoTable(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for Trac's table %s: %w", name, err)
	}
	return ok, nil
}

// ExecAttachments runs a statement on Trac's table attachment, if there is one.
func (t Tables) ExecAttachments(ctx context.Context, statement string, args ...any) error {
	ok, err := t.Has(ctx, "attachment")
	if ok && err == nil {
		_, err = t.Exec(ctx, statement, args...)
		if sqltext.IsForeignText(err) {
			err = nil // no row has that text
		}
	}
	return err
}

// CheckText says why the database cannot store a text.
func (t Tables) CheckText(name, s string) error {
	if t.Dialect.NoNUL && strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("%s %.60q: it has the character U+0000, which PostgreSQL cannot store", name, s)
	}
	return nil
}

// Twin returns another page of MySQL's that has the key of a page of that name, and how many
// characters of a name the key has; 0 if there is none.
func (t Tables) Twin(ctx context.Context, name string, newest int64) (twin string, same int, err error) {
	var length sql.NullInt64
	err = t.QueryRow(ctx, `SELECT MIN(sub_part) FROM information_schema.statistics WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE())
		AND table_name = 'wiki' AND column_name = 'name' AND non_unique = 0`, t.Schema).Scan(&length)
	if err != nil || !length.Valid || int64(utf8.RuneCountInString(name)) < length.Int64 {
		return "", 0, err
	}
	err = t.QueryRow(ctx, `SELECT name FROM {wiki} WHERE LEFT(name, ?) = LEFT(?, ?) AND name <> ? AND version <= ? LIMIT 1`,
		length.Int64, name, length.Int64, name, newest).Scan(&twin)
	if errors.Is(err, sql.ErrNoRows) {
		return "", 0, nil
	}
	return twin, int(length.Int64), err
}
