package tracbus

import (
	"context"
	"fmt"

	"github.com/tracbus/tracbus/internal/value"
)

// The kinds of the rarer events of pages; [KindCommentEdited] is another.
const (
	KindRenamed        Kind = "renamed"
	KindVersionDeleted Kind = "version_deleted"
)

// WikiPageRenamed tells that a page has a new name (Trac's wiki_page_renamed).
// Page is its last version under that name.
type WikiPageRenamed struct {
	Change
	Page    WikiPage
	OldName string
}

// WikiPageVersionDeleted tells that one version of a page was deleted (Trac's
// wiki_page_version_deleted). Page is the version that is gone.
type WikiPageVersionDeleted struct {
	Change
	Page WikiPage
}

// WikiPageCommentEdited tells that the comment of a version was edited (Trac's
// wiki_page_comment_modified). Page has the new comment.
type WikiPageCommentEdited struct {
	Change
	Page       WikiPage
	OldComment string
}

// WikiPageRenamedListener is a [WikiListener] that is told of renamed pages as well.
type WikiPageRenamedListener interface {
	WikiPageRenamed(context.Context, WikiPageRenamed) error
}

// WikiPageVersionDeletedListener is a [WikiListener] that is told of deleted versions as
// well.
type WikiPageVersionDeletedListener interface {
	WikiPageVersionDeleted(context.Context, WikiPageVersionDeleted) error
}

// WikiPageCommentEditedListener is a [WikiListener] that is told of edited comments as
// well.
type WikiPageCommentEditedListener interface {
	WikiPageCommentEdited(context.Context, WikiPageCommentEdited) error
}

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

func (e WikiPageRenamed) entering() (_ Event, err error) {
	if err := ValidatePageName(e.OldName); err != nil {
		return nil, fmt.Errorf("old %w", err)
	}
	e.Page, err = e.Page.entering()
	return e, err
}

func (e WikiPageVersionDeleted) entering() (_ Event, err error) {
	e.Page, err = e.Page.entering()
	return e, err
}

func (e WikiPageCommentEdited) entering() (_ Event, err error) {
	e.OldComment = value.Text(e.OldComment)
	e.Page, err = e.Page.entering()
	return e, err
}
