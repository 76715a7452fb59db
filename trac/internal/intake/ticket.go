package intake

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/capture"
	"github.com/tracbus/tracbus/internal/foreign"
)

// ticketEvents yields what others did to tickets: to one, or to those that rows were moved between.
func ticketEvents(ctx context.Context, from Source, fields Fields, rows []capture.Row, yield yieldFunc) error {
	of := map[string][]capture.Row{}
	var ids []string
	for _, r := range rows {
		if of[r.ID] == nil {
			ids = append(ids, r.ID)
		}
		of[r.ID] = append(of[r.ID], r)
	}
	for _, text := range ids {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil { // on SQLite: Trac has no such ticket
			err = yield(nil, numbers(of[text]))
		} else {
			err = oneTicket(ctx, from, fields, id, of[text], yield)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func numbers(rows []capture.Row) (all []int64) {
	for _, r := range rows {
		all = append(all, r.N)
	}
	return all
}

func oneTicket(ctx context.Context, from Source, fields Fields, id int64, rows []capture.Row, yield yieldFunc) error {
	now, named, err := readTicket(ctx, from, fields, id, rows)
	if err != nil {
		return err
	}
	if was, moved := foreign.Numbered(rows, now.Columns != nil); moved {
		return numbered(fields, id, rows, was, now, yield)
	}
	for _, s := range foreign.Tickets(rows, now, func(time int64) []string { return named[time] }) {
		if err := yield(ticketEvent(fields, id, s), s.Rows); err != nil {
			return err
		}
	}
	return nil
}

// readTicket reads a ticket as the tables have it, and which fields the changes have that the
// rows are about.
func readTicket(ctx context.Context, from Source, fields Fields, id int64, rows []capture.Row) (now foreign.Ticket, named map[int64][]string, err error) {
	now.Custom, named = foreign.Cells{}, map[int64][]string{}
	columns := slices.Concat(fields.Columns(), []string{"time", "changetime"})
	var times []any
	for _, r := range rows {
		if r.Code == foreign.HistoryTable && r.Op == capture.Inserted && r.Field == foreign.CommentField {
			times = append(times, r.At)
		}
	}
	reads := []Read{
		{`SELECT ` + quoted(columns) + ` FROM {ticket} WHERE id = ?`, []any{id}, func(rows *sql.Rows) error {
			now.Columns = foreign.Cells{}
			return scanCells(rows, columns, now.Columns)
		}},
		{`SELECT name, value FROM {ticket_custom} WHERE ticket = ?`, []any{id}, func(rows *sql.Rows) error {
			var name sql.NullString // on SQLite
			var value *string
			err := rows.Scan(&name, &value)
			now.Custom[name.String] = value
			return err
		}},
	}
	for some := range some(times) {
		reads = append(reads, Read{
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
	err = from.ReadAll(ctx, reads...)
	return now, named, err
}

// numbered yields that a ticket got another number, by hand: one is gone, and one is there.
func numbered(fields Fields, id int64, rows []capture.Row, was bool, now foreign.Ticket, yield yieldFunc) error {
	c := change(foreign.Step{Stamp: rows[len(rows)-1].Stamp}, 0)
	all := numbers(rows)
	var told tracbus.Event
	if was {
		gone := c
		gone.Absent |= tracbus.AttrValues
		told = tracbus.TicketDeleted{Change: gone, ID: id}
	}
	if now.Columns == nil {
		return yield(told, all)
	}
	if told != nil {
		if err := yield(told, nil); err != nil {
			return err
		}
	}
	return yield(tracbus.TicketCreated{Change: c, ID: id, Values: valuesOf(fields, now)}, all)
}

func ticketEvent(fields Fields, id int64, s foreign.TicketStep) tracbus.Event {
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

// valuesOf returns a ticket's values, as trac.Tickets says.
func valuesOf(fields Fields, t foreign.Ticket) tracbus.Fields {
	values := tracbus.Fields{}
	for _, name := range fields.Columns() {
		values[name] = textOf(t.Columns, name)
	}
	for _, name := range []string{"time", "changetime"} {
		values[name] = time.UnixMicro(t.Columns.Number(name)).UTC()
	}
	for name, initial := range fields.Custom {
		if _, there := t.Custom[name]; there {
			values[name] = fields.Value(name, textOf(t.Custom, name))
		} else if initial != nil {
			values[name] = initial
		}
	}
	return values
}

// changedOf returns fields that changed: without those that say when the ticket did.
func changedOf(fields Fields, cells foreign.Cells) tracbus.Fields {
	changed := readAs(fields, cells)
	delete(changed, "time")
	delete(changed, "changetime")
	return changed
}

// readAs returns what the tables hold as values of the ticket.
func readAs(fields Fields, cells foreign.Cells) tracbus.Fields {
	values := make(tracbus.Fields, len(cells))
	for name := range cells {
		values[name] = fields.Value(name, textOf(cells, name))
	}
	return values
}
