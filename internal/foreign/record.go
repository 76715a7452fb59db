package foreign

import (
	"maps"
	"slices"

	"github.com/tracbus/tracbus/internal/capture"
)

// RecordStep is one change of a resource that is one row of one table.
type RecordStep struct {
	Step
	ID    string
	Cells Cells // after it; before it if it was removed

	// Old are the columns that it changed, as they were. OldID is its id before; the same if that
	// did not change.
	Old   Cells
	OldID string
}

// Records returns what the rows say that was done to resources, which are now as given: nil if
// there is no such row. The rows are those of all resources that an id went to or came from.
func Records(rows []capture.Row, now map[string]Cells) []RecordStep {
	w := recordWalk{rows: rows, at: map[string]Cells{}, inserted: map[int64]Cells{}}
	for id, cells := range now {
		if cells != nil {
			w.at[id] = cells.clone()
		}
	}
	for _, r := range slices.Backward(rows) {
		w.takeBack(r)
	}
	for i := 0; i < len(rows); {
		i = w.take(i)
	}
	return w.steps
}

type recordWalk struct {
	rows     []capture.Row
	at       map[string]Cells
	inserted map[int64]Cells
	steps    []RecordStep
}

func (w *recordWalk) cells(id string) Cells {
	if w.at[id] == nil {
		w.at[id] = Cells{}
	}
	return w.at[id]
}

func (w *recordWalk) takeBack(r capture.Row) {
	switch {
	case r.Op == capture.Moved:
	case r.Op == capture.Inserted:
		w.inserted[r.N] = w.cells(r.ID)
		delete(w.at, r.ID)
	case r.Field == capture.IDField:
		cells := w.cells(text(r.New))
		delete(w.at, text(r.New))
		w.at[text(r.Old)] = cells
	default:
		w.cells(r.ID)[r.Field] = r.Old
	}
}

// take looks at what one statement did to one resource, from a place on, and returns the next.
func (w *recordWalk) take(i int) (next int) {
	r := w.rows[i]
	s := RecordStep{ID: r.ID, OldID: r.ID, Old: Cells{}}
	next = i + 1
	switch r.Op {
	case capture.Inserted:
		w.at[r.ID] = w.inserted[r.N].clone()
		s.Kind, s.Cells = Created, w.at[r.ID].clone()
	case capture.Deleted:
		for next < len(w.rows) && w.rows[next].Op == capture.Deleted && w.rows[next].ID == r.ID && w.rows[next].With(r) {
			next++
		}
		for _, d := range w.rows[i:next] {
			w.cells(d.ID)[d.Field] = d.Old
		}
		s.Kind, s.Cells = Removed, w.at[r.ID].clone()
		delete(w.at, r.ID)
	default:
		next = w.updated(i, &s)
	}
	for _, taken := range w.rows[i:next] {
		s.took(taken)
	}
	w.steps = append(w.steps, s)
	return next
}

// updated is an update of one row: of its id, and of columns. The rows of one statement may come
// in any order.
func (w *recordWalk) updated(i int, s *RecordStep) (next int) {
	first := w.rows[i]
	ids := []string{first.ID}
	for next = i; next < len(w.rows); next++ {
		r := w.rows[next]
		_, twice := s.Old[r.Field]
		if r.Op != capture.Updated && r.Op != capture.Moved || !r.With(first) || r.Field != capture.IDField && (twice || !slices.Contains(ids, r.ID)) {
			break
		}
		if r.Field == capture.IDField {
			old, id := text(r.Old), text(r.New)
			if s.Kind == Renamed && (s.OldID != old || s.ID != id) || s.Kind != Renamed && !slices.Contains(ids, old) && !slices.Contains(ids, id) {
				break
			}
			if s.Kind != Renamed {
				s.Kind, s.OldID, s.ID, ids = Renamed, old, id, []string{old, id}
				cells := w.cells(old)
				delete(w.at, old)
				maps.Copy(cells, w.at[id]) // columns that came before
				w.at[id] = cells
			}
			continue
		}
		s.Old[r.Field] = r.Old
		w.cells(r.ID)[r.Field] = r.New
	}
	if s.Kind != Renamed {
		s.Kind = Changed
	}
	s.Cells = w.cells(s.ID).clone()
	return next
}
