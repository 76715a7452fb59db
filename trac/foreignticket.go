package trac

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/capture"
	"github.com/tracbus/tracbus/internal/foreign"
)

// ticketEvents yields what others did to one ticket.
func ticketEvents(ctx context.Context, tx *tracbus.ModelTransaction, rows []capture.Row, yield func(tracbus.Event, []int64) error) error {
	fields, err := fieldsOf(tx.Realm(tracbus.RealmTicket))
	if err != nil {
		return err
	}
	id, err := strconv.ParseInt(rows[0].ID, 10, 64)
	if err != nil {
		return err
	}
	now, named, err := readForeign(ctx, tablesOf(tx), id, rows)
	if err != nil {
		return err
	}
	for _, s := range foreign.Tickets(rows, now, func(time int64) []string { return named[time] }) {
		if err := yield(foreignTicket(fields, id, s), s.Rows); err != nil {
			return err
		}
	}
	return nil
}

// readForeign reads a ticket as the tables have it, and which fields the changes have that the
// rows are about.
func readForeign(ctx context.Context, from tables, id int64, rows []capture.Row) (now foreign.Ticket, named map[int64][]string, err error) {
	now.Custom, named = foreign.Cells{}, map[int64][]string{}
	columns := append(ticketColumns(), "time", "changetime")
	var times []any
	for _, r := range rows {
		if r.Code == foreign.HistoryTable && r.Op == capture.Inserted && r.Field == commentField {
			times = append(times, r.At)
		}
	}
	reads := []read{
		{`SELECT ` + quotedNames(columns) + ` FROM {ticket} WHERE id = ?`, []any{id}, func(rows *sql.Rows) error {
			now.Columns = foreign.Cells{}
			return scanCells(rows, columns, now.Columns)
		}},
		{`SELECT name, value FROM {ticket_custom} WHERE ticket = ?`, []any{id}, func(rows *sql.Rows) error {
			var name string
			var value *string
			err := rows.Scan(&name, &value)
			now.Custom[name] = value
			return err
		}},
	}
	for len(times) > 0 {
		some := times[:min(len(times), 500)]
		times = times[len(some):]
		reads = append(reads, read{
			`SELECT "time", field FROM {ticket_change} WHERE ticket = ? AND "time" IN ` + marks(len(some)), append([]any{id}, some...),
			func(rows *sql.Rows) error {
				var time int64
				var field string
				err := rows.Scan(&time, &field)
				named[time] = append(named[time], field)
				return err
			},
		})
	}
	err = from.readAll(ctx, reads...)
	return now, named, err
}

// scanCells reads columns as texts.
func scanCells(rows *sql.Rows, columns []string, into foreign.Cells) error {
	values := make([]*string, len(columns))
	targets := make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	err := rows.Scan(targets...)
	for i, name := range columns {
		into[name] = values[i]
	}
	return err
}

func foreignTicket(fields fieldSet, id int64, s foreign.TicketStep) tracbus.Event {
	c := change(s.Step, s.Time)
	if s.Comment != nil {
		c.Comment = *s.Comment
	}
	switch s.Kind {
	case foreign.Created:
		return tracbus.TicketCreated{Change: c, ID: id, Values: valuesOf(fields, s.Ticket)}
	case foreign.Removed:
		return tracbus.TicketDeleted{Change: c, ID: id, Values: valuesOf(fields, s.Ticket)}
	case foreign.Changed, foreign.Raw:
		if s.Kind == foreign.Changed && s.Comment == nil {
			c.Null |= tracbus.AttrComment
		}
		return tracbus.TicketChanged{Change: c, ID: id, Values: valuesOf(fields, s.Ticket), New: changedOf(fields, s.New), Old: changedOf(fields, s.Old)}
	case foreign.CommentEdited:
		e := tracbus.TicketCommentEdited{Change: c, ID: id, CommentTime: time.UnixMicro(s.Made).UTC()}
		if s.OldComment != nil {
			e.OldComment = *s.OldComment
		}
		return e
	case foreign.ChangeDeleted:
		return tracbus.TicketChangeDeleted{Change: c, ID: id, ChangeTime: time.UnixMicro(s.Made).UTC(), New: readAs(fields, s.New), Old: readAs(fields, s.Old)}
	}
	return nil
}

// valuesOf returns a ticket's values, as [Tickets] says.
func valuesOf(fields fieldSet, t foreign.Ticket) tracbus.Fields {
	values := make(tracbus.Fields, len(ticketColumns())+len(fields.custom)+2)
	for _, name := range ticketColumns() {
		values[name] = ""
		if v := t.Columns[name]; v != nil {
			values[name] = *v
		}
	}
	for _, name := range []string{"time", "changetime"} {
		values[name] = time.UnixMicro(t.Columns.Number(name)).UTC()
	}
	for _, f := range fields.custom {
		v, there := t.Custom[f.name]
		switch {
		case !there && f.initial != nil:
			values[f.name] = f.initial
		case !there:
		case v == nil:
			values[f.name] = f.read("")
		default:
			values[f.name] = f.read(*v)
		}
	}
	return values
}

// changedOf returns fields that changed: without those that say when the ticket did.
func changedOf(fields fieldSet, cells foreign.Cells) tracbus.Fields {
	changed := readAs(fields, cells)
	delete(changed, "time")
	delete(changed, "changetime")
	return changed
}

// readAs returns what the tables hold as values of the ticket.
func readAs(fields fieldSet, cells foreign.Cells) tracbus.Fields {
	values := make(tracbus.Fields, len(cells))
	for name, v := range cells {
		f, _ := fields.of(name)
		if v == nil {
			values[name] = f.read("")
		} else {
			values[name] = f.read(*v)
		}
	}
	return values
}
