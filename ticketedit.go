package tracbus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/value"
)

// TicketEdit creates, changes or deletes a ticket in Trac's tables, see
// [TracTickets]. It is a [Model]:
//
//	tx.Save(ctx, tracbus.TicketEdit{ID: 17, Set: tracbus.Fields{"milestone": "m1"}, Comment: "Not now."})
type TicketEdit struct {
	// ID is the ticket's number. Zero means a new ticket.
	ID int64

	// NewID is where Save puts the number of a new ticket. It holds once the
	// transaction is committed. Nil means that nobody asks.
	NewID *int64

	// Set are the fields to change, and their new values: a string, or a
	// time.Time for a custom field of type time, or nil for no value. Other
	// fields stay as they are. As in Trac, spaces around a value are dropped but
	// for those of a textarea, cc becomes a list with commas, and it is not
	// checked whether a value is one of a field's options.
	Set Fields

	// Comment is said of the change. It may be empty, and is all of the change
	// where no field is different.
	Comment string

	// ReplyTo is the number of the comment that Comment replies to. Zero means
	// none, and -1 the ticket's description.
	ReplyTo int

	// Base is the changetime of the ticket that the edit was made from. If the
	// ticket was changed since, the error is [ErrConflict]. Zero means that it
	// may have been.
	Base time.Time
}

// Resource implements [Model].
func (e TicketEdit) Resource() Resource {
	if e.ID == 0 {
		return Resource{Realm: RealmTicket}
	}
	return TicketResource(e.ID)
}

// Save implements [Model]. It writes what Trac does (Ticket.insert and
// save_changes, Trac 1.6), and returns a [TicketCreated] or [TicketChanged].
//
// A new ticket gets what Trac's page would give it besides the fields set: the
// status "new", the transaction's author as reporter, and the defaults of the
// custom fields. The defaults of built-in fields, [ticket] default_… in
// trac.ini, are left to the application.
//
// A change has a time of its own among those of the ticket: the transaction's,
// or a microsecond after what the ticket saw last. Saved again in the same
// transaction, it is one change still; a field whose value went back is none,
// and if that was all, only changetime has moved.
//
// Unlike in Trac, a field that is not in Set does not change: a cc that is not
// in its normal form is left alone.
func (e TicketEdit) Save(ctx context.Context, tx *ModelTransaction) (Event, error) {
	if e.ID == 0 {
		return e.create(ctx, tx)
	}
	return e.change(ctx, tx)
}

// Delete implements [Model] and returns a [TicketDeleted]. It deletes the rows
// that Trac does (Ticket.delete, Trac 1.6): those of ticket, ticket_custom,
// ticket_change and, of what is attached to the ticket, those of attachment. The
// attached files stay in Trac's folder. Set and ReplyTo must be empty.
func (e TicketEdit) Delete(ctx context.Context, tx *ModelTransaction) (Event, error) {
	if e.ID == 0 || len(e.Set) > 0 || e.ReplyTo != 0 {
		return nil, fmt.Errorf("delete with the fields %v: expected ID, and neither Set nor ReplyTo", e.Set)
	}
	t, err := editTicket(ctx, tx, e.ID, e.Base)
	if err != nil {
		return nil, err
	}
	if err := withAttachments(ctx, tx, `DELETE FROM {attachment} WHERE "type" = 'ticket' AND id = ?`, e.Resource().ID); err != nil {
		return nil, err
	}
	for _, statement := range []string{
		`DELETE FROM {ticket} WHERE id = ?`,
		`DELETE FROM {ticket_change} WHERE ticket = ?`,
		`DELETE FROM {ticket_custom} WHERE ticket = ?`,
	} {
		if _, err := tx.exec(ctx, statement, e.ID); err != nil {
			return nil, err
		}
	}
	return TicketDeleted{Change{Comment: value.Text(e.Comment)}, e.ID, t.values}, nil
}

