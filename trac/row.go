package trac

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
)

// ticketRow is a ticket as the tables hold it.
type ticketRow struct {
	id      int64
	changed int64           // changetime, in microseconds
	values  tracbus.Fields  // as Tickets says
	custom  map[string]bool // the custom fields that have a row
}

// lockRows ends a SELECT whose rows stay as they are until the commit. It also
// makes MySQL show what is committed now, and not what was at the transaction's
// first SELECT.
const lockRows = " {FOR UPDATE}"

// readTicket returns a ticket as Ticket._fetch_ticket does, and makes more reads after
// that. The row in ticket is locked first, so that what is read after it belongs to it.
func readTicket(ctx context.Context, from tables, fields fieldSet, id int64, lock string, more ...read) (*ticketRow, error) {
	if id < 1 || id > math.MaxInt32 { // the column is of 32 bits on PostgreSQL
		return nil, tracbus.ErrNotFound
	}
	t := &ticketRow{id: id, values: make(tracbus.Fields, len(ticketColumns())+len(fields.custom)+2), custom: map[string]bool{}}
	found := false
	reads := []read{{
		Text: `SELECT "time", changetime, ` + quotedNames(ticketColumns()) + ` FROM {ticket} WHERE id = ?` + lock, Args: []any{id},
		Scan: func(rows *sql.Rows) error { found = true; return t.scan(rows) },
	}}
	if len(fields.custom) > 0 {
		reads = append(reads, read{
			Text: `SELECT name, value FROM {ticket_custom} WHERE ticket = ?` + lock, Args: []any{id},
			Scan: func(rows *sql.Rows) error { return t.scanCustom(rows, fields) },
		})
	}
	if err := from.ReadAll(ctx, append(reads, more...)...); err != nil {
		return nil, err
	}
	if !found {
		return nil, tracbus.ErrNotFound
	}
	for _, f := range fields.custom {
		if !t.custom[f.name] && f.initial != nil {
			t.values[f.name] = f.initial
		}
	}
	return t, nil
}

// scan takes the row in ticket.
func (t *ticketRow) scan(rows *sql.Rows) error {
	names := ticketColumns()
	texts := make([]sql.NullString, len(names))
	var created, changed sql.NullInt64
	into := []any{&created, &changed}
	for i := range texts {
		into = append(into, &texts[i])
	}
	if err := rows.Scan(into...); err != nil {
		return err
	}
	t.changed = changed.Int64
	t.values["time"] = time.UnixMicro(created.Int64).UTC()
	t.values["changetime"] = time.UnixMicro(changed.Int64).UTC()
	for i, name := range names {
		t.values[name] = texts[i].String
	}
	return nil
}

// scanCustom takes a row in ticket_custom.
func (t *ticketRow) scanCustom(rows *sql.Rows, fields fieldSet) error {
	var name string
	var value sql.NullString
	if err := rows.Scan(&name, &value); err != nil {
		return err
	}
	if f, ok := fields.of(name); ok && f.custom {
		t.custom[name] = true
		t.values[name] = f.read(value.String)
	}
	return nil
}

func quotedNames(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }

// lockedTicket is a ticket that a Model changes: its row is locked.
type lockedTicket struct {
	row    *ticketRow
	tx     *tracbus.ModelTransaction
	tables tables // of tx
	fields fieldSet
	// last is the time of the latest change, lastNumber the number of its comment, and
	// number the highest number of a comment; all are 0 if there was no change.
	last               int64
	lastNumber, number int
	seen               sql.NullInt64 // changetime, as who read these saw it
}

// lockTicket locks a ticket and reads it.
func lockTicket(ctx context.Context, tx *tracbus.ModelTransaction, id int64, base time.Time) (*lockedTicket, error) {
	fields, err := fieldsOf(tx.Realm(tracbus.RealmTicket))
	if err != nil {
		return nil, err
	}
	t := &lockedTicket{tx: tx, tables: tablesOf(tx), fields: fields}
	if t.row, err = readTicket(ctx, t.tables, fields, id, lockRows, t.readNumbers(id)); err != nil {
		return nil, err
	}
	if t.last > 0 && t.lastNumber == 0 || !t.seen.Valid || t.seen.Int64 != t.row.changed {
		if err := t.count(ctx); err != nil {
			return nil, err
		}
	}
	if base.IsZero() || base.UnixMicro() == t.row.changed {
		return t, nil
	}
	if p, ok := tx.Pending(tracbus.TicketResource(id)); ok && p.Change.Time.UnixMicro() == t.row.changed {
		return t, nil // it was this transaction that changed it
	}
	return nil, t.conflict(ctx, base)
}

// conflict returns an error that says who was faster.
func (t *lockedTicket) conflict(ctx context.Context, base time.Time) error {
	var author sql.NullString
	err := t.tables.QueryRow(ctx, `SELECT author FROM {ticket_change} WHERE ticket = ? AND "time" = ? LIMIT 1`,
		t.row.id, t.row.changed).Scan(&author)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return fmt.Errorf("changed by %q at %s, and not at %s as expected: %w", cmp.Or(author.String, "somebody"),
		tracTimeText(time.UnixMicro(t.row.changed)), tracTimeText(base), tracbus.ErrConflict)
}

// tracTimeText writes a time for people, with all that Trac's tables hold of it.
func tracTimeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// when returns the time of a change that is made now: the transaction's, but
// later than every change of the ticket before. The key of ticket_change needs
// that, and so does everybody who compares changetimes. (Trac takes the clock's
// time, and fails if there is a change of that time.)
func (t *lockedTicket) when() int64 {
	return max(t.tx.Time().UnixMicro(), t.last+1, t.row.changed+1)
}
