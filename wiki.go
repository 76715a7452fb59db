package tracbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/wire"
)

// WikiPage is one version of a page.
type WikiPage struct {
	Name     string
	Version  int64 // from 1; 0 of a page that has no text yet, but is read-only
	Text     string
	Readonly bool

	// Who made this version, when, and what was said of it. In the events that
	// tell of that very version, the bus takes what is zero here from the
	// event's Change, and the other way round.
	Time    time.Time
	Author  string
	Comment string
}

// WikiPageCreated tells that a page was created (Trac's wiki_page_added).
type WikiPageCreated struct {
	Change
	Page WikiPage
}

// WikiPageChanged tells that a page got a new version, or became read-only or
// writable (Trac's wiki_page_changed).
type WikiPageChanged struct {
	Change
	Page    WikiPage
	OldText string // of the version before
}

// WikiPageDeleted tells that a page was deleted with all its versions (Trac's
// wiki_page_deleted). Page is the last version as it was.
type WikiPageDeleted struct {
	Change
	Page WikiPage
}

// WikiListener is told of every change of a page. The bus calls it as it calls
// a [TicketListener].
type WikiListener interface {
	WikiPageCreated(context.Context, WikiPageCreated) error
	WikiPageChanged(context.Context, WikiPageChanged) error
	WikiPageDeleted(context.Context, WikiPageDeleted) error
}

// Wiki registers l for every change of a page, and starts a goroutine that
// calls it; see [Bus] for who ends it. Where l is also a [WikiRenameListener],
// [WikiVersionListener], [WikiCommentListener], [ResyncListener] or
// [BatchListener], it is told in these ways too.
func (b *Bus) Wiki(scope Scope, l WikiListener) *Registration {
	return b.register(scope, l, wikiHandler{l})
}

// wikiHandler is the one place that asks a listener what it can be told.
type wikiHandler struct{ WikiListener }

func (h wikiHandler) wants(e Event) (ok bool) {
	switch e.(type) {
	case WikiPageCreated, WikiPageChanged, WikiPageDeleted:
		return true
	case WikiPageRenamed:
		_, ok = h.WikiListener.(WikiRenameListener)
	case WikiPageVersionDeleted:
		_, ok = h.WikiListener.(WikiVersionListener)
	case WikiPageCommentEdited:
		_, ok = h.WikiListener.(WikiCommentListener)
	}
	return ok
}

func (h wikiHandler) tell(ctx context.Context, e Event) error {
	switch e := e.(type) {
	case WikiPageCreated:
		return h.WikiPageCreated(ctx, e)
	case WikiPageChanged:
		return h.WikiPageChanged(ctx, e)
	case WikiPageDeleted:
		return h.WikiPageDeleted(ctx, e)
	case WikiPageRenamed:
		return h.WikiListener.(WikiRenameListener).WikiPageRenamed(ctx, e)
	case WikiPageVersionDeleted:
		return h.WikiListener.(WikiVersionListener).WikiPageVersionDeleted(ctx, e)
	case WikiPageCommentEdited:
		return h.WikiListener.(WikiCommentListener).WikiPageCommentEdited(ctx, e)
	}
	return nil
}

// Page returns the page with a name as a [Resource].
func Page(name string) Resource { return Resource{WikiRealm, name} }

// Resource returns the page.
func (e WikiPageCreated) Resource() Resource { return Page(e.Page.Name) }

// Resource returns the page.
func (e WikiPageChanged) Resource() Resource { return Page(e.Page.Name) }

// Resource returns the page.
func (e WikiPageDeleted) Resource() Resource { return Page(e.Page.Name) }

// Kind returns [Created].
func (WikiPageCreated) Kind() Kind { return Created }

// Kind returns [Changed].
func (WikiPageChanged) Kind() Kind { return Changed }

// Kind returns [Deleted].
func (WikiPageDeleted) Kind() Kind { return Deleted }

// WithChange implements [Event].
func (e WikiPageCreated) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e WikiPageChanged) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e WikiPageDeleted) WithChange(c Change) Event { e.Change = c; return e }

// ErrPageName is returned, wrapped, for a page name that Trac refuses.
var ErrPageName = errors.New("not a page name")

// CheckPageName returns nil for a name that Trac gives to pages: its parts,
// between slashes, are neither empty nor "." nor ".." (validate_page_name of
// Trac 1.0 to 1.6). Spaces, dots, stars and even newlines are fine.
func CheckPageName(name string) error {
	if text(name) != name {
		return fmt.Errorf("page name %.100q: %w: it is not valid UTF-8", name, ErrPageName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("page name %.100q: %w: it has a part %q", name, ErrPageName, part)
		}
	}
	return nil
}

func (e WikiPageCreated) entering() (_ Event, err error) {
	e.Change, e.Page, err = same(e.Change, e.Page)
	return e, err
}

func (e WikiPageChanged) entering() (_ Event, err error) {
	e.OldText = text(e.OldText)
	e.Change, e.Page, err = same(e.Change, e.Page)
	return e, err
}