func (e TicketEdit) create(ctx context.Context, tx *ModelTransaction) (Event, error) {
	if !e.Base.IsZero() || e.ReplyTo != 0 {
		return nil, errors.New("a new ticket with Base or ReplyTo: expected neither")
	}
	fields, err := ticketFieldsOf(tx.journal)
	if err != nil {
		return nil, err
	}
	set, err := e.taken(tx, fields)
	if err != nil {
		return nil, err
	}
	when := tx.Time().UnixMicro()
	t := &ticketEdition{ticketRow: &ticketRow{changed: when, values: Fields{}}, tx: tx, fields: fields}
	names, args := []string{"time", "changetime"}, []any{when, when}
	for _, name := range ticketColumns() {
		v, ok := set[name]
		switch {
		case ok:
		case name == "status":
			v = "new"
		case name == "reporter":
			v = value.Text(tx.Actor().Author)
		default:
			v = ""
		}
		t.values[name] = v
		if v != "" {
			names, args = append(names, name), append(args, v)
		}
	}
	t.id, err = tx.insert(ctx, `INSERT INTO {ticket} (`+quotedNames(names)+`) VALUES (?`+
		strings.Repeat(", ?", len(args)-1)+`)`, args...)
	if err != nil {
		return nil, err
	}
	if err := t.createCustom(ctx, set); err != nil {
		return nil, err
	}
	comment := value.Text(e.Comment)
	if !blank(comment) {
		if err := t.add(ctx, when, newTicketChange{tx.Actor().Author, ticketComment, "1", comment}); err != nil {
			return nil, err
		}
	}
	if e.NewID != nil {
		*e.NewID = t.id
	}
	t.values["time"], t.values["changetime"] = tx.Time(), tx.Time()
	return TicketCreated{Change{Time: tx.Time(), Comment: comment}, t.id, t.values}, nil
}

// createCustom writes the custom fields that have a value or were named.
func (t *ticketEdition) createCustom(ctx context.Context, set Fields) error {
	var rows [][]any
	for _, name := range t.fields.names() {
		f := t.fields[name]
		v, ok := set[name]
		if !ok {
			v, ok = f.initial, f.initial != nil
		}
		if f.custom && ok {
			rows = append(rows, []any{t.id, name, f.stored(v)})
			t.values[name] = v
		}
	}
	return insertRows(ctx, t.tx, `INSERT INTO {ticket_custom} (ticket, name, value)`, rows)
}

// taken returns what Set says as the ticket gets it.
func (e TicketEdit) taken(tx *ModelTransaction, fields ticketFields) (Fields, error) {
	set := make(Fields, len(e.Set))
	for name, v := range e.Set {
		f, ok := fields[name]
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
		if err := tx.journal.checkText("field "+name, s); err != nil {
			return nil, err
		}
		set[name] = v
	}
	if err := tx.journal.checkText("comment", e.Comment); err != nil {
		return nil, err
	}
	if e.ReplyTo < -1 {
		return nil, fmt.Errorf("ReplyTo is %d: expected a comment's number, 0 or -1", e.ReplyTo)
	}
	return set, nil
}

// blank says whether there is nothing to read (stripws of Trac 1.6).
func blank(comment string) bool {
	return strings.TrimFunc(comment, func(r rune) bool { return tracSpace(r) || r == '\u200B' }) == ""
}

func (e TicketEdit) change(ctx context.Context, tx *ModelTransaction) (Event, error) {
	t, err := editTicket(ctx, tx, e.ID, e.Base)
	if err != nil {
		return nil, err
	}
	set, err := e.taken(tx, t.fields)
	if err != nil {
		return nil, err
	}
	p := ticketPatch{ticketEdition: t, set: set, comment: value.Text(e.Comment), new: Fields{}, old: Fields{}}
	switch {
	case e.ReplyTo > 0:
		p.replyTo = strconv.Itoa(e.ReplyTo) + "."
	case e.ReplyTo < 0:
		p.replyTo = "description."
	}
	for name, v := range set {
		if old, different := t.old(t.fields[name], v); different {
			p.new[name], p.old[name] = v, old
		}
	}
	if len(p.new) == 0 && blank(p.comment) {
		return nil, nil
	}
	when, stands, err := p.write(ctx)
	if err != nil {
		return nil, err
	}
	if !stands {
		tx.Retract(e.Resource())
		return nil, nil
	}
	tx.Keep(e.Resource())
	values := maps.Clone(t.values)
	maps.Copy(values, p.new)
	values["changetime"] = time.UnixMicro(t.changed).UTC()
	return TicketChanged{Change{Time: time.UnixMicro(when).UTC(), Comment: p.comment}, t.id, values, p.new, p.old}, nil
}

// old returns the value that v replaces, if it is another one: what the tables
// hold, so nil for a custom field without a row, although it may look like its
// default.
func (t *ticketEdition) old(f ticketField, v any) (old any, different bool) {
	old = t.values[f.name]
	if old == nil && !f.time {
		old = ""
	}
	different = !value.Equal(old, v)
	if f.custom && !t.rows[f.name] {
		old = nil
	}
	return old, different
}
