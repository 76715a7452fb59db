package trac

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tracbus/tracbus"
)

// patch is what a TicketEdit changes of a ticket.
type patch struct {
	ticket   *lockedTicket
	set      tracbus.Fields // as the edit named them
	new, old tracbus.Fields // those that are different
	comment  string
	replyTo  string // "3." before the comment's number
}

// write writes the patch. It returns the time of its change, and whether there
// still is one: the patch may undo what this transaction has written before.
func (p *patch) write(ctx context.Context) (when int64, exists bool, err error) {
	pending, ours := p.ticket.tx.Pending(tracbus.TicketResource(p.ticket.row.id))
	when = pending.Change.Time.UnixMicro()
	switch {
	case ours && pending.Kind == tracbus.KindCreated:
		// What this transaction created has no change until others can see it.
	case ours && pending.Kind == tracbus.KindChanged && when == p.ticket.last:
	default:
		when = p.ticket.when()
	}
	p.ticket.row.changed = max(p.ticket.row.changed, when)
	if err := p.writeFields(ctx); err != nil {
		return 0, false, err
	}
	if err := p.writeCustom(ctx); err != nil {
		return 0, false, err
	}
	exists, err = p.writeChange(ctx, when, ours && pending.Kind == tracbus.KindCreated)
	return when, exists, err
}

func (p *patch) writeFields(ctx context.Context) error {
	statement, args := `UPDATE {ticket} SET changetime = ?`, []any{p.ticket.row.changed}
	for _, name := range slices.Sorted(maps.Keys(p.new)) {
		if f, _ := p.ticket.fields.of(name); !f.custom {
			statement += `, "` + name + `" = ?`
			args = append(args, f.stored(p.new[name]))
		}
	}
	_, err := p.ticket.tables.Exec(ctx, statement+` WHERE id = ?`, append(args, p.ticket.row.id)...)
	return err
}

// writeCustom writes the custom fields. One without a row gets it now, with its
// new value or else its default, as Trac's ticket does when it is saved.
func (p *patch) writeCustom(ctx context.Context) error {
	var rows [][]any
	for _, f := range p.ticket.fields.custom {
		name := f.name
		v, different := p.new[name]
		named, isNamed := p.set[name]
		switch {
		case p.ticket.row.custom[name] && different:
			_, err := p.ticket.tables.Exec(ctx, `UPDATE {ticket_custom} SET value = ? WHERE ticket = ? AND name = ?`,
				f.stored(v), p.ticket.row.id, name)
			if err != nil {
				return err
			}
		case p.ticket.row.custom[name]:
		case isNamed:
			rows = append(rows, []any{p.ticket.row.id, name, f.stored(named)})
			p.ticket.row.values[name] = named
		case f.initial != nil:
			rows = append(rows, []any{p.ticket.row.id, name, f.stored(f.initial)})
		}
	}
	return p.ticket.tables.InsertRows(ctx, `INSERT INTO {ticket_custom} (ticket, name, value)`, rows)
}

// writeChange writes the rows of ticket_change. If this transaction has written
// rows of the same change before, they then cover both. created says that the
// ticket is new, so that its fields have no such rows.
func (p *patch) writeChange(ctx context.Context, when int64, created bool) (exists bool, err error) {
	var before []changeRow
	if when == p.ticket.last {
		if before, err = p.ticket.change(ctx, when); err != nil {
			return false, err
		}
	}
	author, left := p.ticket.tx.Actor().Author, len(before)
	var rows []newChange
	for _, name := range slices.Sorted(maps.Keys(p.new)) {
		f, _ := p.ticket.fields.of(name)
		v := f.stored(p.new[name])
		i := slices.IndexFunc(before, func(r changeRow) bool { return r.field == name })
		switch {
		case created:
		case i < 0:
			rows = append(rows, newChange{author, name, f.stored(p.old[name]), v})
		case before[i].old == nullable(v):
			err = p.ticket.dropChange(ctx, when, name)
			left--
		default:
			err = p.ticket.setChange(ctx, when, name, before[i].old, v)
		}
		if err != nil {
			return false, err
		}
	}
	i := slices.IndexFunc(before, func(r changeRow) bool { return r.field == commentField })
	switch {
	case i < 0 && (len(rows) > 0 || !blank(p.comment)):
		// An empty comment too keeps the number.
		rows = append(rows, newChange{author, commentField, p.replyTo + strconv.Itoa(p.ticket.number+1), p.comment})
	case i < 0:
	case !blank(p.comment):
		number := before[i].old.String
		if p.replyTo != "" {
			number = p.replyTo + number[strings.LastIndexByte(number, '.')+1:]
		}
		err = p.ticket.setChange(ctx, when, commentField, number, p.comment)
	case left == 1 && len(rows) == 0 && blank(before[i].new.String) && !created:
		return false, p.ticket.dropChange(ctx, when, commentField)
	}
	if err != nil {
		return false, err
	}
	return true, p.ticket.add(ctx, when, rows...)
}

func nullable(stored any) sql.NullString {
	s, ok := stored.(string)
	return sql.NullString{String: s, Valid: ok}
}
