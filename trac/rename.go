package trac

import (
	"context"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/value"
)

// ErrPageExists: a [PageRename] would give a page the name of another one.
// Returned by Save, and with [tracbus.ErrNotCommitted] by Update.
var ErrPageExists = errors.New("a page of that name exists")

// PageRename is a [tracbus.Model] whose Save renames a page of Trac's, with all
// its versions and its rows in Trac's table attachment. The application must move
// the attached files to the folder of the new name, see [PageEdit]. Links to the
// old name stay as they are. It cannot be deleted.
type PageRename struct {
	// Name is the page's name, and NewName the one that it gets.
	Name, NewName string

	// Comment says why, in the event: Trac stores no such comment.
	Comment string

	// Base is the newest version that the user saw. If another version is the
	// newest, the error is [tracbus.ErrConflict]. Zero means that this is not
	// checked.
	Base int64
}

// Resource returns a page without a name: Save locks both names itself, in the
// same order as every other rename.
func (r PageRename) Resource() tracbus.Resource { return tracbus.Resource{Realm: tracbus.RealmWiki} }

// Save implements [tracbus.Model]. The event is a [tracbus.WikiPageRenamed].
func (r PageRename) Save(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	if err := tracbus.ValidatePageName(r.NewName); err != nil {
		return nil, fmt.Errorf("new %w", err)
	}
	names := []tracbus.Resource{{Realm: tracbus.RealmWiki, ID: min(r.Name, r.NewName)}, {Realm: tracbus.RealmWiki, ID: max(r.Name, r.NewName)}}
	if err := tx.Lock(ctx, names...); err != nil {
		return nil, fmt.Errorf("page %.100q: %w", r.Name, err)
	}
	row, err := newestPage(ctx, tx, r.Name)
	if err != nil {
		return nil, err
	}
	if !row.exists() {
		return nil, fmt.Errorf("page %.100q: %w", r.Name, tracbus.ErrNotFound)
	}
	if r.Base != 0 && r.Base != row.page.Version {
		return nil, fmt.Errorf("page %.100q: the newest version is %d, not %d: %w", r.Name, row.page.Version, r.Base, tracbus.ErrConflict)
	}
	if r.Name == r.NewName {
		return nil, nil
	}
	target, err := newestPage(ctx, tx, r.NewName)
	if err != nil {
		return nil, err
	}
	if target.exists() {
		return nil, fmt.Errorf("rename page %.100q to %.100q: %w", r.Name, r.NewName, ErrPageExists)
	}
	if err := r.write(ctx, tx, row.page.Version); err != nil {
		return nil, fmt.Errorf("rename page %.100q to %.100q: %w", r.Name, r.NewName, err)
	}
	row.page.Name = r.NewName
	return tracbus.WikiPageRenamed{Change: tracbus.Change{Comment: value.Text(r.Comment), Null: row.null}, Page: row.page, OldName: r.Name}, nil
}

func (r PageRename) write(ctx context.Context, tx *tracbus.ModelTransaction, newest int64) error {
	_, err := tablesOf(tx).Exec(ctx, `UPDATE {wiki} SET name = ? WHERE name = ? AND version <= ?`, r.NewName, r.Name, newest)
	if err != nil {
		return nameRefused(ctx, tx, r.NewName, newest, err)
	}
	if err := stillNewest(ctx, tx, r.Name, 0); err != nil {
		return err
	}
	err = moveAttachments(ctx, tx, tracbus.PageResource(r.Name), tracbus.PageResource(r.NewName))
	if sqltext.IsUnstorable(err) {
		err = nameRefused(ctx, tx, r.NewName, newest, err)
	}
	if err != nil {
		return err
	}
	return invalidatePages(ctx, tx, true, r.Name, r.NewName) // Trac forgets to do so for the old name
}

// Delete implements [tracbus.Model] and returns an error.
func (r PageRename) Delete(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	return nil, errors.New("a PageRename is saved; to delete a page, delete a PageEdit")
}