func (e WikiPageDeleted) entering() (_ Event, err error) {
	e.Page, err = e.Page.entering()
	return e, err
}

func (p WikiPage) entering() (WikiPage, error) {
	if err := CheckPageName(p.Name); err != nil {
		return p, err
	}
	if p.Version < 0 {
		return p, fmt.Errorf("version %d of page %.100q: expected 0 or more", p.Version, p.Name)
	}
	p.Text, p.Author, p.Comment = text(p.Text), text(p.Author), text(p.Comment)
	var err error
	if p.Time, err = enteringTime(p.Time); err != nil {
		return p, fmt.Errorf("page %.100q: %w", p.Name, err)
	}
	return p, nil
}

// same fills in what a change and the version it made have in common.
func same(c Change, p WikiPage) (Change, WikiPage, error) {
	if c.Time.IsZero() {
		c.Time = p.Time
	}
	c.Time = c.when()
	if p.Time.IsZero() {
		p.Time = c.Time
	}
	c.Author, p.Author = orDefault(c.Author, p.Author), orDefault(p.Author, c.Author)
	c.Comment, p.Comment = orDefault(c.Comment, p.Comment), orDefault(p.Comment, c.Comment)
	p, err := p.entering()
	return c, p, err
}

func (e WikiPageCreated) appendPayload(dst []byte, _ bool) ([]byte, error) {
	return append(appendPage(dst, e.Page, e.Change), '}'), nil
}

func (e WikiPageChanged) appendPayload(dst []byte, _ bool) ([]byte, error) {
	dst = appendPage(dst, e.Page, e.Change)
	dst = appendText(dst, "old_text", e.OldText, e.Change, OldTextPart)
	return append(dst, '}'), nil
}

func (e WikiPageDeleted) appendPayload(dst []byte, _ bool) ([]byte, error) {
	return append(appendPage(dst, e.Page, e.Change), '}'), nil
}

func (e WikiPageRenamed) appendPayload(dst []byte, _ bool) ([]byte, error) {
	dst = appendPage(dst, e.Page, e.Change)
	dst = appendText(dst, "old_name", e.OldName, Change{}, 0)
	return append(dst, '}'), nil
}

func (e WikiPageVersionDeleted) appendPayload(dst []byte, _ bool) ([]byte, error) {
	return append(appendPage(dst, e.Page, e.Change), '}'), nil
}

func (e WikiPageCommentEdited) appendPayload(dst []byte, _ bool) ([]byte, error) {
	dst = appendPage(dst, e.Page, e.Change)
	dst = appendText(dst, "old_comment", e.OldComment, e.Change, OldTextPart)
	return append(dst, '}'), nil
}

// appendPage writes a page without the closing brace.
func appendPage(dst []byte, p WikiPage, c Change) []byte {
	dst = append(dst, `{"name":`...)
	dst = wire.AppendString(dst, p.Name)
	dst = appendNumber(dst, "version", p.Version, c, VersionPart)
	if !c.Absent.Has(TimePart) {
		dst = appendTime(dst, "time", p.Time)
	}
	dst = appendText(dst, "author", p.Author, c, AuthorPart)
	dst = appendText(dst, "text", p.Text, c, TextPart)
	dst = appendText(dst, "comment", p.Comment, c, CommentPart)
	readonly := int64(0)
	if p.Readonly {
		readonly = 1
	}
	return appendNumber(dst, "readonly", readonly, c, ReadonlyPart)
}

// decodePage returns the event of a channel of pages. Who changed a page, when
// and with what words, its payload says as part of the version.
func decodePage(c Change, kind Kind, members []wire.Member) (e Event, err error) {
	p := parts{members: members}
	page := WikiPage{
		Name:     p.text("name", 0),
		Version:  p.integer("version", VersionPart),
		Time:     p.time("time", TimePart),
		Author:   p.text("author", AuthorPart),
		Text:     p.text("text", TextPart),
		Comment:  p.text("comment", CommentPart),
		Readonly: p.bool("readonly", ReadonlyPart),
	}
	if err := CheckPageName(page.Name); err != nil {
		p.fail("%w", err)
	}
	if page.Version < 0 {
		p.fail("member %q: expected 0 or more, found %d", "version", page.Version)
	}
	if kind == Created || kind == Changed {
		c.Time, c.Author, c.Comment = page.Time, page.Author, page.Comment
	}
	switch kind {
	case Created:
		e = WikiPageCreated{c, page}
	case Changed:
		e = WikiPageChanged{c, page, p.text("old_text", OldTextPart)}
	case Deleted:
		e = WikiPageDeleted{c, page}
	case Renamed:
		e = WikiPageRenamed{c, page, p.text("old_name", 0)}
	case VersionDeleted:
		e = WikiPageVersionDeleted{c, page}
	case CommentEdited:
		e = WikiPageCommentEdited{c, page, p.text("old_comment", OldTextPart)}
	default:
		return nil, ErrUnknownChannel
	}
	c.Null, c.Absent = c.Null|p.null, c.Absent|p.absent
	return e.WithChange(c), p.err
}
