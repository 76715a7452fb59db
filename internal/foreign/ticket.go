package foreign

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/tracbus/tracbus/internal/capture"
)

// The letters of Trac's tables of tickets.
const (
	TicketTable  = "t"
	CustomTable  = "c"
	HistoryTable = "h"
)

// CommentField is the field of a change's comment in the history.
const CommentField = "comment"

const (
	changetime = "changetime"
	editPrefix = "_comment" // and a number: the field of what a comment was before an edit
)

// Ticket is a ticket's row, nil if there is none, and its rows in ticket_custom.
type Ticket struct{ Columns, Custom Cells }

func (t Ticket) clone() Ticket {
	c := Ticket{Custom: t.Custom.clone()}
	if t.Columns != nil {
		c.Columns = t.Columns.clone()
	}
	return c
}

// cells returns the part that a table's rows are about.
func (t *Ticket) cells(table string) Cells {
	if table == CustomTable {
		return t.Custom
	}
	return t.Columns
}

// TicketStep is one change of a ticket.
type TicketStep struct {
	Step
	Ticket  Ticket // after it; before it if it was removed
	Time    int64  // in microseconds since 1970, as Trac has it; 0 if it has none
	Comment *string

	// New and Old are the fields that it changed, or that the deleted change had. A custom field
	// without a row is missing.
	New, Old Cells

	// Of an edit of a comment, and of a deleted change.
	Made       int64 // when the change had been made
	OldComment *string
}

// Tickets returns what the rows say that was done to one ticket, which is now as given. named
// returns the fields that the history has of the change of a time, as the tables are now.
func Tickets(rows []capture.Row, now Ticket, named func(time int64) []string) []TicketStep {
	w := &ticketWalk{rows: rows, named: named, inserted: map[int64]Cells{}, gone: map[int64][]string{}}
	w.takeBack(now)
	for i := 0; i < len(rows); {
		i = w.take(i)
	}
	w.flush()
	slices.SortStableFunc(w.steps, func(a, b TicketStep) int { return cmp.Compare(a.Last, b.Last) })
	return w.steps
}

// Numbered says whether a ticket got this number from another one, or gave it away, and then whether
// there was a ticket with it before all rows. exists says whether there is one now.
func Numbered(rows []capture.Row, exists bool) (was, moved bool) {
	known := false
	for _, r := range rows {
		if r.Code != TicketTable || r.Op == capture.Updated && r.Field != capture.IDField {
			continue
		}
		if !known {
			known, was = true, r.Op == capture.Deleted || r.Op == capture.Updated
		}
		moved = moved || r.Field == capture.IDField
	}
	return known && was || !known && exists, moved
}

type ticketWalk struct {
	rows     []capture.Row
	named    func(time int64) []string
	inserted map[int64]Cells    // the row of the ticket as it was inserted, by the number
	gone     map[int64][]string // fields of history that were deleted, by the change's time

	at      Ticket // as of the row that is looked at
	before  Ticket // as of before the first pending
	pending []capture.Row
	edits   []*edit
	drops   []*drop
	steps   []TicketStep
}

// edit is one of a comment that is not finished.
type edit struct {
	step  TicketStep
	when  string
	found bool // the comment's row
}

// drop is the deletion of a change that is not finished.
type drop struct {
	step TicketStep
	made int64
}

// takeBack finds the state before all rows.
func (w *ticketWalk) takeBack(now Ticket) {
	w.at = now.clone()
	for _, r := range slices.Backward(w.rows) {
		switch {
		case r.Code == HistoryTable:
			if r.Op == capture.Deleted && ofTicket(r.Field) {
				w.gone[r.At] = append(w.gone[r.At], r.Field)
			}
		case r.Code == TicketTable && r.Op == capture.Inserted:
			w.inserted[r.N] = w.at.Columns
			w.at.Columns = nil
		case r.Field == capture.IDField:
		case r.Code == CustomTable && r.Op == capture.Inserted:
			delete(w.at.Custom, r.Field)
		default:
			if r.Code == TicketTable && w.at.Columns == nil {
				w.at.Columns = Cells{}
			}
			w.at.cells(r.Code)[r.Field] = r.Old
		}
	}
	w.before = w.at.clone()
}

// ofTicket says whether a field of the history is one of the ticket.
func ofTicket(field string) bool { return field != CommentField && !strings.HasPrefix(field, "_") }

// apply does what a row of ticket or ticket_custom says.
func (w *ticketWalk) apply(r capture.Row) {
	switch {
	case r.Field == capture.IDField:
	case r.Op == capture.Deleted:
		delete(w.at.cells(r.Code), r.Field)
	default:
		if r.Code == TicketTable && w.at.Columns == nil {
			w.at.Columns = Cells{}
		}
		w.at.cells(r.Code)[r.Field] = r.New
	}
}

