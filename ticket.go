package tracbus

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// TicketCreated says that a ticket was created (Trac's ticket_created).
type TicketCreated struct {
	Change
	ID     int64
	Values Fields // all fields of the new ticket
}

// TicketChanged says that fields of a ticket changed, or that it was commented
// on (Trac's ticket_changed).
type TicketChanged struct {
	Change
	ID int64

	// Values holds all fields after the change. It is nil, and AttrValues absent, if
	// a message carries the changed fields only.
	Values Fields

	// New and Old hold the fields that changed, after and before. If New is nil,
	// the bus takes it from Values.
	New, Old Fields
}

// TicketDeleted says that a ticket was deleted (Trac's ticket_deleted).
type TicketDeleted struct {
	Change
	ID     int64
	Values Fields // all fields as they were at last
}

// The kinds of the rarer events of tickets.
const (
	KindCommentEdited Kind = wire.CommentEdited // of [TicketCommentEdited] and [WikiPageCommentEdited]
	KindChangeDeleted Kind = wire.ChangeDeleted // of [TicketChangeDeleted]
)

// TicketCommentEdited says that the comment of an earlier change was edited
// (Trac's ticket_comment_modified). Comment holds the new text.
type TicketCommentEdited struct {
	Change
	ID          int64
	CommentTime time.Time // when the edited comment had been made
	OldComment  string
}

// TicketChangeDeleted says that an earlier change was taken out of a ticket's
// history (Trac's ticket_change_deleted). Comment holds the deleted comment.
type TicketChangeDeleted struct {
	Change
	ID         int64
	ChangeTime time.Time // when the deleted change had been made
	// New and Old hold what the deleted change had set, and what it had
	// replaced.
	New, Old Fields
}

// TicketListener is called with every change of a ticket. The bus calls it from one
// goroutine, one change at a time, in order. ctx ends when the bus gives up waiting
// for the listener, at the deadline of [Bus.Close]. The [Scope] of the registration
// says what a returned error leads to.
type TicketListener interface {
	TicketCreated(context.Context, TicketCreated) error
	TicketChanged(context.Context, TicketChanged) error
	TicketDeleted(context.Context, TicketDeleted) error
}

// TicketCommentEditedListener is a [TicketListener] that is called with edited
// comments as well.
type TicketCommentEditedListener interface {
	TicketCommentEdited(context.Context, TicketCommentEdited) error
}

// TicketChangeDeletedListener is a [TicketListener] that is called with deleted
// changes as well.
type TicketChangeDeletedListener interface {
	TicketChangeDeleted(context.Context, TicketChangeDeleted) error
}

// Ticket registers l for every change of a ticket, and starts a goroutine that
// calls it; see [Bus] for who ends it. If l is also a
// [TicketCommentEditedListener], [TicketChangeDeletedListener], [LoadListener],
// [ResyncListener] or [BatchListener], it is called as that too.
func (b *Bus) Ticket(scope Scope, l TicketListener) *Registration {
	h := ticketHandler{l}
	return b.register(scope, l, h.wants, h.deliver)
}

// ticketHandler is the one place that asks a listener which events it takes.
type ticketHandler struct{ TicketListener }

func (h ticketHandler) wants(e Event) bool {
	switch e.(type) {
	case TicketCreated, TicketChanged, TicketDeleted:
		return true
	case TicketCommentEdited:
		_, ok := h.TicketListener.(TicketCommentEditedListener)
		return ok
	case TicketChangeDeleted:
		_, ok := h.TicketListener.(TicketChangeDeletedListener)
		return ok
	}
	return false
}

func (h ticketHandler) deliver(ctx context.Context, e Event) error {
	switch e := e.(type) {
	case TicketCreated:
		return h.TicketCreated(ctx, e)
	case TicketChanged:
		return h.TicketChanged(ctx, e)
	case TicketDeleted:
		return h.TicketDeleted(ctx, e)
	case TicketCommentEdited:
		return h.TicketListener.(TicketCommentEditedListener).TicketCommentEdited(ctx, e)
	case TicketChangeDeleted:
		return h.TicketListener.(TicketChangeDeletedListener).TicketChangeDeleted(ctx, e)
	}
	return nil
}

func (e TicketCreated) normalized(c Change) (_ Event, err error) {
	e.Change = c
	e.Values, err = normalizedTicket(e.ID, e.Values)
	return e, err
}

