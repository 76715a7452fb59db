package tracbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus/internal/value"
)

// WikiVersionDelete is a [Model] whose Delete deletes one version of a page of
// Trac's. Deleting the only version deletes the page, as [WikiEdit] does. The
// number of the last version is given again to the next one: so it is in Trac.
type WikiVersionDelete struct {
	Name    string
	Version int64

	// Comment says why, in the event: Trac stores no such comment.
	Comment string
}

// Resource returns the page.
func (d WikiVersionDelete) Resource() Resource { return PageResource(d.Name) }

// Delete implements [Model]. The event is a [WikiPageVersionDeleted] or a
// [WikiPageDeleted].
func (d WikiVersionDelete) Delete(ctx context.Context, tx *ModelTransaction) (Event, error) {
	if d.Version < 1 {
		return nil, fmt.Errorf("version %d of page %.100q: %w", d.Version, d.Name, ErrNotFound)
	}
	gone, err := existingVersion(ctx, tx, d.Name, d.Version)
	if err != nil {
		return nil, err
	}
	if _, err := tx.exec(ctx, `DELETE FROM {wiki} WHERE name = ? AND version = ?`, d.Name, d.Version); err != nil {
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
	return WikiPageVersionDeleted{Change{Comment: value.Text(d.Comment), Null: gone.null}, gone.WikiPage}, nil
}

// Save implements [Model]; it returns an error.
func (d WikiVersionDelete) Save(context.Context, *ModelTransaction) (Event, error) {
	return nil, errors.New("a WikiVersionDelete is deleted, not saved")
}

// WikiCommentEdit is a [Model] whose Save replaces the comment of one version of
// a page of Trac's. The same comment again is nothing to store or tell.
type WikiCommentEdit struct {
	Name    string
	Version int64 // zero means the newest
	Comment string
}

// Resource returns the page.
func (c WikiCommentEdit) Resource() Resource { return PageResource(c.Name) }

// Save implements [Model]. The event is a [WikiPageCommentEdited].
func (c WikiCommentEdit) Save(ctx context.Context, tx *ModelTransaction) (Event, error) {
	row, err := existingVersion(ctx, tx, c.Name, c.Version)
	if err != nil {
		return nil, err
	}
	old, null := row.Comment, row.null
	row.Comment = value.Text(c.Comment)
	if row.Comment == old {
		return nil, nil
	}
	_, err = tx.exec(ctx, `UPDATE {wiki} SET comment = ? WHERE name = ? AND version = ?`, row.Comment, row.Name, row.Version)
	if err != nil {
		return nil, fmt.Errorf("comment of version %d of page %.100q: %w", row.Version, row.Name, err)
	}
	if null.Has(AttrComment) { // it was; now it is not
		null = null&^AttrComment | AttrOldText
	}
	return WikiPageCommentEdited{Change{Null: null}, row.WikiPage, old}, nil
}

// Delete implements [Model]; it returns an error.
func (c WikiCommentEdit) Delete(context.Context, *ModelTransaction) (Event, error) {
	return nil, errors.New("a WikiCommentEdit is saved; to delete a version, delete a WikiVersionDelete")
}

func existingVersion(ctx context.Context, tx *ModelTransaction, name string, version int64) (pageRow, error) {
	row, err := pageVersion(ctx, tx, name, version)
	if err == nil && !row.exists() {
		err = fmt.Errorf("version %d of page %.100q: %w", version, name, ErrNotFound)
	}
	return row, err
}
