package tracbus

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// querier is a transaction or a snapshot.
type querier interface {
	query(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	queryRow(ctx context.Context, text string, args ...any) *sql.Row
}

// ticketRow is a ticket as the tables hold it.
type ticketRow struct {
	id      int64
	changed int64           // changetime, in microseconds
	values  Fields          // as TracTickets says
	rows    map[string]bool // the custom fields that have a row
}

// lockRows is the end of a SELECT whose rows stay as they are until the commit.
// It also makes MySQL show what is committed now, and not at the transaction's
// first SELECT.
const lockRows = " {FOR UPDATE}"

// readTicket returns a ticket as Ticket._fetch_ticket does. The row in ticket is
// locked first, so that what is read after it belongs to it.
func readTicket(ctx context.Context, q querier, fields ticketFields, id int64, lock string) (*ticketRow, error) {
	if id < 1 || id > math.MaxInt32 { // the column is of 32 bits on PostgreSQL
		return nil, ErrNotFound
	}
	t := &ticketRow{id: id, values: make(Fields, len(fields)+2), rows: map[string]bool{}}
	names := ticketColumns()
	texts := make([]sql.NullString, len(names))
	var created, changed sql.NullInt64
	into := []any{&created, &changed}
	for i := range texts {
		into = append(into, &texts[i])
	}
	err := q.queryRow(ctx, `SELECT "time", changetime, `+quotedNames(names)+
		` FROM {ticket} WHERE id = ?`+lock, id).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	} else if err != nil {
		return nil, err
	}
	t.changed = changed.Int64
	t.values["time"] = time.UnixMicro(created.Int64).UTC()
	t.values["changetime"] = time.UnixMicro(changed.Int64).UTC()
	for i, name := range names {
		t.values[name] = texts[i].String
	}
	return t, t.readCustom(ctx, q, fields, lock)
}

func (t *ticketRow) readCustom(ctx context.Context, q querier, fields ticketFields, lock string) error {
	rows, err := q.query(ctx, `SELECT name, value FROM {ticket_custom} WHERE ticket = ?`+lock, t.id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var value sql.NullString
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		if f, ok := fields[name]; ok && f.custom {
			t.rows[name] = true
			t.values[name] = f.read(value.String)
		}
	}
	for name, f := range fields {
		if f.custom && !t.rows[name] && f.initial != nil {
			t.values[name] = f.initial
		}
	}
	return cmp.Or(rows.Err(), rows.Close())
}

func quotedNames(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }

// ticketEdition is a ticket in the hands of a Model: its row is locked.
type ticketEdition struct {
	*ticketRow
	tx     *ModelTransaction
	fields ticketFields
	// last is the time of the latest change, and number that of its comment;
	// both are 0 if there was no change.
	last   int64
	number int
}

// editTicket locks a ticket and reads it.
func editTicket(ctx context.Context, tx *ModelTransaction, id int64, base time.Time) (*ticketEdition, error) {
	fields, err := ticketFieldsOf(tx.journal)
	if err != nil {
		return nil, err
	}
	row, err := readTicket(ctx, tx, fields, id, lockRows)
	if err != nil {
		return nil, err
	}
	t := &ticketEdition{ticketRow: row, tx: tx, fields: fields}
	if err := t.readLast(ctx); err != nil {
		return nil, err
	}
	if base.IsZero() || base.UnixMicro() == t.changed {
		return t, nil
	}
	if p, ok := tx.Pending(TicketResource(id)); ok && p.Change.Time.UnixMicro() == t.changed {
		return t, nil // it was this transaction that changed it
	}
	return nil, t.conflict(ctx, base)
}

// conflict says who was faster.
func (t *ticketEdition) conflict(ctx context.Context, base time.Time) error {
	var author sql.NullString
	err := t.tx.queryRow(ctx, `SELECT author FROM {ticket_change} WHERE ticket = ? AND "time" = ? LIMIT 1`,
		t.id, t.changed).Scan(&author)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	const form = "2006-01-02T15:04:05.000000Z"
	return fmt.Errorf("changed by %q at %s, and not at %s as expected: %w", cmp.Or(author.String, "somebody"),
		time.UnixMicro(t.changed).UTC().Format(form), base.UTC().Format(form), ErrConflict)
}

// when returns the time of a change that is made now. It is that of the
// transaction, but later than every change that the ticket saw: the key of
// ticket_change needs it, and so does whoever compares changetimes. (Trac takes
// the clock's time, and fails where there is a change of that time.)
func (t *ticketEdition) when() int64 {
	return max(t.tx.Time().UnixMicro(), t.last+1, t.changed+1)
}
