package tracbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus/internal/value"
)

// ErrPageExists: a page was to get the name of another one. Returned by Save,
// with [ErrNotCommitted] by Update.
var ErrPageExists = errors.New("a page of that name exists")

// WikiRename is a [Model] whose Save gives a page of Trac's a new name, with
// all its versions. Trac's table attachment follows; the attached files must be
// moved by the application, to the folder that belongs to the new name (see
// [WikiEdit]). Links to the old name stay as they are.
type WikiRename struct {
	Name, To string

	// Comment says why, in the event: Trac stores no such comment.
	Comment string

	// Base is the newest version that the user saw: another newest version is an
	// [ErrConflict]. Zero means that any will do.
	Base int64
}

// Resource returns a page without a name: Save locks both names itself, in an
// order that two renames have in common.
func (r WikiRename) Resource() Resource { return Resource{Realm: RealmWiki} }

// Save implements [Model]. The event is a [WikiPageRenamed].
func (r WikiRename) Save(ctx context.Context, tx *ModelTransaction) (Event, error) {
	if err := ValidatePageName(r.To); err != nil {
		return nil, fmt.Errorf("new %w", err)
	}
	names := []Resource{{RealmWiki, min(r.Name, r.To)}, {RealmWiki, max(r.Name, r.To)}}
	if err := tx.Lock(ctx, names...); err != nil {
		return nil, fmt.Errorf("page %.100q: %w", r.Name, err)
	}
	page, err := newestPage(ctx, tx, r.Name)
	if err != nil {
		return nil, err
	}
	if !page.exists() {
		return nil, fmt.Errorf("page %.100q: %w", r.Name, ErrNotFound)
	}
	if r.Base != 0 && r.Base != page.Version {
		return nil, fmt.Errorf("page %.100q: the newest version is %d, not %d: %w", r.Name, page.Version, r.Base, ErrConflict)
	}
	if r.Name == r.To {
		return nil, nil
	}
	target, err := newestPage(ctx, tx, r.To)
	if err != nil {
		return nil, err
	}
	if target.exists() {
		return nil, fmt.Errorf("rename page %.100q to %.100q: %w", r.Name, r.To, ErrPageExists)
	}
	if err := r.write(ctx, tx, page.Version); err != nil {
		return nil, fmt.Errorf("rename page %.100q to %.100q: %w", r.Name, r.To, err)
	}
	page.Name = r.To
	return WikiPageRenamed{Change{Comment: value.Text(r.Comment), Null: page.null}, page.WikiPage, r.Name}, nil
}

func (r WikiRename) write(ctx context.Context, tx *ModelTransaction, newest int64) error {
	_, err := tx.exec(ctx, `UPDATE {wiki} SET name = ? WHERE name = ? AND version <= ?`, r.To, r.Name, newest)
	if err != nil {
		return orConflict(err)
	}
	if err := stillNewest(ctx, tx, r.Name, 0); err != nil {
		return err
	}
	err = withAttachments(ctx, tx, `UPDATE {attachment} SET id = ? WHERE type = 'wiki' AND id = ?`, r.To, r.Name)
	if err != nil {
		return err
	}
	return invalidatePages(ctx, tx, true, r.Name, r.To) // of the old name, Trac forgets to
}

// Delete implements [Model]; it returns an error.
func (r WikiRename) Delete(context.Context, *ModelTransaction) (Event, error) {
	return nil, errors.New("a WikiRename is saved; to delete a page, delete a WikiEdit")
}
