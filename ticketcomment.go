package tracbus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tracbus/tracbus/internal/value"
)

// TicketCommentEdit rewrites a comment of a ticket in Trac's tables, see
// [TracTickets]. It is a [Model] to be saved, and cannot be deleted.
type TicketCommentEdit struct {
	// ID is the ticket's number, and Number the comment's, as Trac shows it.
	ID     int64
	Number int

	// Comment is the new text. It may be empty.
	Comment string
}

// Resource implements [Model].
func (e TicketCommentEdit) Resource() Resource { return TicketResource(e.ID) }

// Save implements [Model]. It writes what Trac does (Ticket.modify_comment, Trac
// 1.6), which keeps the text that was, and returns a [TicketCommentEdited].
func (e TicketCommentEdit) Save(ctx context.Context, tx *ModelTransaction) (Event, error) {
	event, err := e.save(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("comment %d: %w", e.Number, err)
	}
	return event, nil
}

// Delete implements [Model] and returns an error: what deletes a comment is a
// [TicketChangeDelete].
func (e TicketCommentEdit) Delete(context.Context, *ModelTransaction) (Event, error) {
	return nil, fmt.Errorf("comment %d: expected a TicketChangeDelete, got a TicketCommentEdit", e.Number)
}

func (e TicketCommentEdit) save(ctx context.Context, tx *ModelTransaction) (Event, error) {
	if err := tx.journal.checkText("comment", e.Comment); err != nil {
		return nil, err
	}
	t, made, rows, err := editChange(ctx, tx, e.ID, e.Number)
	if err != nil {
		return nil, err
	}
	comment, old := value.Text(e.Comment), ""
	author, found, edits := any(nil), false, 0
	for _, r := range rows {
		if r.field == ticketComment {
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
	add := []newTicketChange{{tx.Actor().Author, "_comment" + strconv.Itoa(edits), old, strconv.FormatInt(when, 10)}}
	if found {
		_, err = tx.exec(ctx, `UPDATE {ticket_change} SET newvalue = ? WHERE ticket = ? AND "time" = ? AND field = 'comment'`,
			comment, t.id, made)
	} else {
		// A change that old Tracs wrote. Its comment is by who made the change.
		add = append(add, newTicketChange{author, ticketComment, "", comment})
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
	return TicketCommentEdited{
		Change{Time: time.UnixMicro(when).UTC(), Comment: comment}, t.id, time.UnixMicro(made).UTC(), old,
	}, nil
}

// editChange locks a ticket and returns the change with that number.
func editChange(ctx context.Context, tx *ModelTransaction, id int64, number int) (
	t *ticketEdition, made int64, rows []ticketChangeRow, err error,
) {
	if t, err = editTicket(ctx, tx, id, time.Time{}); err != nil {
		return nil, 0, nil, err
	}
	made, found, err := t.find(ctx, number)
	if err != nil {
		return nil, 0, nil, err
	}
	if !found {
		return nil, 0, nil, ErrNotFound
	}
	rows, err = t.change(ctx, made)
	return t, made, rows, err
}

// TicketChangeDelete takes a change out of a ticket's history in Trac's tables,
// see [TracTickets]. It is a [Model] to be deleted, and cannot be saved.
type TicketChangeDelete struct {
	// ID is the ticket's number, and Number the one of the change's comment.
	ID     int64
	Number int
}

// Resource implements [Model].
func (e TicketChangeDelete) Resource() Resource { return TicketResource(e.ID) }

// Save implements [Model] and returns an error: a TicketChangeDelete is given to
// [ModelTransaction.Delete].
func (e TicketChangeDelete) Save(context.Context, *ModelTransaction) (Event, error) {
	return nil, fmt.Errorf("change %d: expected a TicketChangeDelete to be deleted, not saved", e.Number)
}

// Delete implements [Model]. It does what Trac does (Ticket.delete_change, Trac
// 1.6), and returns a [TicketChangeDeleted]: a field that was changed again later
// keeps its value, and the later change tells the old value of the deleted one
// if it had told the new one; other fields get back their old value.
func (e TicketChangeDelete) Delete(ctx context.Context, tx *ModelTransaction) (Event, error) {
	event, err := e.delete(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("change %d: %w", e.Number, err)
	}
	return event, nil
}

func (e TicketChangeDelete) delete(ctx context.Context, tx *ModelTransaction) (Event, error) {
	t, made, rows, err := editChange(ctx, tx, e.ID, e.Number)
	if err != nil {
		return nil, err
	}
	when := t.when()
	event := TicketChangeDeleted{
		Change{Time: time.UnixMicro(when).UTC()}, t.id, time.UnixMicro(made).UTC(), Fields{}, Fields{},
	}
	for _, r := range rows {
		if r.field == ticketComment {
			event.Comment = r.new.String
		}
		if !r.ofTicket() {
			continue
		}
		f := t.fields[r.field]
		event.New[r.field], event.Old[r.field] = f.read(r.new.String), f.read(r.old.String)
		if err := t.undo(ctx, made, r); err != nil {
			return nil, err
		}
	}
	if _, err := tx.exec(ctx, `DELETE FROM {ticket_change} WHERE ticket = ? AND "time" = ?`, t.id, made); err != nil {
		return nil, err
	}
	return event, t.touch(ctx, when)
}

// undo makes a field, or the next change of it, forget a row. Trac compares with
// the SQL sign =, so a next change that follows on NULL keeps it as old value.
func (t *ticketEdition) undo(ctx context.Context, made int64, r ticketChangeRow) error {
	var next int64
	err := t.tx.queryRow(ctx, `SELECT "time" FROM {ticket_change} WHERE ticket = ? AND "time" > ? AND field = ?
		ORDER BY "time" LIMIT 1`+lockRows, t.id, made, r.field).Scan(&next)
	last := errors.Is(err, sql.ErrNoRows)
	if err != nil && !last {
		return err
	}
	switch f, ok := t.fields[r.field]; {
	case !last:
		_, err = t.tx.exec(ctx, `UPDATE {ticket_change} SET oldvalue = ?
			WHERE ticket = ? AND "time" = ? AND field = ? AND oldvalue = ?`, r.old, t.id, next, r.field, r.new)
	case ok && !f.custom:
		_, err = t.tx.exec(ctx, `UPDATE {ticket} SET "`+r.field+`" = ? WHERE id = ?`, r.old, t.id)
	default:
		_, err = t.tx.exec(ctx, `UPDATE {ticket_custom} SET value = ? WHERE ticket = ? AND name = ?`, r.old, t.id, r.field)
	}
	return err
}
