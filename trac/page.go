package trac

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/tracsql"
)

// LoadPage returns the newest version of a page of Trac's, and false if there
// is no such page.
func LoadPage(ctx context.Context, s *tracbus.Snapshot, name string) (page tracbus.WikiPage, ok bool, err error) {
	return versionBefore(ctx, s, tracbus.WikiPage{Name: name, Version: math.MaxInt32})
}

// LoadPageVersions iterates over the versions of a page of Trac's, the newest
// first: none if there is no such page. It reads each when the loop asks for it.
// After an error the iteration ends.
func LoadPageVersions(ctx context.Context, s *tracbus.Snapshot, name string) iter.Seq2[tracbus.WikiPage, error] {
	return func(yield func(tracbus.WikiPage, error) bool) {
		page, ok, err := LoadPage(ctx, s, name)
		for err == nil && ok && yield(page, nil) {
			page, ok, err = versionBefore(ctx, s, page)
		}
		if err != nil {
			yield(tracbus.WikiPage{}, err)
		}
	}
}

// versionBefore returns the latest version before p's that a page still has.
func versionBefore(ctx context.Context, s *tracbus.Snapshot, p tracbus.WikiPage) (page tracbus.WikiPage, ok bool, err error) {
	row, err := readPage(ctx, tablesIn(s), `SELECT * FROM {wiki} WHERE name = ? AND version < ? ORDER BY version DESC LIMIT 1`, p.Name, p.Version)
	if err != nil {
		return tracbus.WikiPage{}, false, fmt.Errorf("load page %.100q: %w", p.Name, err)
	}
	if !row.exists() || row.page.Name != p.Name {
		return tracbus.WikiPage{}, false, nil
	}
	return row.page, true, nil
}

// LoadPageNames iterates over the names of Trac's pages, in no particular order.
// After an error the iteration ends. All names are read before the first one is
// yielded, so the loop may use s.
func LoadPageNames(ctx context.Context, s *tracbus.Snapshot) iter.Seq2[string, error] {
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

func readNames(ctx context.Context, s *tracbus.Snapshot) (names []string, err error) {
	rows, err := tablesIn(s).Query(ctx, `SELECT DISTINCT name FROM {wiki} WHERE version > 0`)
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

// pageRow is a row of Trac's table wiki. If there was no such row, it says only
// what the table is like.
type pageRow struct {
	page  tracbus.WikiPage
	null  tracbus.Attrs // attributes of the page that are NULL, as in pages that trac-admin loaded
	found bool
	ipnr  bool // the table has the column ipnr: Trac before 1.3.2, schema version 42
}

// exists says whether Trac calls it a page: it has a version from 1 on.
func (r pageRow) exists() bool { return r.page.Version > 0 }

// newestPage reads the newest version of a page and locks its row. The resource
// must be locked already: on PostgreSQL, a statement that has waited for a row may
// return a version that is no longer the newest.
func newestPage(ctx context.Context, tx *tracbus.ModelTransaction, name string) (pageRow, error) {
	return lockPage(ctx, tx, name, `SELECT * FROM {wiki} WHERE name = ? ORDER BY version DESC LIMIT 1 {FOR UPDATE}`, name)
}

// pageVersion reads one version of a page in the same manner. Version 0 means the
// newest.
func pageVersion(ctx context.Context, tx *tracbus.ModelTransaction, name string, version int64) (pageRow, error) {
	if version == 0 {
		return newestPage(ctx, tx, name)
	}
	return lockPage(ctx, tx, name, `SELECT * FROM {wiki} WHERE name = ? AND version = ? {FOR UPDATE}`, name, version)
}

func lockPage(ctx context.Context, tx *tracbus.ModelTransaction, name, text string, args ...any) (pageRow, error) {
	if err := tracbus.ValidatePageName(name); err != nil {
		return pageRow{}, err
	}
	row, err := readPage(ctx, tablesOf(tx), text, args...)
	if err != nil {
		return pageRow{}, fmt.Errorf("read page %.100q: %w", name, err)
	}
	if row.found && row.page.Name != name {
		// To MySQL, "Page " equals "Page"; with a collation that Trac refuses, "page" does too.
		return pageRow{}, fmt.Errorf("page name %.100q: %w: the database takes it for %.100q", name, tracbus.ErrInvalidPageName, row.page.Name)
	}
	row.page.Name = name
	return row, nil
}

// nameRefused returns an error of a statement that gives versions to a page, the newest of
// them a number, as what it means. Some names no edit can ever give: the text may be too
// long for the key, or have a character that the table cannot store; and a key of MySQL's
// has the first characters only, so that two names that begin with the same are one to it.
func nameRefused(ctx context.Context, tx *tracbus.ModelTransaction, name string, newest int64, err error) error {
	switch {
	case err == nil:
		return nil
	case sqltext.IsUnstorable(err) && strings.ContainsFunc(name, tracsql.Beyond):
		return fmt.Errorf("%w: %w", tracbus.ErrInvalidPageName, err)
	case sqltext.IsLongKey(err):
		return fmt.Errorf("%w: it is too long for the table's key: %w", tracbus.ErrInvalidPageName, err)
	case !sqltext.IsDuplicate(err):
		return err
	case tx.Dialect() == tracbus.MySQL:
		if twin, same, failed := tablesOf(tx).Twin(ctx, name, newest); failed != nil {
			return errors.Join(failed, orConflict(err))
		} else if same > 0 {
			return fmt.Errorf("%w: the table's key has its first %d characters only, which are those of the page %.300q too",
				tracbus.ErrInvalidPageName, same, twin)
		}
	}
	return orConflict(err)
}

func readPage(ctx context.Context, from tables, text string, args ...any) (row pageRow, err error) {
	defer func() {
		if sqltext.IsForeignText(err) {
			err = nil // no page can have that name
		}
	}()
	rows, err := from.Query(ctx, text, args...)
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

// scan reads a row, whichever columns the table has, in any order.
func (r *pageRow) scan(rows *sql.Rows, columns []string) error {
	var when, readonly sql.NullInt64
	var author, text, comment sql.NullString
	targets := map[string]any{
		"name": &r.page.Name, "version": &r.page.Version, "time": &when, "author": &author,
		"text": &text, "comment": &comment, "readonly": &readonly,
	}
	dest := make([]any, len(columns))
	for i, column := range columns {
		if dest[i] = targets[column]; dest[i] == nil {
			dest[i] = new(any)
		}
	}
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	r.page.Author, r.page.Text, r.page.Comment = author.String, text.String, comment.String
	r.page.Readonly = readonly.Int64 != 0 // to Trac, NULL is 0
	if when.Valid {
		r.page.Time = time.UnixMicro(when.Int64).UTC()
	}
	for attr, valid := range map[tracbus.Attrs]bool{
		tracbus.AttrTime: when.Valid, tracbus.AttrAuthor: author.Valid, tracbus.AttrText: text.Valid, tracbus.AttrComment: comment.Valid,
	} {
		if !valid {
			r.null |= attr
		}
	}
	return nil
}