// take looks at the row in a place, and returns the place of the next one.
func (w *ticketWalk) take(i int) (next int) {
	switch r := w.rows[i]; {
	case r.Code == TicketTable && r.Op == capture.Inserted:
		return w.created(i)
	case r.Code == TicketTable && r.Op == capture.Deleted:
		return w.removed(i)
	case r.Code == HistoryTable:
		w.history(r)
	case r.Code == TicketTable && r.Field == changetime && w.ends(i):
	default:
		w.apply(r)
		w.pending = append(w.pending, r)
	}
	return i + 1
}

// created is a ticket with the custom fields that follow.
func (w *ticketWalk) created(i int) (next int) {
	w.flush()
	s := TicketStep{Step: Step{Kind: Created, Known: true}}
	s.took(w.rows[i])
	if w.at.Columns = w.inserted[w.rows[i].N].clone(); w.at.Columns == nil {
		w.at.Columns = Cells{}
	}
	for i++; i < len(w.rows) && w.rows[i].Code == CustomTable && w.rows[i].Op == capture.Inserted; i++ {
		w.apply(w.rows[i])
		s.took(w.rows[i])
	}
	s.Ticket, s.Who = w.at.clone(), w.at.Columns["reporter"]
	s.Time, _ = strconv.ParseInt(text(w.at.Columns[changetime]), 10, 64)
	w.add(s)
	return i
}

// removed is a ticket with all that it had.
func (w *ticketWalk) removed(i int) (next int) {
	w.flush()
	s := TicketStep{Step: Step{Kind: Removed}, Ticket: w.at.clone()}
	for i < len(w.rows) && w.rows[i].Op == capture.Deleted {
		if w.rows[i].Code == CustomTable {
			w.apply(w.rows[i])
		}
		s.took(w.rows[i])
		i++
	}
	w.at.Columns = nil
	w.add(s)
	return i
}

// add adds a step, after which nothing is pending.
func (w *ticketWalk) add(s TicketStep) {
	w.steps = append(w.steps, s)
	w.before = w.at.clone()
}

func (w *ticketWalk) history(r capture.Row) {
	switch {
	case r.Op == capture.Deleted:
		i := slices.IndexFunc(w.drops, func(d *drop) bool { return d.made == r.At })
		if i < 0 {
			i = len(w.drops)
			w.drops = append(w.drops, &drop{made: r.At, step: TicketStep{Step: Step{Kind: ChangeDeleted}, Made: r.At, New: Cells{}, Old: Cells{}}})
		}
		s := &w.drops[i].step
		s.took(r)
		if r.Field == CommentField {
			s.Comment = r.New
		} else if ofTicket(r.Field) {
			s.New[r.Field], s.Old[r.Field] = r.New, r.Old
		}
	case r.Op == capture.Inserted && strings.HasPrefix(r.Field, editPrefix):
		e := &edit{when: text(r.New), step: TicketStep{Step: Step{Kind: CommentEdited, Who: r.Author, Known: true}, Made: r.At, OldComment: r.Old}}
		e.step.Time, _ = strconv.ParseInt(e.when, 10, 64)
		e.step.took(r)
		w.edits = append(w.edits, e)
	case r.Field != CommentField: // nothing that anybody is told of
		s := TicketStep{}
		s.took(r)
		w.steps = append(w.steps, s)
	case w.edited(r):
	case r.Op == capture.Inserted:
		w.changed(r)
	default: // without a row that says who
		s := TicketStep{Step: Step{Kind: CommentEdited}, Made: r.At, OldComment: r.Old, Comment: r.New}
		s.took(r)
		w.steps = append(w.steps, s)
	}
}

// edited says whether a row has the new text of a comment that is being edited.
func (w *ticketWalk) edited(r capture.Row) bool {
	for _, e := range w.edits {
		if e.step.Made == r.At && !e.found {
			e.step.took(r)
			e.step.Comment, e.found = r.New, true
			return true
		}
	}
	return false
}

// ends says whether a new changetime is the end of an edit or of a deletion. These lock the
// ticket's row with that alone, so others may have changed the ticket since they began.
func (w *ticketWalk) ends(i int) bool {
	r := w.rows[i]
	for i, e := range w.edits {
		if e.when == text(r.New) {
			w.apply(r)
			e.step.took(r)
			w.steps = append(w.steps, e.step)
			w.edits = slices.Delete(w.edits, i, i+1)
			w.touched(r)
			return true
		}
	}
	if len(w.drops) == 0 || w.begins(i) {
		return false
	}
	w.apply(r)
	w.dropped(&r)
	return true
}

