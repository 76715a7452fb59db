package tracbus

import (
	"context"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/value"
)

// The kinds of the rarer events of tickets.
const (
	KindCommentEdited Kind = "comment_edited"
	KindChangeDeleted Kind = "change_deleted"
)

// TicketCommentEdited tells that the comment of an earlier change was edited
// (Trac's ticket_comment_modified). Comment holds the new text.
type TicketCommentEdited struct {
	Change
	ID          int64
	CommentTime time.Time // when the edited comment had been made
	OldComment  string
}

// TicketChangeDeleted tells that an earlier change was taken out of a ticket's
// history (Trac's ticket_change_deleted). Comment holds the deleted comment.
type TicketChangeDeleted struct {
	Change
	ID         int64
	ChangeTime time.Time // when the deleted change had been made
	// New and Old hold what the deleted change had set, and what it had
	// replaced.
	New, Old Fields
}

// TicketCommentEditedListener is a [TicketListener] that is told of edited comments
// as well.
type TicketCommentEditedListener interface {
	TicketCommentEdited(context.Context, TicketCommentEdited) error
}

// TicketChangeDeletedListener is a [TicketListener] that is told of deleted changes
// as well.
type TicketChangeDeletedListener interface {
	TicketChangeDeleted(context.Context, TicketChangeDeleted) error
}

// Resource returns the ticket.
func (e TicketCommentEdited) Resource() Resource { return TicketResource(e.ID) }

// Resource returns the ticket.
func (e TicketChangeDeleted) Resource() Resource { return TicketResource(e.ID) }

// Kind returns [KindCommentEdited].
func (TicketCommentEdited) Kind() Kind { return KindCommentEdited }

// Kind returns [KindChangeDeleted].
func (TicketChangeDeleted) Kind() Kind { return KindChangeDeleted }

// WithChange implements [Event].
func (e TicketCommentEdited) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e TicketChangeDeleted) WithChange(c Change) Event { e.Change = c; return e }

func (e TicketCommentEdited) entering() (_ Event, err error) {
	if _, err := enteringTicket(e.ID, nil); err != nil {
		return nil, err
	}
	e.OldComment = value.Text(e.OldComment)
	e.CommentTime, err = value.Time(e.CommentTime)
	return e, err
}

func (e TicketChangeDeleted) entering() (_ Event, err error) {
	if e.Old, err = enteringTicket(e.ID, e.Old); err != nil {
		return nil, err
	}
	if e.New, err = e.New.entering(); err != nil {
		return nil, err
	}
	e.ChangeTime, err = value.Time(e.ChangeTime)
	return e, err
}

func (e TicketChangeDeleted) sent(bool) (values, old Fields) { return e.New, e.Old }

func (e TicketChangeDeleted) appendPayload(dst []byte, _ bool) ([]byte, error) {
	dst, err := appendDifference(dst, e.Change, e.ID, e.New, e.Old)
	dst = appendTime(dst[:len(dst)-1], "time", e.ChangeTime)
	return append(dst, '}'), err
}

func appendDifference(dst []byte, c Change, id int64, values, old Fields) ([]byte, error) {
	dst = append(dst, `{"new_values":{`...)
	dst, err := value.AppendFields(dst, values, "")
	if err != nil {
		return dst, fmt.Errorf("new value of %w", err)
	}
	dst = append(dst, `},"old_values":{`...)
	if dst, err = value.AppendFields(dst, old, ""); err != nil {
		return dst, fmt.Errorf("old value of %w", err)
	}
	dst = append(dst, '}')
	dst = appendText(dst, "author", c.Author, c, AttrAuthor)
	dst = appendText(dst, "comment", c.Comment, c, AttrComment)
	dst = appendInt(dst, "id", id)
	return append(dst, '}'), nil
}

func (e TicketCommentEdited) appendPayload(dst []byte, _ bool) ([]byte, error) {
	dst = append(dst, '{')
	dst = appendText(dst, "author", e.Author, e.Change, AttrAuthor)
	dst = appendText(dst, "comment", e.Comment, e.Change, AttrComment)
	dst = appendText(dst, "old_comment", e.OldComment, e.Change, AttrOldText)
	dst = appendTime(dst, "time", e.CommentTime)
	dst = appendInt(dst, "id", e.ID)
	return append(dst, '}'), nil
}
