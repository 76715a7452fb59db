package trac

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/tracvalue"
	"github.com/tracbus/tracbus/internal/value"
)

// TicketEdit is a [tracbus.Model] that changes or deletes a ticket in Trac's tables.
// [TicketCreate] makes a new one.
//
//	tx.Save(ctx, trac.TicketEdit{ID: 17, Set: tracbus.Fields{"milestone": "m1"}, Comment: "Not now."})
type TicketEdit struct {
	// ID is the ticket's number.
	ID int64

	// Set are the fields to change, and their new values: a string, or a
	// time.Time for a custom field of type time, or nil for no value. Other
	// fields stay as they are. As in Trac, spaces around a value are dropped,
	// except in a textarea; cc becomes a list with commas; and a value need not be
	// one of a field's options.
	Set tracbus.Fields

	// Comment is the comment on the change. It may be empty. A comment alone is a
	// change too.
	Comment string

	// ReplyTo is the number of the comment that Comment replies to. Zero means
	// none, and -1 the ticket's description.
	ReplyTo int

	// Base is the changetime of the ticket that the edit was made from. If the
	// ticket was changed since, the error is [tracbus.ErrConflict]. Zero means
	// that this is not checked.
	Base time.Time
}

// Resource implements [tracbus.Model].
func (e TicketEdit) Resource() tracbus.Resource { return tracbus.TicketResource(e.ID) }

// Save implements [tracbus.Model]. It writes what Trac does (Ticket.save_changes,
// Trac 1.6), and returns a [tracbus.TicketChanged].
//
// Each change of a ticket has a time of its own: the transaction's, or a
// microsecond after the ticket's last change. Two saves of a ticket in one
// transaction are one change. A field that goes back to its first value is then
// not part of it; if no field is left, only changetime is new.
//
// Unlike in Trac, a field that is not in Set does not change: a cc that is not
// in its normal form stays as it is.
func (e TicketEdit) Save(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	if e.ID == 0 {
		return nil, errors.New("a TicketEdit without ID: expected the ticket's number, or a TicketCreate")
	}
	return e.change(ctx, tx)
}

// Delete implements [tracbus.Model] and returns a [tracbus.TicketDeleted]. It
// deletes the rows that Trac does (Ticket.delete, Trac 1.6): the ticket's in
// ticket, ticket_custom, ticket_change and attachment. The attached files stay in
// Trac's folder. Attachments are reported as with a [PageEdit]. Set and ReplyTo must be empty.
func (e TicketEdit) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	if e.ID == 0 || len(e.Set) > 0 || e.ReplyTo != 0 {
		return nil, fmt.Errorf("delete with the fields %v: expected ID, and neither Set nor ReplyTo", e.Set)
	}
	t, err := lockTicket(ctx, tx, e.ID, e.Base)
	if err != nil {
		return nil, err
	}
	if err := deleteAttachments(ctx, tx, e.Resource()); err != nil {
		return nil, err
	}
	for _, statement := range []string{
		`DELETE FROM {ticket} WHERE id = ?`,
		`DELETE FROM {ticket_change} WHERE ticket = ?`,
		`DELETE FROM {ticket_custom} WHERE ticket = ?`,
	} {
		if _, err := t.tables.Exec(ctx, statement, e.ID); err != nil {
			return nil, err
		}
	}
	return tracbus.TicketDeleted{Change: tracbus.Change{Comment: value.Text(e.Comment)}, ID: e.ID, Values: t.row.values}, nil
}

// taken returns the values of an edit as the ticket gets them, and says why it cannot.
func taken(tx *tracbus.ModelTransaction, fields fieldSet, values tracbus.Fields, comment string) (tracbus.Fields, error) {
	set := make(tracbus.Fields, len(values))
	for name, v := range values {
		f, ok := fields.of(name)
		switch {
		case ok:
		case name == "id" || name == "time" || name == "changetime":
			return nil, fmt.Errorf("field %q: it cannot be set; expected another field", name)
		default:
			return nil, fmt.Errorf("field %q: there is none of that name; expected one of %s",
				name, strings.Join(fields.names(), ", "))
		}
		v, err := f.take(v)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", name, err)
		}
		s, _ := v.(string)
		if err := tablesOf(tx).CheckText("field "+name, s); err != nil {
			return nil, err
		}
		set[name] = v
	}
	if err := tablesOf(tx).CheckText("comment", comment); err != nil {
		return nil, err
	}
	return set, nil
}

// blank says whether a comment has nothing to read (stripws of Trac 1.6).
func blank(comment string) bool {
	return strings.TrimFunc(comment, func(r rune) bool { return tracvalue.IsSpace(r) || r == '\u200B' }) == ""
}

func (e TicketEdit) change(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	t, err := lockTicket(ctx, tx, e.ID, e.Base)
	if err != nil {
		return nil, err
	}
	if e.ReplyTo < -1 {
		return nil, fmt.Errorf("ReplyTo is %d: expected a comment's number, 0 or -1", e.ReplyTo)
	}
	return e.changeLocked(ctx, tx, t)
}

func (e TicketEdit) changeLocked(ctx context.Context, tx *tracbus.ModelTransaction, t *lockedTicket) (tracbus.Event, error) {
	set, err := taken(tx, t.fields, e.Set, e.Comment)
	if err != nil {
		return nil, err
	}
	p := patch{ticket: t, set: set, comment: value.Text(e.Comment), new: tracbus.Fields{}, old: tracbus.Fields{}}
	switch {
	case e.ReplyTo > 0:
		p.replyTo = strconv.Itoa(e.ReplyTo) + "."
	case e.ReplyTo < 0:
		p.replyTo = "description."
	}
	for name, v := range set {
		f, _ := t.fields.of(name)
		if old, different := t.old(f, v); different {
			p.new[name], p.old[name] = v, old
		}
	}
	if len(p.new) == 0 && blank(p.comment) {
		return nil, nil
	}
	when, exists, err := p.write(ctx)
	if err != nil {
		return nil, err
	}
	if !exists {
		tx.Retract(e.Resource())
		return nil, nil
	}
	tx.Keep(e.Resource())
	values := maps.Clone(t.row.values)
	maps.Copy(values, p.new)
	values["changetime"] = time.UnixMicro(t.row.changed).UTC()
	return tracbus.TicketChanged{
		Change: tracbus.Change{Time: time.UnixMicro(when).UTC(), Comment: p.comment},
		ID:     t.row.id, Values: values, New: p.new, Old: p.old,
	}, nil
}

// old returns the value that v replaces, and whether the two are different. It
// is what the tables hold: nil for a custom field without a row, although a
// reader sees the field's default.
func (t *lockedTicket) old(f field, v any) (old any, different bool) {
	old = t.row.values[f.name]
	if old == nil && !f.time {
		old = ""
	}
	different = !value.Equal(old, v)
	if f.custom && !t.row.custom[f.name] {
		old = nil
	}
	return old, different
}
