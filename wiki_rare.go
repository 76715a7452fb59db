package tracbus

import (
	"context"
	"fmt"
)

// The kinds of the rarer events of pages; [CommentEdited] is another.
const (
	Renamed        Kind = "renamed"
	VersionDeleted Kind = "version_deleted"
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

// WikiRenameListener is a [WikiListener] that is told of renamed pages as well.
type WikiRenameListener interface {
	WikiPageRenamed(context.Context, WikiPageRenamed) error
}

// WikiVersionListener is a [WikiListener] that is told of deleted versions as
// well.
type WikiVersionListener interface {
	WikiPageVersionDeleted(context.Context, WikiPageVersionDeleted) error
}

// WikiCommentListener is a [WikiListener] that is told of edited comments as
// well.
type WikiCommentListener interface {
	WikiPageCommentEdited(context.Context, WikiPageCommentEdited) error
}

// Resource returns the page under its new name.
func (e WikiPageRenamed) Resource() Resource { return Page(e.Page.Name) }

// Resource returns the page.
func (e WikiPageVersionDeleted) Resource() Resource { return Page(e.Page.Name) }

// Resource returns the page.
func (e WikiPageCommentEdited) Resource() Resource { return Page(e.Page.Name) }

// Kind returns [Renamed].
func (WikiPageRenamed) Kind() Kind { return Renamed }

// Kind returns [VersionDeleted].
func (WikiPageVersionDeleted) Kind() Kind { return VersionDeleted }

// Kind returns [CommentEdited].
func (WikiPageCommentEdited) Kind() Kind { return CommentEdited }

// WithChange implements [Event].
func (e WikiPageRenamed) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e WikiPageVersionDeleted) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e WikiPageCommentEdited) WithChange(c Change) Event { e.Change = c; return e }

func (e WikiPageRenamed) entering() (_ Event, err error) {
	if err := CheckPageName(e.OldName); err != nil {
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
	e.OldComment = text(e.OldComment)
	e.Page, err = e.Page.entering()
	return e, err
}
