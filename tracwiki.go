package tracbus

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"
)

// LoadPage returns the newest version of a page of Trac's, and false if there
// is no such page.
func LoadPage(ctx context.Context, s *Snapshot, name string) (page WikiPage, ok bool, err error) {
	return versionBefore(ctx, s, WikiPage{Name: name, Version: math.MaxInt32})
}

// versionBefore returns the version before p's that a page still has.
func versionBefore(ctx context.Context, s *Snapshot, p WikiPage) (page WikiPage, ok bool, err error) {
	row, err := readPage(ctx, s.query, `SELECT * FROM {wiki} WHERE name = ? AND version < ? ORDER BY version DESC LIMIT 1`, p.Name, p.Version)
	if err != nil {
		return WikiPage{}, false, fmt.Errorf("load page %.100q: %w", p.Name, err)
	}
	if !row.exists() || row.Name != p.Name {
		return WikiPage{}, false, nil
	}
	return row.WikiPage, true, nil
}

// PageNames returns the names of Trac's pages, in no particular order. An error
// comes last. The names are read before the first one is returned: the loop may
// use s.
func PageNames(ctx context.Context, s *Snapshot) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := readNames(ctx, s)
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
		if err != nil {
			yield("", fmt.Errorf("names of pages: %w", err))
		}
	}
}

func readNames(ctx context.Context, s *Snapshot) (names []string, err error) {
	rows, err := s.query(ctx, `SELECT DISTINCT name FROM {wiki} WHERE version > 0`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// pageRow is a row of Trac's table wiki, or no row but what the table is like.
type pageRow struct {
	WikiPage
	null  Attrs // parts of the page that are null, as in pages that trac-admin loaded
	found bool
	ipnr  bool // the table has the column ipnr: Trac before 1.3.2, schema version 42
}

// exists says what Trac calls a page: one with a version 1 or later.
func (r pageRow) exists() bool { return r.Version > 0 }

// newestPage reads the newest version of a page and locks its row. The resource
// must be locked already: on PostgreSQL, a statement that waited for a row could
// return a version that is not the newest any more.
func newestPage(ctx context.Context, tx *ModelTransaction, name string) (pageRow, error) {
	return lockPage(ctx, tx, name, `SELECT * FROM {wiki} WHERE name = ? ORDER BY version DESC LIMIT 1 {FOR UPDATE}`, name)
}

// pageVersion reads one version of a page in the same manner. Version 0 stands
// for the newest.
func pageVersion(ctx context.Context, tx *ModelTransaction, name string, version int64) (pageRow, error) {
	if version == 0 {
		return newestPage(ctx, tx, name)
	}
	return lockPage(ctx, tx, name, `SELECT * FROM {wiki} WHERE name = ? AND version = ? {FOR UPDATE}`, name, version)
}

func lockPage(ctx context.Context, tx *ModelTransaction, name, text string, args ...any) (pageRow, error) {
	if err := ValidatePageName(name); err != nil {
		return pageRow{}, err
	}
	row, err := readPage(ctx, tx.query, text, args...)
	if err != nil {
		return pageRow{}, fmt.Errorf("read page %.100q: %w", name, err)
	}
	if row.found && row.Name != name {
		// MySQL takes "Page " for "Page"; with a collation that Trac refuses, "page" too.
		return pageRow{}, fmt.Errorf("page name %.100q: %w: the database takes it for %.100q", name, ErrInvalidPageName, row.Name)
	}
	row.Name = name
	return row, nil
}

func readPage(ctx context.Context, query func(context.Context, string, ...any) (*sql.Rows, error), text string, args ...any) (row pageRow, err error) {
	rows, err := query(ctx, text, args...)
	if err != nil {
		return row, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return row, err
	}
	row.ipnr = slices.Contains(columns, "ipnr")
	if rows.Next() {
		if err := row.scan(rows, columns); err != nil {
			return row, err
		}
		row.found = true
	}
	return row, rows.Err()
}

// scan reads a row of whatever columns the table has, in whatever order.
func (r *pageRow) scan(rows *sql.Rows, columns []string) error {
	var when, readonly sql.NullInt64
	var author, text, comment sql.NullString
	places := map[string]any{
		nameField: &r.Name, versionField: &r.Version, timeField: &when, authorField: &author,
		textField: &text, commentField: &comment, readonlyField: &readonly,
	}
	dest := make([]any, len(columns))
	for i, column := range columns {
		if dest[i] = places[column]; dest[i] == nil {
			dest[i] = new(any)
		}
	}
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	r.Author, r.Text, r.Comment = author.String, text.String, comment.String
	r.Readonly = readonly.Int64 != 0 // as Trac, which takes null for 0
	if when.Valid {
		r.Time = time.UnixMicro(when.Int64).UTC()
	}
	for part, valid := range map[Attrs]bool{
		AttrTime: when.Valid, AttrAuthor: author.Valid, AttrText: text.Valid, AttrComment: comment.Valid,
	} {
		if !valid {
			r.null |= part
		}
	}
	return nil
}
