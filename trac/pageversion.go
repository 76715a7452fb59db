package trac

import (
	"context"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/value"
)

// PageVersionDelete is a [tracbus.Model] whose Delete deletes one version of a
// page of Trac's. Deleting the only version deletes the page, as [PageEdit] does.
// After the newest version is deleted, the next one gets its number again, as in
// Trac. It cannot be saved.
type PageVersionDelete struct {
	// Name is the page's name.
	Name string

	// Version is the version to delete, from 1.
	Version int64

	// Comment says why, in the event: Trac stores no such comment.
	Comment string
}

// Resource returns the page.
func (d PageVersionDelete) Resource() tracbus.Resource { return tracbus.PageResource(d.Name) }

// Delete implements [tracbus.Model]. The event is a
// [tracbus.WikiPageVersionDeleted] or a [tracbus.WikiPageDeleted].
func (d PageVersionDelete) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	if d.Version < 1 {
		return nil, fmt.Errorf("version %d of page %.100q: %w", d.Version, d.Name, tracbus.ErrNotFound)
	}
	gone, err := existingVersion(ctx, tx, d.Name, d.Version)
	if err != nil {
		return nil, err
	}
	if _, err := tablesOf(tx).Exec(ctx, `DELETE FROM {wiki} WHERE name = ? AND version = ?`, d.Name, d.Version); err != nil {
		return nil, fmt.Errorf("version %d of page %.100q: %w", d.Version, d.Name, err)
	}
	left, err := newestPage(ctx, tx, d.Name)
	if err != nil {
		return nil, err
	}
	if !left.exists() {
		return pageGone(ctx, tx, gone, d.Comment)
	}
	if err := invalidatePages(ctx, tx, false, d.Name); err != nil {
		return nil, err
	}
	return tracbus.WikiPageVersionDeleted{Change: tracbus.Change{Comment: value.Text(d.Comment), Null: gone.null}, Page: gone.page}, nil
}

// Save implements [tracbus.Model] and returns an error.
func (d PageVersionDelete) Save(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	return nil, errors.New("a PageVersionDelete is deleted, not saved")
}

// PageCommentEdit is a [tracbus.Model] whose Save replaces the comment of one
// version of a page of Trac's. If the comment is the same, nothing is stored or
// reported. It cannot be deleted.
type PageCommentEdit struct {
	// Name is the page's name.
	Name string

	// Version is the version whose comment is edited. Zero means the newest.
	Version int64

	// Comment is the new comment.
	Comment string
}

// Resource returns the page.
func (c PageCommentEdit) Resource() tracbus.Resource { return tracbus.PageResource(c.Name) }

// Save implements [tracbus.Model]. The event is a [tracbus.WikiPageCommentEdited].
func (c PageCommentEdit) Save(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	row, err := existingVersion(ctx, tx, c.Name, c.Version)
	if err != nil {
		return nil, err
	}
	old, null := row.page.Comment, row.null
	row.page.Comment = value.Text(c.Comment)
	if row.page.Comment == old {
		return nil, nil
	}
	_, err = tablesOf(tx).Exec(ctx, `UPDATE {wiki} SET comment = ? WHERE name = ? AND version = ?`, row.page.Comment, row.page.Name, row.page.Version)
	if err != nil {
		return nil, fmt.Errorf("comment of version %d of page %.100q: %w", row.page.Version, row.page.Name, err)
	}
	if null.Has(tracbus.AttrComment) { // it was NULL, and is not any more
		null = null&^tracbus.AttrComment | tracbus.AttrOldText
	}
	return tracbus.WikiPageCommentEdited{Change: tracbus.Change{Null: null}, Page: row.page, OldComment: old}, nil
}

// Delete implements [tracbus.Model] and returns an error.
func (c PageCommentEdit) Delete(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	return nil, errors.New("a PageCommentEdit is saved; to delete a version, delete a PageVersionDelete")
}

func existingVersion(ctx context.Context, tx *tracbus.ModelTransaction, name string, version int64) (pageRow, error) {
	row, err := pageVersion(ctx, tx, name, version)
	if err == nil && !row.exists() {
		err = fmt.Errorf("version %d of page %.100q: %w", version, name, tracbus.ErrNotFound)
	}
	return row, err
}
