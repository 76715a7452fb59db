package tracbus

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
)

// A change of a ticket is the rows of ticket_change with one time: one for each
// field, one for the comment, empty or not, whose old value is the comment's
// number ("3", or "1.3" where it replies to the first), and one "_comment0",
// "_comment1" … for each edit of the comment, with what it was before, and the
// edit's time as the new value.

const ticketComment = "comment"

// ticketChangeRow is a row of a change.
type ticketChangeRow struct {
	field    string
	author   sql.NullString
	old, new sql.NullString
}

// edit returns the number in the field's name if the row tells of an edit of the
// comment.
func (r ticketChangeRow) edit() (int, bool) {
	digits, ok := strings.CutPrefix(r.field, "_comment")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil
}

// ofTicket says whether the row tells of a field of the ticket.
func (r ticketChangeRow) ofTicket() bool {
	return r.field != ticketComment && !strings.HasPrefix(r.field, "_")
}

// commentNumber returns the number in a comment's old value, or 0.
func commentNumber(old string) int {
	n, err := strconv.Atoi(old[strings.LastIndexByte(old, '.')+1:])
	if err != nil {
		return 0
	}
	return n
}

// readLast finds the latest change and its number, as Ticket.save_changes does
// for the next: where a change has no numbered comment, it and those before it
// are counted.
func (t *ticketEdition) readLast(ctx context.Context) error {
	var field string
	var old sql.NullString
	err := t.tx.queryRow(ctx, `SELECT "time", field, oldvalue FROM {ticket_change} WHERE ticket = ?
		ORDER BY "time" DESC, CASE WHEN field = 'comment' THEN 0 ELSE 1 END LIMIT 1`+lockRows, t.id).
		Scan(&t.last, &field, &old)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case field == ticketComment:
		t.number = commentNumber(old.String)
	}
	if t.number > 0 {
		return nil
	}
	changes, err := t.numbered(ctx)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if t.number++; c.number > 0 {
			t.number = c.number
		}
	}
	return nil
}

// ticketChangeNumber is a change's time and its comment's number, which is 0
// where there is none.
type ticketChangeNumber struct {
	time   int64
	number int
}

// numbered returns all changes of the ticket, the first one first.
func (t *ticketEdition) numbered(ctx context.Context) (changes []ticketChangeNumber, err error) {
	rows, err := t.tx.query(ctx, `SELECT "time", field, oldvalue FROM {ticket_change} WHERE ticket = ?
		ORDER BY "time"`+lockRows, t.id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var time int64
		var field string
		var old sql.NullString
		if err := rows.Scan(&time, &field, &old); err != nil {
			return nil, err
		}
		if len(changes) == 0 || changes[len(changes)-1].time != time {
			changes = append(changes, ticketChangeNumber{time: time})
		}
		if field == ticketComment {
			changes[len(changes)-1].number = commentNumber(old.String)
		}
	}
	return changes, cmp.Or(rows.Err(), rows.Close())
}

// find returns the time of the change with that number, as Ticket._find_change
// does: by the number in the comment, or else by counting.
func (t *ticketEdition) find(ctx context.Context, number int) (time int64, found bool, err error) {
	changes, err := t.numbered(ctx)
	if err != nil {
		return 0, false, err
	}
	for _, c := range changes {
		if number > 0 && c.number == number {
			return c.time, true, nil
		}
	}
	n := 0
	for _, c := range changes {
		if n++; c.number > 0 {
			n = c.number
		}
		if n == number {
			return c.time, true, nil
		}
	}
	return 0, false, nil
}

// change returns the rows of the change of that time.
func (t *ticketEdition) change(ctx context.Context, time int64) (change []ticketChangeRow, err error) {
	rows, err := t.tx.query(ctx, `SELECT field, author, oldvalue, newvalue FROM {ticket_change}
		WHERE ticket = ? AND "time" = ?`+lockRows, t.id, time)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r ticketChangeRow
		if err := rows.Scan(&r.field, &r.author, &r.old, &r.new); err != nil {
			return nil, err
		}
		change = append(change, r)
	}
	return change, cmp.Or(rows.Err(), rows.Close())
}

// newTicketChange is a row to be written.
type newTicketChange struct {
	author   any
	field    string
	old, new any
}

// add writes rows of the change of that time.
func (t *ticketEdition) add(ctx context.Context, time int64, rows ...newTicketChange) error {
	values := make([][]any, len(rows))
	for i, r := range rows {
		values[i] = []any{t.id, time, r.author, r.field, r.old, r.new}
	}
	return insertRows(ctx, t.tx, `INSERT INTO {ticket_change} (ticket, "time", author, field, oldvalue, newvalue)`, values)
}

// insertRows writes rows in one statement.
func insertRows(ctx context.Context, tx *ModelTransaction, insert string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	var args []any
	row := "(?" + strings.Repeat(", ?", len(rows[0])-1) + ")"
	for _, values := range rows {
		args = append(args, values...)
	}
	_, err := tx.exec(ctx, insert+" VALUES "+row+strings.Repeat(", "+row, len(rows)-1), args...)
	return err
}

// setChange rewrites a row.
func (t *ticketEdition) setChange(ctx context.Context, time int64, field string, old, new any) error {
	_, err := t.tx.exec(ctx, `UPDATE {ticket_change} SET oldvalue = ?, newvalue = ?
		WHERE ticket = ? AND "time" = ? AND field = ?`, old, new, t.id, time, field)
	return err
}

// dropChange deletes a row.
func (t *ticketEdition) dropChange(ctx context.Context, time int64, field string) error {
	_, err := t.tx.exec(ctx, `DELETE FROM {ticket_change} WHERE ticket = ? AND "time" = ? AND field = ?`,
		t.id, time, field)
	return err
}

// touch sets changetime.
func (t *ticketEdition) touch(ctx context.Context, time int64) error {
	_, err := t.tx.exec(ctx, `UPDATE {ticket} SET changetime = ? WHERE id = ?`, time, t.id)
	return err
}
