package tracbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// WikiPage is one version of a page. What an event leaves zero, the bus fills in by the same rules
// under all kinds, unless the event's Null or Absent says that nobody knows it. So a tracker
// without versions gives Name and Text, and says who and when in the transaction alone.
type WikiPage struct {
	Name string

	// Version counts from 1. Zero means that the tracker counts none, which is [AttrVersion] in
	// Null; but 0 of a page that has no text, and was not created just now, is a number: Trac's of
	// a page that is read-only before it is written.
	Version  int64
	Text     string
	Readonly bool

	// Who made this version, when, and what was said of it. In [WikiPageCreated] and
	// [WikiPageChanged] the bus takes what is zero here from the event's Change, and the other way
	// round. In the others a Time of zero, with an empty Author, becomes that of the Change.
	Time    time.Time
	Author  string
	Comment string
}

// WikiPageCreated says that a page was created (Trac's wiki_page_added).
type WikiPageCreated struct {
	Change
	Page WikiPage
}

// WikiPageChanged says that a page got a new version, or became read-only or
// writable (Trac's wiki_page_changed).
type WikiPageChanged struct {
	Change
	Page    WikiPage
	OldText string // of the version before
}

// WikiPageDeleted says that a page was deleted with all its versions (Trac's
// wiki_page_deleted). Page is the last version as it was.
type WikiPageDeleted struct {
	Change
	Page WikiPage
}

// The kinds of the rarer events of pages; [KindCommentEdited] is another.
const (
	KindRenamed        Kind = wire.Renamed        // of [WikiPageRenamed]
	KindVersionDeleted Kind = wire.VersionDeleted // of [WikiPageVersionDeleted]
)

// WikiPageRenamed says that a page has a new name (Trac's wiki_page_renamed).
// Page is its last version under that name.
type WikiPageRenamed struct {
	Change
	Page    WikiPage
	OldName string
}

// WikiPageVersionDeleted says that one version of a page was deleted (Trac's
// wiki_page_version_deleted). Page is the version that is gone.
type WikiPageVersionDeleted struct {
	Change
	Page WikiPage
}

// WikiPageCommentEdited says that the comment of a version was edited (Trac's
// wiki_page_comment_modified). Page has the new comment.
type WikiPageCommentEdited struct {
	Change
	Page       WikiPage
	OldComment string
}

// WikiListener is called with every change of a page, in the same way as a
// [TicketListener].
type WikiListener interface {
	WikiPageCreated(context.Context, WikiPageCreated) error
	WikiPageChanged(context.Context, WikiPageChanged) error
	WikiPageDeleted(context.Context, WikiPageDeleted) error
}

// WikiPageRenamedListener is a [WikiListener] that is called with renamed pages as
// well.
type WikiPageRenamedListener interface {
	WikiPageRenamed(context.Context, WikiPageRenamed) error
}

// WikiPageVersionDeletedListener is a [WikiListener] that is called with deleted
// versions as well.
type WikiPageVersionDeletedListener interface {
	WikiPageVersionDeleted(context.Context, WikiPageVersionDeleted) error
}

// WikiPageCommentEditedListener is a [WikiListener] that is called with edited
// comments as well.
type WikiPageCommentEditedListener interface {
	WikiPageCommentEdited(context.Context, WikiPageCommentEdited) error
}

// Wiki registers l for every change of a page, and starts a goroutine that
// calls it; see [Bus] for who ends it. If l is also a [WikiPageRenamedListener],
// [WikiPageVersionDeletedListener], [WikiPageCommentEditedListener], [LoadListener],
// [ResyncListener] or [BatchListener], it is called as that too.
func (b *Bus) Wiki(scope Scope, l WikiListener) *Registration {
	h := wikiHandler{l}
	return b.register(scope, l, h.wants, h.deliver)
}

// wikiHandler is the one place that asks a listener which events it takes.
type wikiHandler struct{ WikiListener }

func (h wikiHandler) wants(e Event) (ok bool) {
	switch e.(type) {
	case WikiPageCreated, WikiPageChanged, WikiPageDeleted:
		return true
	case WikiPageRenamed:
		_, ok = h.WikiListener.(WikiPageRenamedListener)
	case WikiPageVersionDeleted:
		_, ok = h.WikiListener.(WikiPageVersionDeletedListener)
	case WikiPageCommentEdited:
		_, ok = h.WikiListener.(WikiPageCommentEditedListener)
	}
	return ok
}

