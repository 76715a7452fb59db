package trac

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/value"
)

// NoPage is the Base of a [PageEdit] of a user who saw that the page did not exist.
const NoPage int64 = -1

// PageEdit is a [tracbus.Model] that creates, changes or deletes a page in Trac's
// table wiki, as Trac itself would:
//
//	tx.Save(ctx, trac.PageEdit{Name: "WikiStart", Text: new("Welcome"), Base: 3})
//
// A different Text makes a new version. A different Readonly alone makes none, and
// is stored in all versions of the page. If neither is different, Save stores and
// reports nothing, whatever the Comment. A second Save in one transaction changes
// the version that the first one made.
//
// An edit without text of a page that does not exist fails with
// [tracbus.ErrNotFound]: Trac cannot store that either.
//
// Delete deletes all versions, and the page's rows in Trac's table attachment.
// The attached files stay in Trac's folder, in
// files/attachments/wiki/<first 3 digits of hash>/<hash>, where hash is the
// name's SHA-1. Trac deletes them; this library cannot. If the journal has the realm
// [realms.Attachments], each row that is deleted, or moved by a [PageRename], is
// reported.
//
// As in Trac, transactions that create, rename or delete pages wait for each
// other. If such a transaction changes other pages too, it should first lock all
// of them with [tracbus.ModelTransaction.Lock]. Otherwise two transactions may
// wait for each other, until the database ends one of them.
type PageEdit struct {
	// Name is the page's name.
	Name string

	// Text is the new text. Nil means that it stays as it is.
	Text *string

	// Readonly says whether only those who may change read-only pages may change
	// this one. Nil means that it stays as it is.
	Readonly *bool

	// Comment says why, in the new version and in the event.
	Comment string

	// Base is the newest version that the user saw, or [NoPage]. If another
	// version is the newest, the error is [tracbus.ErrConflict]. Zero means that
	// this is not checked.
	Base int64
}

// Resource returns the page.
func (e PageEdit) Resource() tracbus.Resource { return tracbus.PageResource(e.Name) }

// Save implements [tracbus.Model].
func (e PageEdit) Save(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	old, err := newestPage(ctx, tx, e.Name)
	if err != nil {
		return nil, err
	}
	own := old.madeBy(tx)
	if err := e.checkBase(old, own); err != nil {
		return nil, err
	}
	page := e.applied(old.page, own)
	page.Author, page.Time = tracAuthor(tx), tx.Time()

	newText, newReadonly := page.Text != old.page.Text, page.Readonly != old.page.Readonly
	switch {
	case !old.found && page.Text == "" && (e.Text == nil || page.Readonly):
		return nil, fmt.Errorf("page %.100q: %w", e.Name, tracbus.ErrNotFound)
	case newText && !own:
		page.Version++
		err = insertVersion(ctx, tx, page, old.ipnr)
	case own && (newText || page.Comment != old.page.Comment):
		err = replaceVersion(ctx, tx, page)
	case !newReadonly:
		return nil, nil
	}
	if err == nil && newReadonly && !newText {
		_, err = tablesOf(tx).Exec(ctx, `UPDATE {wiki} SET readonly = ? WHERE name = ?`, readonly(page), page.Name)
		if err == nil {
			err = stillNewest(ctx, tx, page.Name, page.Version)
		}
	}
	if err == nil {
		err = invalidatePages(ctx, tx, page.Version == 1, page.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("page %.100q: %w", e.Name, err)
	}
	if page.Version > old.page.Version {
		tx.Keep(e.Resource())
	}
	return changeOf(old, page), nil
}

// applied returns p with the edit's fields.
func (e PageEdit) applied(p tracbus.WikiPage, own bool) tracbus.WikiPage {
	if e.Text != nil {
		p.Text = value.Text(*e.Text)
	}
	if e.Readonly != nil {
		p.Readonly = *e.Readonly
	}
	if !own || e.Comment != "" {
		p.Comment = value.Text(e.Comment)
	}
	return p
}

// changeOf returns the event. After a change of readonly alone, the page has the
// author, time and comment of that change, as in Trac's own notification, although
// no row has them.
func changeOf(old pageRow, page tracbus.WikiPage) tracbus.Event {
	c := tracbus.Change{Comment: page.Comment}
	if page.Version == 1 && old.page.Version == 0 {
		return tracbus.WikiPageCreated{Change: c, Page: page}
	}
	if old.null.Has(tracbus.AttrText) {
		c.Null = tracbus.AttrOldText
		if page.Text == "" {
			c.Null |= tracbus.AttrText
		}
	}
	return tracbus.WikiPageChanged{Change: c, Page: page, OldText: old.page.Text}
}

// Delete implements [tracbus.Model].
func (e PageEdit) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	old, err := newestPage(ctx, tx, e.Name)
	if err != nil {
		return nil, err
	}
	if !old.exists() {
		return nil, fmt.Errorf("page %.100q: %w", e.Name, tracbus.ErrNotFound)
	}
	if err := e.checkBase(old, old.madeBy(tx)); err != nil {
		return nil, err
	}
	if _, err := tablesOf(tx).Exec(ctx, `DELETE FROM {wiki} WHERE name = ? AND version <= ?`, old.page.Name, old.page.Version); err != nil {
		return nil, fmt.Errorf("page %.100q: %w", e.Name, err)
	}
	if err := stillNewest(ctx, tx, e.Name, 0); err != nil {
		return nil, fmt.Errorf("page %.100q: %w", e.Name, err)
	}
	return pageGone(ctx, tx, old, e.Comment)
}

