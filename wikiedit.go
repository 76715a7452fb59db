package tracbus

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/tracbus/tracbus/internal/value"
)

// NewPage is the Base of a [WikiEdit] by a user who saw that there is no page.
const NewPage int64 = -1

// WikiEdit is a [Model]: it creates, changes or deletes a page in Trac's table
// wiki, as Trac itself would. What is nil stays as it is:
//
//	tx.Save(ctx, tracbus.WikiEdit{Name: "WikiStart", Text: new("Welcome"), Base: 3})
//
// Text makes a new version; Readonly alone makes none, and holds for all
// versions of a page that exists. Where neither is different, nothing is stored
// and nothing told, whatever the Comment. A second Save in one transaction goes
// into the version that the first one made.
//
// Save returns [ErrNotFound] for an edit without text of a page that does not
// exist: Trac cannot store that either.
//
// Delete deletes all versions, and the page's rows of Trac's table attachment.
// The attached files stay in Trac's folder, under
// files/attachments/wiki/<first 3 digits of hash>/<hash>, hash being the
// name's SHA-1: Trac deletes them, this library cannot.
//
// As in Trac, those who create, rename or delete pages wait for each other. A
// transaction that does so and changes other pages too should lock all of them
// first, with [ModelTransaction.Lock]; two could wait for each other otherwise,
// and the database would have to end one.
type WikiEdit struct {
	Name     string
	Text     *string
	Readonly *bool

	// Comment says why, in the new version and in the event.
	Comment string

	// Base is the newest version that the user saw, or [NewPage]: another
	// newest version is an [ErrConflict]. Zero means that any will do.
	Base int64
}

// Resource returns the page.
func (e WikiEdit) Resource() Resource { return PageResource(e.Name) }