func (h wikiHandler) deliver(ctx context.Context, e Event) error {
	switch e := e.(type) {
	case WikiPageCreated:
		return h.WikiPageCreated(ctx, e)
	case WikiPageChanged:
		return h.WikiPageChanged(ctx, e)
	case WikiPageDeleted:
		return h.WikiPageDeleted(ctx, e)
	case WikiPageRenamed:
		return h.WikiListener.(WikiPageRenamedListener).WikiPageRenamed(ctx, e)
	case WikiPageVersionDeleted:
		return h.WikiListener.(WikiPageVersionDeletedListener).WikiPageVersionDeleted(ctx, e)
	case WikiPageCommentEdited:
		return h.WikiListener.(WikiPageCommentEditedListener).WikiPageCommentEdited(ctx, e)
	}
	return nil
}

// ErrInvalidPageName is returned, wrapped, for a page name that Trac refuses.
var ErrInvalidPageName = errors.New("not a page name")

// ValidatePageName returns nil for a name that Trac gives to pages: its parts,
// between slashes, are neither empty nor "." nor ".." (validate_page_name of
// Trac 1.0 to 1.6). Spaces, dots, stars and even newlines are fine.
func ValidatePageName(name string) error {
	if value.Text(name) != name {
		return fmt.Errorf("page name %.100q: %w: it is not valid UTF-8", name, ErrInvalidPageName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("page name %.100q: %w: it has a part %q", name, ErrInvalidPageName, part)
		}
	}
	return nil
}

func (e WikiPageCreated) normalized(c Change) (_ Event, err error) {
	e.Change, e.Page, err = same(e.Change, c, e.Page)
	e.Null |= e.Page.unnumbered(e.Change, true)
	return e, err
}

func (e WikiPageChanged) normalized(c Change) (_ Event, err error) {
	e.OldText = value.Text(e.OldText)
	e.Change, e.Page, err = same(e.Change, c, e.Page)
	e.Null |= e.Page.unnumbered(e.Change, false)
	return e, err
}

func (e WikiPageDeleted) normalized(c Change) (_ Event, err error) {
	e.Change, e.Page, err = beside(c, e.Page)
	return e, err
}

func (p WikiPage) normalized() (WikiPage, error) {
	if err := ValidatePageName(p.Name); err != nil {
		return p, err
	}
	if p.Version < 0 {
		return p, fmt.Errorf("version %d of page %.100q: expected 0 or more", p.Version, p.Name)
	}
	p.Text, p.Author, p.Comment = value.Text(p.Text), value.Text(p.Author), value.Text(p.Comment)
	var err error
	if p.Time, err = value.Time(p.Time); err != nil {
		return p, fmt.Errorf("page %.100q: %w", p.Name, err)
	}
	return p, nil
}

// same fills in what a change, which was said and is c now, and the version it made
// have in common.
func same(said, c Change, p WikiPage) (Change, WikiPage, error) {
	p, err := p.normalized()
	if p.Time.IsZero() {
		p.Time = c.Time
	} else if said.Time.IsZero() {
		c.Time = p.Time
	}
	c.Author, p.Author = cmp.Or(c.Author, p.Author), cmp.Or(p.Author, c.Author)
	c.Comment, p.Comment = cmp.Or(c.Comment, p.Comment), cmp.Or(p.Comment, c.Comment)
	return c, p, err
}

// beside fills in what nobody has said of a version which another change than c made.
func beside(c Change, p WikiPage) (Change, WikiPage, error) {
	p, err := p.normalized()
	unknown := c.Null | c.Absent
	if p.Time.IsZero() && !unknown.Has(AttrTime) {
		p.Time = c.Time
		if !unknown.Has(AttrAuthor) {
			p.Author = cmp.Or(p.Author, c.Author)
		}
	}
	c.Null |= p.unnumbered(c, false)
	return c, p, err
}

// unnumbered returns AttrVersion if the tracker has no number for a version. What a message
// says, which has no origin, stays as it is.
func (p WikiPage) unnumbered(c Change, created bool) Attrs {
	if p.Version > 0 || p.Text == "" && !created || c.Absent.Has(AttrVersion) || c.Absent.Has(AttrOrigin) {
		return 0
	}
	return AttrVersion
}