// stillNewest returns ErrConflict if Trac, which takes no locks, has added a
// version since the newest was read: the event would not be true.
func stillNewest(ctx context.Context, tx *tracbus.ModelTransaction, name string, version int64) error {
	row, err := newestPage(ctx, tx, name)
	if err == nil && row.page.Version != version {
		err = fmt.Errorf("version %d came: %w", row.page.Version, tracbus.ErrConflict)
	}
	return err
}

// pageGone does the rest after a page's last row was deleted, and returns the
// event.
func pageGone(ctx context.Context, tx *tracbus.ModelTransaction, last pageRow, comment string) (tracbus.Event, error) {
	err := invalidatePages(ctx, tx, true, last.page.Name)
	if err == nil {
		err = deleteAttachments(ctx, tx, tracbus.PageResource(last.page.Name))
	}
	if err != nil {
		return nil, fmt.Errorf("page %.100q: %w", last.page.Name, err)
	}
	return tracbus.WikiPageDeleted{Change: tracbus.Change{Comment: value.Text(comment), Null: last.null}, Page: last.page}, nil
}

// checkBase returns ErrConflict unless the user saw the newest version, or the
// one before if this transaction made the newest.
func (e PageEdit) checkBase(old pageRow, own bool) error {
	base := max(e.Base, 0)
	if e.Base == 0 || base == old.page.Version || own && base == old.page.Version-1 {
		return nil
	}
	return fmt.Errorf("page %.100q: version %d is the newest, the edit is of %d: %w", e.Name, old.page.Version, base, tracbus.ErrConflict)
}

// madeBy says whether r is a version that tx made, which nothing but its time shows if its
// text is that of the version before again.
func (r pageRow) madeBy(tx *tracbus.ModelTransaction) bool {
	entry, ok := tx.Pending(tracbus.PageResource(r.page.Name))
	return ok && r.found && (entry.Kind == tracbus.KindCreated || entry.Kind == tracbus.KindChanged && r.page.Time.Equal(tx.Time())) &&
		entry.NewState()["version"] == value.Int(r.page.Version)
}

func insertVersion(ctx context.Context, tx *tracbus.ModelTransaction, p tracbus.WikiPage, ipnr bool) error {
	statement := `INSERT INTO {wiki} (name, version, time, author, text, comment, readonly) VALUES (?, ?, ?, ?, ?, ?, ?)`
	args := []any{p.Name, p.Version, p.Time.UnixMicro(), p.Author, p.Text, p.Comment, readonly(p)}
	if ipnr {
		statement = `INSERT INTO {wiki} (name, version, time, author, text, comment, readonly, ipnr) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
		args = append(args, value.Text(tx.Actor().IPNR))
	}
	_, err := tablesOf(tx).Exec(ctx, statement, args...)
	return nameRefused(ctx, tx, p.Name, p.Version, err)
}

func replaceVersion(ctx context.Context, tx *tracbus.ModelTransaction, p tracbus.WikiPage) error {
	_, err := tablesOf(tx).Exec(ctx, `UPDATE {wiki} SET text = ?, comment = ?, readonly = ? WHERE name = ? AND version = ?`,
		p.Text, p.Comment, readonly(p), p.Name, p.Version)
	return err
}

// readonly returns Readonly as Trac stores it.
func readonly(p tracbus.WikiPage) int {
	if p.Readonly {
		return 1
	}
	return 0
}

// tracAuthor returns the author as Trac stores it: somebody without a name is
// "anonymous".
func tracAuthor(tx *tracbus.ModelTransaction) string {
	return cmp.Or(value.Text(tx.Actor().Author), "anonymous")
}

// invalidatePages makes running Tracs drop what they cache of pages, and if names
// is true, the names of all pages. The caches are always locked in this order, so
// that two transactions do not wait for each other.
func invalidatePages(ctx context.Context, tx *tracbus.ModelTransaction, names bool, pages ...string) error {
	if names {
		if err := invalidateTracCache(ctx, tx, tracPagesCache); err != nil {
			return err
		}
	}
	if slices.Contains(pages, "InterMapTxt") {
		return invalidateTracCache(ctx, tx, tracInterWikiCache)
	}
	return nil
}
