package tracbus

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// Pages is the [JournalRealm] of pages. The events are the same whether
// trac.PageEdit wrote the page to Trac's table, or the application wrote it
// elsewhere and reports it with [ModelTransaction.Record].
type Pages struct{}

// Realm returns [RealmWiki].
func (Pages) Realm() Realm { return RealmWiki }

// The fields of an entry. Those of a page are Trac's columns; name and text are
// among the changed ones of the event that changes them.
const (
	nameField     = "name"
	versionField  = "version"
	timeField     = "time"
	authorField   = "author"
	textField     = "text"
	commentField  = "comment"
	readonlyField = "readonly"
)

// Entry implements [Recordable].
func (e WikiPageCreated) Entry() Entry {
	return pageEntry(e, e.Page).with(textField, e.Page.Text)
}

// Entry implements [Recordable]. A text that changed is in New and Old only.
func (e WikiPageChanged) Entry() Entry {
	return pageEntry(e, e.Page).changed(textField, e.OldText, e.Page.Text)
}

// Entry implements [Recordable].
func (e WikiPageDeleted) Entry() Entry {
	return pageEntry(e, e.Page).with(textField, e.Page.Text)
}

// Entry implements [Recordable].
func (e WikiPageRenamed) Entry() Entry {
	return pageEntry(e, e.Page).with(textField, e.Page.Text).changed(nameField, e.OldName, e.Page.Name)
}

// Entry implements [Recordable].
func (e WikiPageVersionDeleted) Entry() Entry {
	return pageEntry(e, e.Page).with(textField, e.Page.Text)
}

// Entry implements [Recordable].
func (e WikiPageCommentEdited) Entry() Entry {
	entry := pageEntry(e, e.Page).with(textField, e.Page.Text)
	delete(entry.State, commentField)
	return entry.changed(commentField, e.OldComment, e.Page.Comment)
}

// pageEntry returns an entry with all of the page but its name, which is the
// resource's, and its text.
func pageEntry(e Event, p WikiPage) Entry {
	var when any
	if !p.Time.IsZero() {
		when = p.Time
	}
	return Entry{Resource: e.Resource(), Kind: e.Kind(), Change: e.About(), State: Fields{
		versionField:  value.Int(p.Version),
		timeField:     when,
		authorField:   p.Author,
		commentField:  p.Comment,
		readonlyField: p.Readonly,
	}}
}

func (e Entry) with(field string, v any) Entry {
	e.State[field] = v
	return e
}

// changed puts a field into New and Old, or into State if it did not change.
func (e Entry) changed(field string, before, after any) Entry {
	if before == after {
		return e.with(field, after)
	}
	e.New, e.Old = Fields{field: after}, Fields{field: before}
	return e
}

// Event implements [JournalRealm].
func (Pages) Event(entry Entry) (Event, error) {
	r := entryReader{entry: entry, all: entry.NewState()}
	e := r.event()
	if r.err != nil {
		return nil, fmt.Errorf("%s %s: %w", entry.Kind, entry.Resource, r.err)
	}
	return e, nil
}

// entryReader reads the fields of an entry and keeps the first error.
type entryReader struct {
	entry Entry
	all   Fields
	err   error
}

func (r *entryReader) event() Event {
	if r.entry.Resource.Realm != RealmWiki {
		r.err = fmt.Errorf("expected an entry of realm %q", RealmWiki)
		return nil
	}
	c, page := r.entry.Change, r.page()
	switch r.entry.Kind {
	case KindCreated:
		return WikiPageCreated{c, page}
	case KindChanged:
		return WikiPageChanged{c, page, r.before(textField)}
	case KindDeleted:
		return WikiPageDeleted{c, page}
	case KindRenamed:
		return WikiPageRenamed{c, page, r.before(nameField)}
	case KindVersionDeleted:
		return WikiPageVersionDeleted{c, page}
	case KindCommentEdited:
		return WikiPageCommentEdited{c, page, r.before(commentField)}
	}
	r.err = fmt.Errorf("expected a kind that pages have")
	return nil
}

func (r *entryReader) page() WikiPage {
	p := WikiPage{
		Name:     r.entry.Resource.ID,
		Text:     valueAs[string](r, r.all, textField),
		Readonly: valueAs[bool](r, r.all, readonlyField),
		Author:   valueAs[string](r, r.all, authorField),
		Comment:  valueAs[string](r, r.all, commentField),
	}
	if r.all[timeField] != nil {
		p.Time = valueAs[time.Time](r, r.all, timeField)
	}
	var err error
	p.Version, err = strconv.ParseInt(string(valueAs[json.Number](r, r.all, versionField)), 10, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("field %q: %w", versionField, err)
	}
	return p
}

// before returns what a text was before the change.
func (r *entryReader) before(field string) string {
	if _, changed := r.entry.New[field]; changed {
		return valueAs[string](r, r.entry.Old, field)
	}
	return valueAs[string](r, r.all, field)
}

func valueAs[T any](r *entryReader, f Fields, field string) T {
	v, ok := f[field].(T)
	if !ok && r.err == nil {
		r.err = fmt.Errorf("field %q: expected a %T, found %T", field, v, f[field])
	}
	return v
}

// decodePage returns the event of a channel of pages. Who changed a page, when
// and with what words, its payload says as part of the version.
func decodePage(c Change, kind Kind, members []value.Member) (e Event, err error) {
	p := wire.Reader{Members: members}
	page := WikiPage{
		Name:     p.Text("name", 0),
		Version:  p.Int("version", wire.Version),
		Time:     p.Time("time", wire.Time),
		Author:   p.Text("author", wire.Author),
		Text:     p.Text("text", wire.Text),
		Comment:  p.Text("comment", wire.Comment),
		Readonly: p.Bool("readonly", wire.Readonly),
	}
	if err := ValidatePageName(page.Name); err != nil {
		p.Fail("%w", err)
	}
	if page.Version < 0 {
		p.Fail("member %q: expected 0 or more, found %d", "version", page.Version)
	}
	if kind == KindCreated || kind == KindChanged {
		c.Time, c.Author, c.Comment = page.Time, page.Author, page.Comment
	}
	switch kind {
	case KindCreated:
		e = WikiPageCreated{c, page}
	case KindChanged:
		e = WikiPageChanged{c, page, p.Text("old_text", wire.OldText)}
	case KindDeleted:
		e = WikiPageDeleted{c, page}
	case KindRenamed:
		e = WikiPageRenamed{c, page, p.Text("old_name", 0)}
	case KindVersionDeleted:
		e = WikiPageVersionDeleted{c, page}
	case KindCommentEdited:
		e = WikiPageCommentEdited{c, page, p.Text("old_comment", wire.OldText)}
	default:
		return nil, ErrUnknownChannel
	}
	c.Null, c.Absent = c.Null|Attrs(p.Null), c.Absent|Attrs(p.Absent)
	return e.WithChange(c), p.Err
}
