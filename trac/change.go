package trac

import (
	"cmp"
	"context"
	"database/sql"
	"strconv"
	"strings"
)

// A change of a ticket is the rows of ticket_change with one time: one for each
// field; one for the comment, empty or not, whose old value is the comment's
// number ("3", or "1.3" if it replies to the first); and one "_comment0",
// "_comment1" … for each edit of the comment, with the comment before it as the
// old value and the edit's time as the new one.

const commentField = "comment"

// changeRow is a row of a change.
type changeRow struct {
	field    string
	author   sql.NullString
	old, new sql.NullString
}

// edit returns the number in the field's name, if the row is an edit of the
// comment.
func (r changeRow) edit() (int, bool) {
	digits, ok := strings.CutPrefix(r.field, "_comment")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil
}

// ofTicket says whether the row is of a field of the ticket.
func (r changeRow) ofTicket() bool {
	return r.field != commentField && !strings.HasPrefix(r.field, "_")
}

// commentNumber returns the number in a comment's old value, or 0.
func commentNumber(old string) int {
	n, err := strconv.Atoi(old[strings.LastIndexByte(old, '.')+1:])
	if err != nil {
		return 0
	}
	return n
}

// readLast finds the latest change and its number, as Ticket.save_changes does to
// number the next one.
func (t *lockedTicket) readLast(id int64) read {
	return read{`SELECT "time", field, oldvalue FROM {ticket_change} WHERE ticket = ?
		ORDER BY "time" DESC, CASE WHEN field = 'comment' THEN 0 ELSE 1 END LIMIT 1` + lockRows, []any{id}, func(rows *sql.Rows) error {
		var field string
		var old sql.NullString
		t.changed = true
		err := rows.Scan(&t.last, &field, &old)
		if field == commentField {
			t.number = commentNumber(old.String)
		}
		return err
	}}
}

// count numbers a latest change that has no numbered comment: it and those before it are
// counted.
func (t *lockedTicket) count(ctx context.Context) error {
	changes, err := t.numbered(ctx)
	for _, c := range changes {
		if t.number++; c.number > 0 {
			t.number = c.number
		}
	}
	return err
}

// numberedChange is a change's time and its comment's number, 0 if it has none.
type numberedChange struct {
	time   int64
	number int
}

// numbered returns all changes of the ticket, the first one first.
func (t *lockedTicket) numbered(ctx context.Context) (changes []numberedChange, err error) {
	rows, err := t.tables.query(ctx, `SELECT "time", field, oldvalue FROM {ticket_change} WHERE ticket = ?
		ORDER BY "time"`+lockRows, t.row.id)
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
			changes = append(changes, numberedChange{time: time})
		}
		if field == commentField {
			changes[len(changes)-1].number = commentNumber(old.String)
		}
	}
	return changes, cmp.Or(rows.Err(), rows.Close())
}

// find returns the time of the change with that number, as Ticket._find_change
// does: by the number in the comment, or else by counting.
func (t *lockedTicket) find(ctx context.Context, number int) (time int64, found bool, err error) {
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
func (t *lockedTicket) change(ctx context.Context, time int64) (change []changeRow, err error) {
	rows, err := t.tables.query(ctx, `SELECT field, author, oldvalue, newvalue FROM {ticket_change}
		WHERE ticket = ? AND "time" = ?`+lockRows, t.row.id, time)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r changeRow
		if err := rows.Scan(&r.field, &r.author, &r.old, &r.new); err != nil {
			return nil, err
		}
		change = append(change, r)
	}
	return change, cmp.Or(rows.Err(), rows.Close())
}

// newChange is a row to be written.
type newChange struct {
	author   any
	field    string
	old, new any
}

// add writes rows of the change of that time.
func (t *lockedTicket) add(ctx context.Context, time int64, rows ...newChange) error {
	values := make([][]any, len(rows))
	for i, r := range rows {
		values[i] = []any{t.row.id, time, r.author, r.field, r.old, r.new}
	}
	return t.tables.insertRows(ctx, `INSERT INTO {ticket_change} (ticket, "time", author, field, oldvalue, newvalue)`, values)
}

// setChange rewrites a row.
func (t *lockedTicket) setChange(ctx context.Context, time int64, field string, old, new any) error {
	_, err := t.tables.exec(ctx, `UPDATE {ticket_change} SET oldvalue = ?, newvalue = ?
		WHERE ticket = ? AND "time" = ? AND field = ?`, old, new, t.row.id, time, field)
	return err
}

// dropChange deletes a row.
func (t *lockedTicket) dropChange(ctx context.Context, time int64, field string) error {
	_, err := t.tables.exec(ctx, `DELETE FROM {ticket_change} WHERE ticket = ? AND "time" = ? AND field = ?`,
		t.row.id, time, field)
	return err
}

// touch sets changetime.
func (t *lockedTicket) touch(ctx context.Context, time int64) error {
	_, err := t.tables.exec(ctx, `UPDATE {ticket} SET changetime = ? WHERE id = ?`, time, t.row.id)
	return err
}