func (e TicketDeleted) normalized(c Change) (_ Event, err error) {
	e.Change = c
	e.Values, err = normalizedTicket(e.ID, e.Values)
	return e, err
}

func (e TicketChanged) normalized(c Change) (_ Event, err error) {
	e.Change = c
	if e.Values, err = normalizedTicket(e.ID, e.Values); err != nil {
		return nil, err
	}
	if e.Old, err = e.Old.normalized(); err != nil {
		return nil, fmt.Errorf("old value of %w", err)
	}
	if e.New, err = e.New.normalized(); err != nil {
		return nil, fmt.Errorf("new value of %w", err)
	}
	switch {
	case e.New != nil:
	case e.Values != nil:
		e.New = changed(e.Values, e.Old)
	case len(e.Old) > 0:
		return nil, fmt.Errorf("ticket %d: old values, and no new ones: expected Values or New", e.ID)
	}
	return e, nil
}

func normalizedTicket(id int64, values Fields) (Fields, error) {
	if id < 1 {
		return nil, fmt.Errorf("ticket %d: expected a number from 1", id)
	}
	return values.normalized()
}

// changed returns the new values of the fields that old names. One that the
// ticket does not have any more is sent as the plugin sends it: empty.
func changed(values, old Fields) Fields {
	f := make(Fields, len(old))
	for name := range old {
		if v, ok := values[name]; ok {
			f[name] = v
		} else {
			f[name] = ""
		}
	}
	return f
}

func (e TicketCommentEdited) normalized(c Change) (_ Event, err error) {
	if _, err := normalizedTicket(e.ID, nil); err != nil {
		return nil, err
	}
	e.Change, e.OldComment = c, value.Text(e.OldComment)
	e.CommentTime, err = value.Time(e.CommentTime)
	return e, err
}

func (e TicketChangeDeleted) normalized(c Change) (_ Event, err error) {
	e.Change = c
	if e.Old, err = normalizedTicket(e.ID, e.Old); err != nil {
		return nil, err
	}
	if e.New, err = e.New.normalized(); err != nil {
		return nil, err
	}
	e.ChangeTime, err = value.Time(e.ChangeTime)
	return e, err
}

// said returns what the payload of a changed ticket says of the change.
func (c Change) said() wire.Said {
	return wire.Said{Author: c.Author, Comment: c.Comment, Null: wire.Attrs(c.Null), Absent: wire.Attrs(c.Absent)}
}

func (e TicketCreated) appendPayload(dst []byte, f form) ([]byte, error) {
	return wire.AppendTicket(dst, e.ID, e.Values, f.orders)
}

func (e TicketDeleted) appendPayload(dst []byte, f form) ([]byte, error) {
	return wire.AppendTicket(dst, e.ID, e.Values, f.orders)
}

func (e TicketChanged) appendPayload(dst []byte, f form) ([]byte, error) {
	values, old := e.sent(f.all)
	return wire.AppendChange(dst, e.said(), e.ID, values, old, f.orders)
}

func (e TicketCommentEdited) appendPayload(dst []byte, _ form) ([]byte, error) {
	return wire.AppendCommentEdited(dst, e.said(), e.ID, e.OldComment, e.CommentTime), nil
}

func (e TicketChangeDeleted) appendPayload(dst []byte, f form) ([]byte, error) {
	return wire.AppendChangeDeleted(dst, e.said(), e.ID, e.New, e.Old, e.ChangeTime, f.orders)
}

// TicketResource returns the ticket with a number as a [Resource].
func TicketResource(id int64) Resource { return Resource{RealmTicket, strconv.FormatInt(id, 10)} }

// Resource returns the ticket.
func (e TicketCreated) Resource() Resource { return TicketResource(e.ID) }

// Resource returns the ticket.
func (e TicketChanged) Resource() Resource { return TicketResource(e.ID) }

// Resource returns the ticket.
func (e TicketDeleted) Resource() Resource { return TicketResource(e.ID) }

// Kind returns [KindCreated].
func (TicketCreated) Kind() Kind { return KindCreated }

// Kind returns [KindChanged].
func (TicketChanged) Kind() Kind { return KindChanged }

// Kind returns [KindDeleted].
func (TicketDeleted) Kind() Kind { return KindDeleted }

// WithChange implements [Event].
func (e TicketCreated) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e TicketChanged) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e TicketDeleted) WithChange(c Change) Event { e.Change = c; return e }

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
