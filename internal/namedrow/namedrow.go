// Package namedrow knows how Trac's tables milestone, component and version hold
// what has a name: which columns there are, what Trac stores where there is nothing,
// and which names the database takes for one. It knows no event.
package namedrow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/tracvalue"
	"github.com/tracbus/tracbus/internal/value"
)

// ErrExists: the name is another one's.
var ErrExists = errors.New("another one of that name exists")

// ErrNotFound: there is no row of that name.
var ErrNotFound = errors.New("there is none of that name")

// Tables runs statements in the words of [sqltext.Dialect.Write].
type Tables interface {
	Exec(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryRow(ctx context.Context, text string, args ...any) limit.Row
	// CheckText says why the database cannot store a text.
	CheckText(name, s string) error
}

// Table is one of Trac's tables milestone, component and version. It is called
// as the realm is, and as the field of tickets that has such a name. Its columns are
// name, those here, and last the description.
type Table struct {
	Name  string   // of the table, of the realm, and of the field of tickets
	Times []string // columns with microseconds; 0 or NULL is none
	Texts []string // columns in which Trac stores "" as NULL

	// Whether Trac stores a description of "" as NULL when it creates a row, and
	// when it changes one.
	NullCreated, NullChanged bool
}

// Row is a row of such a table.
type Row struct {
	Name  string
	Times []time.Time // the zero time is none
	Texts []string    // with the description, the last
	Null  bool        // the description is NULL
}

// Of returns a row without values.
func (t Table) Of(name string) Row {
	return Row{Name: name, Times: make([]time.Time, len(t.Times)), Texts: make([]string, len(t.Texts)+1)}
}

// Clone returns a row that can be changed.
func (r Row) Clone() Row {
	r.Times, r.Texts = slices.Clone(r.Times), slices.Clone(r.Texts)
	return r
}

// Equal says whether Trac would see no difference.
func (r Row) Equal(other Row) bool {
	return r.Name == other.Name && slices.Equal(r.Texts, other.Texts) && slices.EqualFunc(r.Times, other.Times, time.Time.Equal)
}

// Simplified returns a name as Trac stores it (simplify_whitespace of model.py).
func Simplified(name string) string {
	return strings.Join(strings.FieldsFunc(value.Text(name), tracvalue.IsSpace), " ")
}

// TimeOf returns a time as Trac reads it (_from_timestamp).
func TimeOf(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// columns returns the columns after the name.
func (t Table) columns() []string {
	return slices.Concat(t.Times, t.Texts, []string{"description"})
}

// Lock reads a row and locks it. Without one it returns [ErrNotFound].
func (t Table) Lock(ctx context.Context, on Tables, name string) (row Row, err error) {
	times, texts := make([]sql.NullInt64, len(t.Times)), make([]sql.NullString, len(t.Texts)+1)
	into := []any{&row.Name}
	for i := range times {
		into = append(into, &times[i])
	}
	for i := range texts {
		into = append(into, &texts[i])
	}
	err = on.QueryRow(ctx, `SELECT name, "`+strings.Join(t.columns(), `", "`)+`" FROM {`+t.Name+`} WHERE name = ? {FOR UPDATE}`, name).Scan(into...)
	switch {
	case isNone(err), err == nil && row.Name != name: // to MySQL, "m1 " equals "m1"
		return row, ErrNotFound
	case err != nil:
		return row, err
	}
	for _, us := range times {
		row.Times = append(row.Times, TimeOf(us.Int64))
	}
	for _, s := range texts {
		row.Texts = append(row.Texts, s.String)
	}
	row.Null = !texts[len(texts)-1].Valid
	return row, nil
}

// Insert creates a row, and returns it as it is then.
func (t Table) Insert(ctx context.Context, on Tables, r Row) (Row, error) {
	r, args, err := t.taken(on, r, t.NullCreated)
	if err == nil {
		err = t.checkFree(ctx, on, r.Name)
	}
	if err == nil {
		_, err = on.Exec(ctx, `INSERT INTO {`+t.Name+`} (name, "`+strings.Join(t.columns(), `", "`)+`") VALUES (?`+
			strings.Repeat(", ?", len(args)-1)+`)`, args...)
	}
	return r, orExists(r.Name, err)
}

// Update changes a row, and returns it as it is then. Nothing is written, and changed
// is false, if Trac would see no difference.
func (t Table) Update(ctx context.Context, on Tables, old, r Row) (_ Row, changed bool, err error) {
	r, args, err := t.taken(on, r, t.NullChanged)
	if err != nil || r.Equal(old) {
		return r, false, err
	}
	if r.Name != old.Name {
		err = t.checkFree(ctx, on, r.Name)
	}
	if err == nil {
		_, err = on.Exec(ctx, `UPDATE {`+t.Name+`} SET name = ?, "`+strings.Join(t.columns(), `" = ?, "`)+`" = ? WHERE name = ?`,
			append(args, old.Name)...)
	}
	return r, true, orExists(r.Name, err)
}

// Delete deletes a row.
func (t Table) Delete(ctx context.Context, on Tables, name string) error {
	_, err := on.Exec(ctx, `DELETE FROM {`+t.Name+`} WHERE name = ?`, name)
	return err
}

// taken returns a row as it will be read, and the values of its columns as Trac writes
// them, all of them: no time is 0.
func (t Table) taken(on Tables, r Row, nullDescription bool) (_ Row, args []any, err error) {
	if err := on.CheckText("name", r.Name); err != nil {
		return r, nil, err
	}
	args = []any{r.Name}
	for i, when := range r.Times {
		if when, err = value.Time(when.UTC()); err != nil {
			return r, nil, fmt.Errorf("%s: %w", t.Times[i], err)
		}
		us := when.UnixMicro()
		if when.IsZero() {
			us = 0
		}
		r.Times[i], args = TimeOf(us), append(args, us)
	}
	columns := t.columns()[len(t.Times):]
	for i, s := range r.Texts {
		s = value.Text(s)
		if err := on.CheckText(columns[i], s); err != nil {
			return r, nil, err
		}
		r.Texts[i], args = s, append(args, any(s))
		if description := i == len(t.Texts); s == "" && (nullDescription || !description) {
			args[len(args)-1] = nil
		}
	}
	r.Null = args[len(args)-1] == nil
	return r, args, nil
}

// checkFree returns [ErrExists] if a name is somebody's.
func (t Table) checkFree(ctx context.Context, on Tables, name string) error {
	var other string
	err := on.QueryRow(ctx, `SELECT name FROM {`+t.Name+`} WHERE name = ? {FOR UPDATE}`, name).Scan(&other)
	switch {
	case isNone(err):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("name %.100q: %w", name, ErrExists)
}

// isNone says whether an error means that there is no row, or can be none.
func isNone(err error) bool { return errors.Is(err, sql.ErrNoRows) || sqltext.IsForeignText(err) }

// orExists returns an error as [ErrExists] if it means that: Trac was faster, or MySQL,
// whose key holds only the beginning of a name, takes two for one.
func orExists(name string, err error) error {
	if sqltext.IsDuplicate(err) {
		return fmt.Errorf("name %.100q: %w: %w", name, ErrExists, err)
	}
	return err
}
