package trac

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/value"
)

// ErrAmbiguousComment: two changes of a ticket have the number that a [CommentEdit] or
// [ChangeDelete] names. Trac gives two comments one number if they are made at once. Their
// times tell them apart. Returned by Save and Delete, and with [tracbus.ErrNotCommitted]
// by Update.
var ErrAmbiguousComment = errors.New("two changes have one number; ChangeTime says which is meant")

// CommentEdit is a [tracbus.Model] whose Save replaces the text of a comment of a
// ticket in Trac's tables. It cannot be deleted.
type CommentEdit struct {
	// ID is the ticket's number.
	ID int64

	// CommentNumber is the comment's number, as Trac shows it. Zero means that
	// ChangeTime alone says which comment is meant.
	CommentNumber int

	// ChangeTime is when the comment was made: Change.Time of its event, or the
	// column time of its row. If both are set, both must be those of one change; if
	// not, the error is [tracbus.ErrNotFound]. Zero means that it is not checked.
	ChangeTime time.Time

	// Comment is the new text. It may be empty.
	Comment string
}

// Resource implements [tracbus.Model].
func (e CommentEdit) Resource() tracbus.Resource { return tracbus.TicketResource(e.ID) }

// Save implements [tracbus.Model]. It writes what Trac does
// (Ticket.modify_comment, Trac 1.6), which keeps the old text too, and returns a
// [tracbus.TicketCommentEdited].
func (e CommentEdit) Save(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	event, err = e.save(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("comment %s: %w", named(e.CommentNumber, e.ChangeTime), err)
	}
	return event, nil
}

// named says which change was meant.
func named(number int, at time.Time) string {
	switch {
	case at.IsZero():
		return strconv.Itoa(number)
	case number == 0:
		return "of " + tracTimeText(at)
	}
	return fmt.Sprintf("%d of %s", number, tracTimeText(at))
}

// Delete implements [tracbus.Model] and returns an error: a comment is deleted
// with its change, by [ChangeDelete].
func (e CommentEdit) Delete(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	return nil, fmt.Errorf("comment %s: expected a ChangeDelete, got a CommentEdit", named(e.CommentNumber, e.ChangeTime))
}

func (e CommentEdit) save(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	if err := tablesOf(tx).CheckText("comment", e.Comment); err != nil {
		return nil, err
	}
	t, made, rows, err := lockChange(ctx, tx, e.ID, e.CommentNumber, e.ChangeTime)
	if err != nil {
		return nil, err
	}
	comment, old := value.Text(e.Comment), ""
	author, found, edits := any(nil), false, 0
	for _, r := range rows {
		if r.field == commentField {
			found, old = true, r.new.String
		} else if r.ofTicket() {
			author = r.author
		} else if n, ok := r.edit(); ok {
			edits = max(edits, n+1)
		}
	}
	if comment == old {
		return nil, nil
	}
	when := t.when()
	add := []newChange{{tx.Actor().Author, "_comment" + strconv.Itoa(edits), old, strconv.FormatInt(when, 10)}}
	if found {
		_, err = t.tables.Exec(ctx, `UPDATE {ticket_change} SET newvalue = ? WHERE ticket = ? AND "time" = ? AND field = 'comment'`,
			comment, t.row.id, made)
	} else {
		// An old Trac wrote this change. Its comment is by the change's author.
		add = append(add, newChange{author, commentField, "", comment})
	}
	if err == nil {
		err = t.add(ctx, made, add...)
	}
	if err == nil {
		err = t.touch(ctx, when)
	}
	if err != nil {
		return nil, err
	}
	return tracbus.TicketCommentEdited{
		Change: tracbus.Change{Time: time.UnixMicro(when).UTC(), Comment: comment}, ID: t.row.id, CommentTime: time.UnixMicro(made).UTC(), OldComment: old,
	}, nil
}

// lockChange locks a ticket and returns the change with that number and time.
func lockChange(ctx context.Context, tx *tracbus.ModelTransaction, id int64, number int, at time.Time) (
	t *lockedTicket, made int64, rows []changeRow, err error,
) {
	if t, err = lockTicket(ctx, tx, id, time.Time{}); err != nil {
		return nil, 0, nil, err
	}
	if made, err = t.find(ctx, number, at); err != nil {
		return nil, 0, nil, err
	}
	rows, err = t.change(ctx, made)
	return t, made, rows, err
}

