package trac

import (
	"context"
	"errors"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/tracvalue"
	"github.com/tracbus/tracbus/internal/value"
)

// TicketCreate is a [tracbus.Model] whose Save creates a ticket in Trac's tables:
//
//	tx.Save(ctx, trac.TicketCreate{Set: tracbus.Fields{"summary": "It is slow."}, AssignedID: &id})
//
// It cannot be deleted.
type TicketCreate struct {
	// Set are the values of fields, as in [TicketEdit].
	Set tracbus.Fields

	// Comment is the first comment on the new ticket. It may be empty.
	Comment string

	// AssignedID points to the variable in which Save stores the number of the new
	// ticket. The number is valid when the transaction is committed. Nil means that
	// it is not needed.
	AssignedID *int64
}

// Resource returns a ticket without a number: the database gives it one.
func (c TicketCreate) Resource() tracbus.Resource {
	return tracbus.Resource{Realm: tracbus.RealmTicket}
}

// Save implements [tracbus.Model]. It writes what Trac does (Ticket.insert, Trac
// 1.6), and returns a [tracbus.TicketCreated].
//
// The ticket gets what Trac's page would add to the fields set: the status "new",
// the transaction's author as reporter, without the spaces around it, and the
// defaults of the custom fields. The defaults of built-in fields, [ticket] default_…
// in trac.ini, are left to the application.
func (c TicketCreate) Save(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	return c.create(ctx, tx)
}

// Delete implements [tracbus.Model] and returns an error.
func (c TicketCreate) Delete(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	return nil, errors.New("a TicketCreate is saved; to delete a ticket, delete a TicketEdit")
}

func (c TicketCreate) create(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	fields, err := fieldsOf(tx.Realm(tracbus.RealmTicket))
	if err != nil {
		return nil, err
	}
	set, err := taken(tx, fields, c.Set, c.Comment)
	if err != nil {
		return nil, err
	}
	when := tx.Time().UnixMicro()
	t := &lockedTicket{row: &ticketRow{changed: when, values: tracbus.Fields{}}, tx: tx, tables: tablesOf(tx), fields: fields}
	names, args := []string{"time", "changetime"}, []any{when, when}
	for _, name := range ticketColumns() {
		v, ok := set[name]
		switch {
		case ok:
		case name == "status":
			v = "new"
		case name == "reporter":
			v = strings.TrimFunc(value.Text(tx.Actor().Author), tracvalue.IsSpace)
		default:
			v = ""
		}
		t.row.values[name] = v
		if v != "" {
			names, args = append(names, name), append(args, v)
		}
	}
	t.row.id, err = t.tables.Insert(ctx, `INSERT INTO {ticket} (`+quotedNames(names)+`) VALUES (?`+
		strings.Repeat(", ?", len(args)-1)+`)`, args...)
	if err != nil {
		return nil, err
	}
	if err := t.createCustom(ctx, set); err != nil {
		return nil, err
	}
	comment := value.Text(c.Comment)
	if !blank(comment) {
		if err := t.add(ctx, when, newChange{tx.Actor().Author, commentField, "1", comment}); err != nil {
			return nil, err
		}
	}
	if c.AssignedID != nil {
		*c.AssignedID = t.row.id
	}
	t.row.values["time"], t.row.values["changetime"] = tx.Time(), tx.Time()
	return tracbus.TicketCreated{Change: tracbus.Change{Time: tx.Time(), Comment: comment}, ID: t.row.id, Values: t.row.values}, nil
}

// createCustom writes the custom fields that have a value or were named.
func (t *lockedTicket) createCustom(ctx context.Context, set tracbus.Fields) error {
	var rows [][]any
	for _, f := range t.fields.custom {
		v, ok := set[f.name]
		if !ok {
			v, ok = f.initial, f.initial != nil
		}
		if ok {
			rows = append(rows, []any{t.row.id, f.name, f.stored(v)})
			t.row.values[f.name] = v
		}
	}
	return t.tables.InsertRows(ctx, `INSERT INTO {ticket_custom} (ticket, name, value)`, rows)
}