func (e WikiPageRenamed) normalized(c Change) (_ Event, err error) {
	if err := ValidatePageName(e.OldName); err != nil {
		return nil, fmt.Errorf("old %w", err)
	}
	e.Change, e.Page, err = beside(c, e.Page)
	return e, err
}

func (e WikiPageVersionDeleted) normalized(c Change) (_ Event, err error) {
	e.Change, e.Page, err = beside(c, e.Page)
	return e, err
}

func (e WikiPageCommentEdited) normalized(c Change) (_ Event, err error) {
	e.OldComment = value.Text(e.OldComment)
	e.Change, e.Page, err = beside(c, e.Page)
	return e, err
}

// payload returns the page as a payload has it, with what of c is null or absent.
func (p WikiPage) payload(c Change) wire.Page {
	return wire.Page{
		Name: p.Name, Version: p.Version, Time: p.Time, Author: p.Author, Comment: p.Comment, Text: p.Text, Readonly: p.Readonly,
		Null: wire.Attrs(c.Null), Absent: wire.Attrs(c.Absent),
	}
}

func (e WikiPageCreated) appendPayload(dst []byte, _ form) ([]byte, error) {
	return wire.AppendPage(dst, e.Page.payload(e.Change)), nil
}

func (e WikiPageChanged) appendPayload(dst []byte, _ form) ([]byte, error) {
	return wire.AppendPageChanged(dst, e.Page.payload(e.Change), e.OldText), nil
}

func (e WikiPageDeleted) appendPayload(dst []byte, _ form) ([]byte, error) {
	return wire.AppendPage(dst, e.Page.payload(e.Change)), nil
}

func (e WikiPageRenamed) appendPayload(dst []byte, _ form) ([]byte, error) {
	return wire.AppendPageRenamed(dst, e.Page.payload(e.Change), e.OldName), nil
}

func (e WikiPageVersionDeleted) appendPayload(dst []byte, _ form) ([]byte, error) {
	return wire.AppendPage(dst, e.Page.payload(e.Change)), nil
}

func (e WikiPageCommentEdited) appendPayload(dst []byte, _ form) ([]byte, error) {
	return wire.AppendPageCommentEdited(dst, e.Page.payload(e.Change), e.OldComment), nil
}

// PageResource returns the page with a name as a [Resource].
func PageResource(name string) Resource { return Resource{RealmWiki, name} }

// Resource returns the page.
func (e WikiPageCreated) Resource() Resource { return PageResource(e.Page.Name) }

// Resource returns the page.
func (e WikiPageChanged) Resource() Resource { return PageResource(e.Page.Name) }

// Resource returns the page.
func (e WikiPageDeleted) Resource() Resource { return PageResource(e.Page.Name) }

// Kind returns [KindCreated].
func (WikiPageCreated) Kind() Kind { return KindCreated }

// Kind returns [KindChanged].
func (WikiPageChanged) Kind() Kind { return KindChanged }

// Kind returns [KindDeleted].
func (WikiPageDeleted) Kind() Kind { return KindDeleted }

// WithChange implements [Event].
func (e WikiPageCreated) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e WikiPageChanged) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e WikiPageDeleted) WithChange(c Change) Event { e.Change = c; return e }

// Resource returns the page under its new name.
func (e WikiPageRenamed) Resource() Resource { return PageResource(e.Page.Name) }

// Resource returns the page.
func (e WikiPageVersionDeleted) Resource() Resource { return PageResource(e.Page.Name) }

// Resource returns the page.
func (e WikiPageCommentEdited) Resource() Resource { return PageResource(e.Page.Name) }

// Kind returns [KindRenamed].
func (WikiPageRenamed) Kind() Kind { return KindRenamed }

// Kind returns [KindVersionDeleted].
func (WikiPageVersionDeleted) Kind() Kind { return KindVersionDeleted }

// Kind returns [KindCommentEdited].
func (WikiPageCommentEdited) Kind() Kind { return KindCommentEdited }

// WithChange implements [Event].
func (e WikiPageRenamed) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e WikiPageVersionDeleted) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e WikiPageCommentEdited) WithChange(c Change) Event { e.Change = c; return e }
