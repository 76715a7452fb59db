package tracbus

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ticketPatch is what a TicketEdit changes of a ticket.
type ticketPatch struct {
	*ticketEdition
	set      Fields // as the edit named them
	new, old Fields // those that are different
	comment  string
	replyTo  string // "3." before the comment's number
}

// write writes the patch, and returns the time of its change, and whether there
// is one: what this transaction has written before may be undone.
func (p *ticketPatch) write(ctx context.Context) (when int64, stands bool, err error) {
	pending, ours := p.tx.Pending(TicketResource(p.id))
	when = pending.Change.Time.UnixMicro()
	switch {
	case ours && pending.Kind == KindCreated:
		// What this transaction created has no change before it can be seen.
	case ours && pending.Kind == KindChanged && when == p.last:
	default:
		when = p.when()
	}
	p.changed = max(p.changed, when)
	if err := p.writeFields(ctx); err != nil {
		return 0, false, err
	}
	if err := p.writeCustom(ctx); err != nil {
		return 0, false, err
	}
	stands, err = p.writeChange(ctx, when, ours && pending.Kind == KindCreated)
	return when, stands, err
}

func (p *ticketPatch) writeFields(ctx context.Context) error {
	statement, args := `UPDATE {ticket} SET changetime = ?`, []any{p.changed}
	for _, name := range slices.Sorted(maps.Keys(p.new)) {
		if f := p.fields[name]; !f.custom {
			statement += `, "` + name + `" = ?`
			args = append(args, f.stored(p.new[name]))
		}
	}
	_, err := p.tx.exec(ctx, statement+` WHERE id = ?`, append(args, p.id)...)
	return err
}

// writeCustom writes the custom fields. One that has no row gets it now, with
// its default if nothing else, as Trac's ticket does when it is saved.
func (p *ticketPatch) writeCustom(ctx context.Context) error {
	var rows [][]any
	for _, name := range p.fields.names() {
		f := p.fields[name]
		v, different := p.new[name]
		named, isNamed := p.set[name]
		switch {
		case !f.custom:
		case p.rows[name] && different:
			_, err := p.tx.exec(ctx, `UPDATE {ticket_custom} SET value = ? WHERE ticket = ? AND name = ?`,
				f.stored(v), p.id, name)
			if err != nil {
				return err
			}
		case p.rows[name]:
		case isNamed:
			rows = append(rows, []any{p.id, name, f.stored(named)})
			p.values[name] = named
		case f.initial != nil:
			rows = append(rows, []any{p.id, name, f.stored(f.initial)})
		}
	}
	return insertRows(ctx, p.tx, `INSERT INTO {ticket_custom} (ticket, name, value)`, rows)
}

// writeChange writes the rows of ticket_change, or makes those that this
// transaction has written for the same change tell of both. created says that
// the ticket is a new one, whose fields have no such rows.
func (p *ticketPatch) writeChange(ctx context.Context, when int64, created bool) (stands bool, err error) {
	var before []ticketChangeRow
	if when == p.last {
		if before, err = p.change(ctx, when); err != nil {
			return false, err
		}
	}
	author, left := p.tx.Actor().Author, len(before)
	var rows []newTicketChange
	for _, name := range slices.Sorted(maps.Keys(p.new)) {
		f := p.fields[name]
		v := f.stored(p.new[name])
		i := slices.IndexFunc(before, func(r ticketChangeRow) bool { return r.field == name })
		switch {
		case created:
		case i < 0:
			rows = append(rows, newTicketChange{author, name, f.stored(p.old[name]), v})
		case before[i].old == nullable(v):
			err = p.dropChange(ctx, when, name)
			left--
		default:
			err = p.setChange(ctx, when, name, before[i].old, v)
		}
		if err != nil {
			return false, err
		}
	}
	i := slices.IndexFunc(before, func(r ticketChangeRow) bool { return r.field == ticketComment })
	switch {
	case i < 0 && (len(rows) > 0 || !blank(p.comment)):
		// An empty comment holds the number.
		rows = append(rows, newTicketChange{author, ticketComment, p.replyTo + strconv.Itoa(p.number+1), p.comment})
	case i < 0:
	case !blank(p.comment):
		number := before[i].old.String
		if p.replyTo != "" {
			number = p.replyTo + number[strings.LastIndexByte(number, '.')+1:]
		}
		err = p.setChange(ctx, when, ticketComment, number, p.comment)
	case left == 1 && len(rows) == 0 && blank(before[i].new.String) && !created:
		return false, p.dropChange(ctx, when, ticketComment)
	}
	if err != nil {
		return false, err
	}
	return true, p.add(ctx, when, rows...)
}

func nullable(stored any) sql.NullString {
	s, ok := stored.(string)
	return sql.NullString{String: s, Valid: ok}
}
