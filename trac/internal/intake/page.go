package intake

import (
	"context"
	"database/sql"
	"slices"
	"strconv"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/capture"
	"github.com/tracbus/tracbus/internal/foreign"
)

// pageEvents yields what others did to a page, and to those that it was renamed from or to.
func pageEvents(ctx context.Context, from Source, rows []capture.Row, yield yieldFunc) error {
	now := map[string]foreign.Versions{}
	for _, r := range rows {
		now[r.ID] = nil
	}
	for name := range now {
		var err error
		if now[name], err = readVersions(ctx, from, name); err != nil {
			return err
		}
	}
	for name, versions := range foreign.Texts(rows, now) {
		if err := readTexts(ctx, from, name, versions, now[name]); err != nil {
			return err
		}
	}
	for _, s := range foreign.Pages(rows, now) {
		if err := yield(pageEvent(s), s.Rows); err != nil {
			return err
		}
	}
	return nil
}

// readVersions reads all versions of a page, without their texts.
func readVersions(ctx context.Context, from Source, name string) (foreign.Versions, error) {
	versions := foreign.Versions{}
	columns := slices.DeleteFunc(foreign.PageColumns(), func(c string) bool { return c == "text" })
	return versions, from.ReadAll(ctx, Read{`SELECT version, ` + quoted(columns) + ` FROM {wiki} WHERE name = ?`, []any{name}, func(rows *sql.Rows) error {
		var text sql.NullString
		cells := foreign.Cells{}
		err := scanCells(rows, columns, cells, &text)
		if version, none := strconv.ParseInt(text.String, 10, 64); none == nil { // SQLite may have anything there
			versions[version] = cells
		}
		return err
	}})
}

// readTexts reads the texts of some versions.
func readTexts(ctx context.Context, from Source, name string, wanted map[int64]bool, into foreign.Versions) error {
	var versions []any
	for version := range wanted {
		if into[version] != nil {
			versions = append(versions, version)
		}
	}
	for some := range some(versions) {
		err := from.ReadAll(ctx, Read{`SELECT version, text FROM {wiki} WHERE name = ? AND version IN ` + marks(len(some)), append([]any{name}, some...), func(rows *sql.Rows) error {
			var version int64
			var text *string
			err := rows.Scan(&version, &text)
			if cells := into[version]; cells != nil {
				cells["text"] = text
			}
			return err
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

func pageEvent(s foreign.PageStep) tracbus.Event {
	if s.Kind == 0 {
		return nil
	}
	page, null := pageOf(s.Name, s.Version, s.Page)
	c := change(s.Step, 0)
	c.Null = null
	old := ""
	if s.OldText != nil {
		old = *s.OldText
	}
	switch s.Kind {
	case foreign.Created, foreign.Changed:
		c.Comment = page.Comment
		if s.Known && !page.Time.IsZero() {
			c.Time = page.Time
		}
		if s.Kind == foreign.Created {
			return tracbus.WikiPageCreated{Change: c, Page: page}
		}
		if s.OldText == nil {
			c.Null |= tracbus.AttrOldText
		}
		return tracbus.WikiPageChanged{Change: c, Page: page, OldText: old}
	case foreign.Removed:
		return tracbus.WikiPageDeleted{Change: c, Page: page}
	case foreign.Renamed:
		return tracbus.WikiPageRenamed{Change: c, Page: page, OldName: s.OldName}
	case foreign.VersionDeleted:
		return tracbus.WikiPageVersionDeleted{Change: c, Page: page}
	case foreign.CommentEdited:
		if s.OldText == nil {
			c.Null |= tracbus.AttrOldText
		}
		return tracbus.WikiPageCommentEdited{Change: c, Page: page, OldComment: old}
	}
	return nil
}

// pageOf returns a version of a page, and which of its attributes are null.
func pageOf(name string, version int64, cells foreign.Cells) (page tracbus.WikiPage, null tracbus.Attrs) {
	page = tracbus.WikiPage{Name: name, Version: version, Readonly: cells.Number("readonly") != 0}
	if when, ok := cells.Moment("time"); ok {
		page.Time = when
	} else {
		null |= tracbus.AttrTime
	}
	for column, attr := range map[string]struct {
		to   *string
		null tracbus.Attrs
	}{
		"author": {&page.Author, tracbus.AttrAuthor}, "text": {&page.Text, tracbus.AttrText}, "comment": {&page.Comment, tracbus.AttrComment},
	} {
		if v := cells[column]; v != nil {
			*attr.to = *v
		} else {
			null |= attr.null
		}
	}
	return page, null
}