// ChangeDelete is a [tracbus.Model] whose Delete takes a change out of a ticket's
// history in Trac's tables. It cannot be saved.
type ChangeDelete struct {
	// ID is the ticket's number.
	ID int64

	// CommentNumber is the number of the change's comment, as Trac shows it. Zero
	// means that ChangeTime alone says which change is meant.
	CommentNumber int

	// ChangeTime is when the change was made, as in [CommentEdit].
	ChangeTime time.Time
}

// Resource implements [tracbus.Model].
func (e ChangeDelete) Resource() tracbus.Resource { return tracbus.TicketResource(e.ID) }

// Save implements [tracbus.Model] and returns an error: give a ChangeDelete to
// [tracbus.ModelTransaction.Delete].
func (e ChangeDelete) Save(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	return nil, fmt.Errorf("change %s: expected a ChangeDelete to be deleted, not saved", named(e.CommentNumber, e.ChangeTime))
}

// Delete implements [tracbus.Model]. It does what Trac does
// (Ticket.delete_change, Trac 1.6), and returns a [tracbus.TicketChangeDeleted].
// A field that was changed again later keeps its value, and the old value of the
// later change becomes that of the deleted one, if it was the new value of the
// deleted one. Other fields get back their old value.
func (e ChangeDelete) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	event, err = e.delete(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("change %s: %w", named(e.CommentNumber, e.ChangeTime), err)
	}
	return event, nil
}

func (e ChangeDelete) delete(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	t, made, rows, err := lockChange(ctx, tx, e.ID, e.CommentNumber, e.ChangeTime)
	if err != nil {
		return nil, err
	}
	when := t.when()
	event := tracbus.TicketChangeDeleted{
		Change: tracbus.Change{Time: time.UnixMicro(when).UTC()}, ID: t.row.id, ChangeTime: time.UnixMicro(made).UTC(), New: tracbus.Fields{}, Old: tracbus.Fields{},
	}
	for _, r := range rows {
		if r.field == commentField {
			event.Comment = r.new.String
		}
		if !r.ofTicket() {
			continue
		}
		f, _ := t.fields.of(r.field)
		event.New[r.field], event.Old[r.field] = f.read(r.new.String), f.read(r.old.String)
		if err := t.undo(ctx, made, r); err != nil {
			return nil, err
		}
	}
	if _, err := t.tables.Exec(ctx, `DELETE FROM {ticket_change} WHERE ticket = ? AND "time" = ?`, t.row.id, made); err != nil {
		return nil, err
	}
	return event, t.touch(ctx, when)
}

// undo takes a row back from its field, or from the next change of that field.
// Trac compares with SQL's =, so a next change whose old value is NULL keeps it.
func (t *lockedTicket) undo(ctx context.Context, made int64, r changeRow) error {
	var next int64
	err := t.tables.QueryRow(ctx, `SELECT "time" FROM {ticket_change} WHERE ticket = ? AND "time" > ? AND field = ?
		ORDER BY "time" LIMIT 1`+lockRows, t.row.id, made, r.field).Scan(&next)
	last := errors.Is(err, sql.ErrNoRows)
	if err != nil && !last {
		return err
	}
	switch f, ok := t.fields.of(r.field); {
	case !last:
		_, err = t.tables.Exec(ctx, `UPDATE {ticket_change} SET oldvalue = ?
			WHERE ticket = ? AND "time" = ? AND field = ? AND oldvalue = ?`, r.old, t.row.id, next, r.field, r.new)
	case ok && !f.custom:
		_, err = t.tables.Exec(ctx, `UPDATE {ticket} SET "`+r.field+`" = ? WHERE id = ?`, r.old, t.row.id)
	default:
		_, err = t.tables.Exec(ctx, `UPDATE {ticket_custom} SET value = ? WHERE ticket = ? AND name = ?`, r.old, t.row.id, r.field)
	}
	return err
}