// begins says whether a new changetime is the beginning of save_changes, whose comment has its time.
func (w *ticketWalk) begins(i int) bool {
	for _, r := range w.rows[i+1:] {
		switch {
		case r.Code == HistoryTable && r.Op == capture.Inserted && r.Field == CommentField:
			return text(w.rows[i].New) == strconv.FormatInt(r.At, 10)
		case r.Code == TicketTable && (r.Op != capture.Updated || r.Field == changetime):
			return false
		}
	}
	return false
}

// touched notes a changetime that belongs to no pending row.
func (w *ticketWalk) touched(r capture.Row) {
	if w.before.Columns != nil {
		w.before.Columns[changetime] = r.New
	}
}

// dropped ends the oldest deletion of a change, by setting changetime if end is not nil. What it
// gave back to the ticket is pending.
func (w *ticketWalk) dropped(end *capture.Row) {
	s := w.drops[0].step
	w.drops = w.drops[1:]
	var rest, own []capture.Row
	for _, r := range w.pending {
		if old, ok := s.Old[r.Field]; ok && r.Code != HistoryTable && same(old, r.New) {
			own = append(own, r)
		} else {
			rest = append(rest, r)
		}
	}
	for _, r := range own {
		s.Rows = append(s.Rows, r.N)
	}
	w.pending = rest
	w.raw()
	if end != nil {
		s.took(*end)
		s.Time, _ = strconv.ParseInt(text(end.New), 10, 64)
	}
	s.Ticket = w.at.clone()
	w.add(s)
}

// changed is what Trac's save_changes did, which ends by inserting the comment. It began by setting
// changetime to the time of the comment.
func (w *ticketWalk) changed(comment capture.Row) {
	first := slices.IndexFunc(w.pending, func(r capture.Row) bool { return r.Code == TicketTable && r.At == comment.At })
	own := w.pending[max(first, 0):]
	w.pending = w.pending[:max(first, 0)]
	w.raw()
	s := TicketStep{Step: Step{Kind: Changed, Who: comment.Author, Known: true}, Time: comment.At, Comment: comment.New, New: Cells{}, Old: Cells{}}
	for _, r := range own {
		s.took(r)
	}
	s.took(comment)
	s.Ticket = w.at.clone()
	before := w.at.clone()
	for _, r := range slices.Backward(own) {
		before.takeBack(r)
	}
	for _, field := range append(w.named(comment.At), w.gone[comment.At]...) {
		if !ofTicket(field) {
			continue
		}
		table := CustomTable
		if _, column := s.Ticket.Columns[field]; column {
			table = TicketTable
		}
		if v, ok := s.Ticket.cells(table)[field]; ok {
			s.New[field] = v
		}
		if v, ok := before.cells(table)[field]; ok {
			s.Old[field] = v
		}
	}
	w.add(s)
}

// takeBack undoes what a row says.
func (t *Ticket) takeBack(r capture.Row) {
	cells := t.cells(r.Code)
	switch {
	case r.Field == capture.IDField || cells == nil:
	case r.Op == capture.Inserted:
		delete(cells, r.Field)
	default:
		cells[r.Field] = r.Old
	}
}

// raw is what is pending and belongs to nothing: something else wrote it.
func (w *ticketWalk) raw() {
	if len(w.pending) == 0 {
		return
	}
	s := TicketStep{Step: Step{Kind: Raw}, New: Cells{}, Old: Cells{}}
	after := w.before.clone()
	for _, r := range w.pending {
		s.took(r)
		cells := after.cells(r.Code)
		if r.Field == capture.IDField || cells == nil {
			continue
		}
		if _, seen := s.New[r.Field]; !seen {
			if v, ok := cells[r.Field]; ok {
				s.Old[r.Field] = v
			}
		}
		if r.Op == capture.Deleted {
			delete(cells, r.Field)
			s.New[r.Field] = nil
		} else {
			cells[r.Field] = r.New
			s.New[r.Field] = r.New
		}
	}
	for field, v := range s.New {
		old, had := s.Old[field]
		if had && same(old, v) {
			delete(s.New, field)
			delete(s.Old, field)
		}
	}
	w.pending = nil
	s.Ticket = after
	w.before = after.clone()
	if len(s.New) > 0 && after.Columns != nil {
		w.steps = append(w.steps, s)
	} else { // it says nothing, but its rows were looked at
		w.steps = append(w.steps, TicketStep{Step: Step{Rows: s.Rows, Last: s.Last, Stamp: s.Stamp}})
	}
}

// flush ends what is not finished.
func (w *ticketWalk) flush() {
	for _, e := range w.edits {
		w.steps = append(w.steps, e.step)
	}
	w.edits = nil
	for len(w.drops) > 0 {
		w.dropped(nil)
	}
	w.raw()
	w.before = w.at.clone()
}