// Save implements [Model].
func (e WikiEdit) Save(ctx context.Context, tx *ModelTransaction) (Event, error) {
	old, err := newestPage(ctx, tx, e.Name)
	if err != nil {
		return nil, err
	}
	own := old.madeBy(tx)
	if err := e.checkBase(old, own); err != nil {
		return nil, err
	}
	page := e.applied(old.WikiPage, own)
	page.Author, page.Time = tracAuthor(tx), tx.Time()

	newText, newReadonly := page.Text != old.Text, page.Readonly != old.Readonly
	switch {
	case !old.found && page.Text == "" && (e.Text == nil || page.Readonly):
		return nil, fmt.Errorf("page %.100q: %w", e.Name, ErrNotFound)
	case newText && !own:
		page.Version++
		err = insertVersion(ctx, tx, page, old.ipnr)
	case own && (newText || page.Comment != old.Comment):
		err = replaceVersion(ctx, tx, page)
	case !newReadonly:
		return nil, nil
	}
	if err == nil && newReadonly && !newText {
		_, err = tx.exec(ctx, `UPDATE {wiki} SET readonly = ? WHERE name = ?`, page.readonly(), page.Name)
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
	if page.Version > old.Version {
		tx.Keep(e.Resource())
	}
	return changeOf(old, page), nil
}

// applied returns p with the edit's fields.
func (e WikiEdit) applied(p WikiPage, own bool) WikiPage {
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

// changeOf tells of page. Of a change of readonly alone, the page's author, time
// and comment are the change's, as Trac tells it, although no row says so.
func changeOf(old pageRow, page WikiPage) Event {
	c := Change{Comment: page.Comment}
	if page.Version == 1 && old.Version == 0 {
		return WikiPageCreated{c, page}
	}
	if old.null.Has(AttrText) {
		c.Null = AttrOldText
		if page.Text == "" {
			c.Null |= AttrText
		}
	}
	return WikiPageChanged{c, page, old.Text}
}

// Delete implements [Model].
func (e WikiEdit) Delete(ctx context.Context, tx *ModelTransaction) (Event, error) {
	old, err := newestPage(ctx, tx, e.Name)
	if err != nil {
		return nil, err
	}
	if !old.exists() {
		return nil, fmt.Errorf("page %.100q: %w", e.Name, ErrNotFound)
	}
	if err := e.checkBase(old, old.madeBy(tx)); err != nil {
		return nil, err
	}
	if _, err := tx.exec(ctx, `DELETE FROM {wiki} WHERE name = ? AND version <= ?`, old.Name, old.Version); err != nil {
		return nil, fmt.Errorf("page %.100q: %w", e.Name, err)
	}
	if err := stillNewest(ctx, tx, e.Name, 0); err != nil {
		return nil, fmt.Errorf("page %.100q: %w", e.Name, err)
	}
	return pageGone(ctx, tx, old, e.Comment)
}

// stillNewest returns ErrConflict where Trac, which locks nothing, added a
// version since the newest was read: what is told of that one would not be true.
func stillNewest(ctx context.Context, tx *ModelTransaction, name string, version int64) error {
	row, err := newestPage(ctx, tx, name)
	if err == nil && row.Version != version {
		err = fmt.Errorf("version %d came: %w", row.Version, ErrConflict)
	}
	return err
}

// pageGone does what is left to do after a page's last row was deleted, and
// returns the event.
func pageGone(ctx context.Context, tx *ModelTransaction, last pageRow, comment string) (Event, error) {
	err := invalidatePages(ctx, tx, true, last.Name)
	if err == nil {
		err = withAttachments(ctx, tx, `DELETE FROM {attachment} WHERE type = 'wiki' AND id = ?`, last.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("page %.100q: %w", last.Name, err)
	}
	return WikiPageDeleted{Change{Comment: value.Text(comment), Null: last.null}, last.WikiPage}, nil
}

// checkBase returns ErrConflict unless the user saw the newest version, or the
// one before, where this transaction made the newest.
func (e WikiEdit) checkBase(old pageRow, own bool) error {
	base := max(e.Base, 0)
	if e.Base == 0 || base == old.Version || own && base == old.Version-1 {
		return nil
	}
	return fmt.Errorf("page %.100q: version %d is the newest, the edit is of %d: %w", e.Name, old.Version, base, ErrConflict)
}

// madeBy says whether r is a version that tx made.
func (r pageRow) madeBy(tx *ModelTransaction) bool {
	entry, ok := tx.Pending(PageResource(r.Name))
	_, newText := entry.New[textField]
	return ok && r.found && (entry.Kind == KindCreated || entry.Kind == KindChanged && newText) &&
		entry.NewState()[versionField] == value.Int(r.Version)
}

func insertVersion(ctx context.Context, tx *ModelTransaction, p WikiPage, ipnr bool) error {
	statement := `INSERT INTO {wiki} (name, version, time, author, text, comment, readonly) VALUES (?, ?, ?, ?, ?, ?, ?)`
	args := []any{p.Name, p.Version, p.Time.UnixMicro(), p.Author, p.Text, p.Comment, p.readonly()}
	if ipnr {
		statement = `INSERT INTO {wiki} (name, version, time, author, text, comment, readonly, ipnr) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
		args = append(args, value.Text(tx.Actor().IPNR))
	}
	_, err := tx.exec(ctx, statement, args...)
	return orConflict(err)
}

func replaceVersion(ctx context.Context, tx *ModelTransaction, p WikiPage) error {
	_, err := tx.exec(ctx, `UPDATE {wiki} SET text = ?, comment = ?, readonly = ? WHERE name = ? AND version = ?`,
		p.Text, p.Comment, p.readonly(), p.Name, p.Version)
	return err
}

// readonly returns what Trac stores.
func (p WikiPage) readonly() int {
	if p.Readonly {
		return 1
	}
	return 0
}

// tracAuthor returns the author as Trac has it of somebody without a name.
func tracAuthor(tx *ModelTransaction) string {
	return cmp.Or(value.Text(tx.Actor().Author), "anonymous")
}

// invalidatePages makes running Tracs forget what they know of pages, and if
// need be of the names of all pages. The caches always come in this order, so
// that two transactions do not wait for each other.
func invalidatePages(ctx context.Context, tx *ModelTransaction, names bool, pages ...string) error {
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

// withAttachments runs a statement on Trac's table attachment, if there is one.
func withAttachments(ctx context.Context, tx *ModelTransaction, statement string, args ...any) error {
	ok, err := hasTracTable(ctx, tx, "attachment")
	if ok && err == nil {
		_, err = tx.exec(ctx, statement, args...)
	}
	return err
}
