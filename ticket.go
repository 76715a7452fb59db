package tracbus

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tracbus/tracbus/internal/value"
)

// TicketCreated tells that a ticket was created (Trac's ticket_created).
type TicketCreated struct {
	Change
	ID     int64
	Values Fields // all fields of the new ticket
}

// TicketChanged tells that fields of a ticket changed, or that it was commented
// on (Trac's ticket_changed).
type TicketChanged struct {
	Change
	ID int64

	// Values holds all fields after the change. It is nil, and AttrValues
	// absent, where a message carries the changed fields only.
	Values Fields

	// New and Old hold the fields that changed, after and before. Where New is
	// nil, the bus takes it from Values.
	New, Old Fields
}

// TicketDeleted tells that a ticket was deleted (Trac's ticket_deleted).
type TicketDeleted struct {
	Change
	ID     int64
	Values Fields // all fields as they were at last
}

// TicketListener is told of every change of a ticket. The bus calls it from one
// goroutine, one change at a time, in order. ctx ends when the bus gives up
// waiting for the listener, at the deadline of [Bus.Close]. What a returned
// error leads to is said at the [Scope] of the registration.
type TicketListener interface {
	TicketCreated(context.Context, TicketCreated) error
	TicketChanged(context.Context, TicketChanged) error
	TicketDeleted(context.Context, TicketDeleted) error
}

// Ticket registers l for every change of a ticket, and starts a goroutine that
// calls it; see [Bus] for who ends it. Where l is also a
// [TicketCommentEditedListener], [TicketChangeDeletedListener], [ResyncListener] or
// [BatchListener], it is told in these ways too.
func (b *Bus) Ticket(scope Scope, l TicketListener) *Registration {
	return b.register(scope, l, ticketHandler{l})
}

// ticketHandler is the one place that asks a listener what it can be told.
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

func (h ticketHandler) tell(ctx context.Context, e Event) error {
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

func (e TicketCreated) entering() (Event, error) {
	values, err := enteringTicket(e.ID, e.Values)
	e.Values = values
	return e, err
}

func (e TicketDeleted) entering() (Event, error) {
	values, err := enteringTicket(e.ID, e.Values)
	e.Values = values
	return e, err
}

func (e TicketChanged) entering() (_ Event, err error) {
	if e.Values, err = enteringTicket(e.ID, e.Values); err != nil {
		return nil, err
	}
	if e.Old, err = e.Old.entering(); err != nil {
		return nil, fmt.Errorf("old value of %w", err)
	}
	if e.New, err = e.New.entering(); err != nil {
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

func enteringTicket(id int64, values Fields) (Fields, error) {
	if id < 1 {
		return nil, fmt.Errorf("ticket %d: expected a number from 1", id)
	}
	return values.entering()
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

func (e TicketCreated) appendPayload(dst []byte, _ bool) ([]byte, error) {
	return appendTicket(dst, e.ID, e.Values)
}

func (e TicketDeleted) appendPayload(dst []byte, _ bool) ([]byte, error) {
	return appendTicket(dst, e.ID, e.Values)
}

// appendTicket writes all fields flat. A field called "id" gives way to the
// ticket's number, as in the plugin.
func appendTicket(dst []byte, id int64, values Fields) ([]byte, error) {
	dst, err := value.AppendFields(append(dst, '{'), values, "id")
	dst = appendInt(dst, "id", id)
	return append(dst, '}'), err
}

func (e TicketChanged) appendPayload(dst []byte, all bool) ([]byte, error) {
	values, old := e.sent(all)
	return appendDifference(dst, e.Change, e.ID, values, old)
}

func (e TicketCreated) sent(bool) (values, old Fields) { return e.Values, nil }
func (e TicketDeleted) sent(bool) (values, old Fields) { return e.Values, nil }

func (e TicketChanged) sent(all bool) (values, old Fields) {
	switch {
	case all && e.Values != nil:
		return e.Values, e.Old
	case e.New == nil && e.Values != nil:
		return changed(e.Values, e.Old), e.Old
	}
	return e.New, e.Old
}

// decodeTicket returns the event of a channel of tickets. A payload does not
// say who created a ticket, nor when a change was made, but in its fields.
func decodeTicket(c Change, kind Kind, members []value.Member) (e Event, err error) {
	p := parts{members: members}
	id := p.integer("id", 0)
	if id < 1 {
		p.fail("member %q: expected a number from 1, found %d", "id", id)
	}
	switch kind {
	case KindCreated, KindDeleted:
		c.Absent |= AttrAuthor | AttrComment | AttrTime
		values := p.flat(members, "id")
		if e = (TicketDeleted{c, id, values}); kind == KindCreated {
			e = TicketCreated{c, id, values}
		}
	case KindChanged:
		c.Absent |= AttrTime
		c.Author, c.Comment = p.text("author", AttrAuthor), p.text("comment", AttrComment)
		e = decodeDifference(&c, id, p.fields("new_values"), p.fields("old_values"))
	case KindCommentEdited:
		c.Absent |= AttrTime
		c.Author, c.Comment = p.text("author", AttrAuthor), p.text("comment", AttrComment)
		e = TicketCommentEdited{c, id, p.history("time"), p.text("old_comment", AttrOldText)}
	case KindChangeDeleted:
		c.Absent |= AttrTime
		c.Author, c.Comment = p.text("author", AttrAuthor), p.text("comment", AttrComment)
		e = TicketChangeDeleted{c, id, p.history("time"), p.fields("new_values"), p.fields("old_values")}
	default:
		return nil, ErrUnknownChannel
	}
	c = e.About()
	c.Null, c.Absent = c.Null|p.null, c.Absent|p.absent
	return e.WithChange(c), p.err
}

// decodeDifference tells the two forms of new_values apart: only the full state
// has fields that did not change, of which a ticket has some always.
func decodeDifference(c *Change, id int64, values, old Fields) Event {
	for name := range values {
		if _, ok := old[name]; !ok {
			fresh := make(Fields, len(old))
			for name := range old {
				if v, ok := values[name]; ok {
					fresh[name] = v
				}
			}
			return TicketChanged{*c, id, values, fresh, old}
		}
	}
	c.Absent |= AttrValues
	return TicketChanged{*c, id, nil, values, old}
}
