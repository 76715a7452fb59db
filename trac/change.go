package trac

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
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

// readNumbers finds the latest change, and the highest number of a comment. Trac numbers by
// the latest change; but it takes its time before it waits for the ticket, so the latest
// change need not have the highest number, and the next comment would get one that is taken.
//
// The rows are not locked, because nobody adds any while the ticket is. A transaction that
// the application began may have an older view of them: then changetime is another one.
func (t *lockedTicket) readNumbers(id int64) read {
	t.seen.Valid = false
	return read{Text: `SELECT t.changetime, c."time", c.field, CASE WHEN c.field = 'comment' THEN c.oldvalue END
		FROM {ticket} t LEFT JOIN {ticket_change} c ON c.ticket = t.id
			AND (c.field = 'comment' OR c."time" = (SELECT MAX("time") FROM {ticket_change} WHERE ticket = t.id))
		WHERE t.id = ?`, Args: []any{id}, Scan: func(rows *sql.Rows) error {
		var time sql.NullInt64
		var field, old sql.NullString
		if err := rows.Scan(&t.seen, &time, &field, &old); err != nil {
			return err
		}
		t.seen.Valid = true
		if !time.Valid {
			return nil
		}
		number := 0
		if field.String == commentField {
			number = commentNumber(old.String)
		}
		switch {
		case time.Int64 > t.last:
			t.last, t.lastNumber = time.Int64, number
		case time.Int64 == t.last:
			t.lastNumber = max(t.lastNumber, number)
		}
		t.number = max(t.number, number)
		return nil
	}}
}

// count counts changes if the latest has no numbered comment, or if readNumbers had an older
// view of them.
func (t *lockedTicket) count(ctx context.Context) error {
	changes, err := t.numbered(ctx)
	for _, c := range changes {
		t.last, t.number = max(t.last, c.time), max(t.number, c.number, c.counted)
	}
	return err
}

// numberedChange is a change's time, its comment's number, 0 if it has none, and the number
// that it has if one counts on from the comment before.
type numberedChange struct {
	time            int64
	number, counted int
}

// numbered returns all changes of the ticket, the first one first.
func (t *lockedTicket) numbered(ctx context.Context) (changes []numberedChange, err error) {
	rows, err := t.tables.Query(ctx, `SELECT "time", field, oldvalue FROM {ticket_change} WHERE ticket = ?
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
	n := 0
	for i := range changes {
		if n++; changes[i].number > 0 {
			n = changes[i].number
		}
		changes[i].counted = n
	}
	return changes, cmp.Or(rows.Err(), rows.Close())
}

// find returns the time of the change that has a number, or was made at a time, or both. The
// number is the one in the comment, or else the one by counting (Ticket._find_change).
func (t *lockedTicket) find(ctx context.Context, number int, at time.Time) (int64, error) {
	changes, err := t.numbered(ctx)
	if err != nil {
		return 0, err
	}
	found := changes
	if number != 0 || at.IsZero() {
		has := func(c numberedChange) bool { return number > 0 && c.number == number }
		if !slices.ContainsFunc(changes, has) {
			has = func(c numberedChange) bool { return c.counted == number }
		}
		found = slices.DeleteFunc(found, func(c numberedChange) bool { return !has(c) })
	}
	if !at.IsZero() {
		found = slices.DeleteFunc(found, func(c numberedChange) bool { return c.time != at.UnixMicro() })
	}
	switch len(found) {
	case 0:
		return 0, tracbus.ErrNotFound
	case 1:
		return found[0].time, nil
	}
	times := make([]string, len(found))
	for i, c := range found {
		times[i] = tracTimeText(time.UnixMicro(c.time))
	}
	return 0, fmt.Errorf("the changes of %s have this number: %w", strings.Join(times, " and "), ErrAmbiguousComment)
}

// change returns the rows of the change of that time.
func (t *lockedTicket) change(ctx context.Context, time int64) (change []changeRow, err error) {
	rows, err := t.tables.Query(ctx, `SELECT field, author, oldvalue, newvalue FROM {ticket_change}
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
	return t.tables.InsertRows(ctx, `INSERT INTO {ticket_change} (ticket, "time", author, field, oldvalue, newvalue)`, values)
}

// setChange rewrites a row.
func (t *lockedTicket) setChange(ctx context.Context, time int64, field string, old, new any) error {
	_, err := t.tables.Exec(ctx, `UPDATE {ticket_change} SET oldvalue = ?, newvalue = ?
		WHERE ticket = ? AND "time" = ? AND field = ?`, old, new, t.row.id, time, field)
	return err
}

// dropChange deletes a row.
func (t *lockedTicket) dropChange(ctx context.Context, time int64, field string) error {
	_, err := t.tables.Exec(ctx, `DELETE FROM {ticket_change} WHERE ticket = ? AND "time" = ? AND field = ?`,
		t.row.id, time, field)
	return err
}

// touch sets changetime.
func (t *lockedTicket) touch(ctx context.Context, time int64) error {
	_, err := t.tables.Exec(ctx, `UPDATE {ticket} SET changetime = ? WHERE id = ?`, time, t.row.id)
	return err
}
