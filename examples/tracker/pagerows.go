package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/internal/tracdb"
)

// wikiPage is a version of a page in Trac's table, for pages to show.
type wikiPage struct {
	Name     string
	Version  int64
	Newest   int64 // version
	Time     time.Time
	Author   string
	Comment  string
	Text     string
	Readonly bool
}

// page reads one version of a page, the newest if version is 0. Where there is
// none, the error is an ErrNotFound.
func (s *site) page(ctx context.Context, name string, version int64) (*wikiPage, error) {
	return readPage(ctx, s.db, s.db, name, version)
}

// readPage is page within a transaction, or without one.
func readPage(ctx context.Context, q tracbus.SQL, db *tracdb.DB, name string, version int64) (*wikiPage, error) {
	p := &wikiPage{Name: name}
	var at, readonly sql.NullInt64
	var author, comment, text sql.NullString
	statement := `SELECT version, time, author, comment, text, readonly, (SELECT MAX(version) FROM wiki WHERE name = ?)
		FROM wiki WHERE name = ?`
	args := []any{name, name}
	if version != 0 {
		statement += " AND version = ?"
		args = append(args, version)
	}
	err := q.QueryRowContext(ctx, db.SQL(statement+" ORDER BY version DESC LIMIT 1"), args...).
		Scan(&p.Version, &at, &author, &comment, &text, &readonly, &p.Newest)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("page %q: %w", name, tracbus.ErrNotFound)
	} else if err != nil {
		return nil, err
	}
	p.Time, p.Author, p.Comment, p.Text = time.UnixMicro(at.Int64), author.String, comment.String, text.String
	p.Readonly = readonly.Int64 != 0
	return p, nil
}
