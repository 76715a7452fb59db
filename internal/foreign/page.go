package foreign

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tracbus/tracbus/internal/capture"
)

// PageTable is the letter of Trac's table wiki.
const PageTable = "w"

// Versions are the rows of a page, by their versions. A text that is missing was not asked for.
type Versions map[int64]Cells

// Newest returns the highest version, 0 if there is none that Trac calls one.
func (v Versions) Newest() (newest int64) {
	for n := range v {
		newest = max(newest, n)
	}
	return newest
}

// below returns the highest version before one.
func (v Versions) below(version int64) (below int64) {
	for n := range v {
		if n < version {
			below = max(below, n)
		}
	}
	return below
}

// PageStep is one change of a page.
type PageStep struct {
	Step
	Name    string
	Version int64
	Page    Cells // that version, after the change; before it if it is gone

	OldName string
	// OldText is the text of the version before, and of an edit the comment before.
	OldText *string
}

// Texts returns which versions of each page the texts are needed of, to say what the rows mean:
// now has the versions that there are.
func Texts(rows []capture.Row, now map[string]Versions) map[string]map[int64]bool {
	need := map[string]map[int64]bool{}
	for name, versions := range now {
		need[name] = map[int64]bool{versions.Newest(): true}
	}
	for _, r := range rows {
		for name, versions := range now { // a page may have had another name
			need[name][r.At], need[name][versions.below(r.At)] = true, true
		}
	}
	return need
}

// Pages returns what the rows say that was done to pages, which are now as given. The rows are
// those of all pages that a name went to or came from.
func Pages(rows []capture.Row, now map[string]Versions) []PageStep {
	w := pageWalk{rows: rows, at: map[string]Versions{}, inserted: map[int64]Cells{}}
	for name, versions := range now {
		w.at[name] = maps.Clone(versions)
		for n, cells := range versions {
			w.at[name][n] = cells.clone()
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

type pageWalk struct {
	rows     []capture.Row
	at       map[string]Versions
	inserted map[int64]Cells // versions as they were inserted, by the numbers
	steps    []PageStep
}

// version returns a version's cells, which are made if there are none.
func (w *pageWalk) version(name string, n int64) Cells {
	if w.at[name] == nil {
		w.at[name] = Versions{}
	}
	if w.at[name][n] == nil {
		w.at[name][n] = Cells{}
	}
	return w.at[name][n]
}

// move gives a version to another page.
func (w *pageWalk) move(from, to string, n int64) {
	cells := w.version(from, n)
	delete(w.at[from], n)
	w.version(to, n)
	w.at[to][n] = cells
}

func (w *pageWalk) takeBack(r capture.Row) {
	switch {
	case r.Op == capture.Moved:
	case r.Op == capture.Inserted:
		w.inserted[r.N] = w.version(r.ID, r.At)
		delete(w.at[r.ID], r.At)
	case r.Field == capture.IDField:
		w.move(text(r.New), text(r.Old), r.At)
	default:
		w.version(r.ID, r.At)[r.Field] = r.Old
	}
}

func (w *pageWalk) apply(r capture.Row) {
	switch {
	case r.Op == capture.Moved:
	case r.Op == capture.Inserted:
		w.version(r.ID, r.At)
		w.at[r.ID][r.At] = w.inserted[r.N].clone()
	case r.Field == capture.IDField:
		w.move(text(r.Old), text(r.New), r.At)
	case r.Op == capture.Deleted:
		if r.Field == pageColumns[len(pageColumns)-1] {
			delete(w.at[r.ID], r.At)
		}
	default:
		w.version(r.ID, r.At)[r.Field] = r.New
	}
}

// pageColumns are those that a deleted row leaves, in their order.
var pageColumns = PageColumns()

// PageColumns returns the columns of wiki beside its key.
func PageColumns() []string { return []string{"time", "author", "text", "comment", "readonly"} }

// take looks at the row in a place, and returns the place of the next one.
func (w *pageWalk) take(i int) (next int) {
	r := w.rows[i]
	switch {
	case r.Op == capture.Inserted:
		w.apply(r)
		below := w.at[r.ID].below(r.At)
		s := PageStep{Step: Step{Kind: Changed, Known: true}, Name: r.ID, Version: r.At, Page: w.at[r.ID][r.At].clone(), OldText: w.at[r.ID][below]["text"]}
		if r.At == 1 {
			s.Kind = Created
		}
		s.Who = s.Page["author"]
		return w.add(s, i, i+1)
	case r.Op == capture.Deleted:
		return w.removed(i)
	case r.Op == capture.Moved: // its other half was before
		return w.add(PageStep{}, i, i+1)
	case r.Field == capture.IDField:
		return w.renamed(i)
	}
	next = i + 1
	for next < len(w.rows) && w.rows[next].Op == capture.Updated && w.rows[next].ID == r.ID && w.rows[next].With(r) && w.rows[next].Field != capture.IDField {
		next++
	}
	return w.updated(i, next)
}

// add adds a step that rows led to, from one place to before another.
func (w *pageWalk) add(s PageStep, from, to int) (next int) {
	for _, r := range w.rows[from:to] {
		s.took(r)
	}
	w.steps = append(w.steps, s)
	return to
}

// removed is what one statement deleted: versions, or all of a page.
func (w *pageWalk) removed(i int) (next int) {
	r := w.rows[i]
	gone := Versions{}
	for next = i; next < len(w.rows); next++ {
		d := w.rows[next]
		if d.Op != capture.Deleted || d.ID != r.ID || !d.With(r) || w.at[r.ID][d.At] == nil {
			break
		}
		gone[d.At] = w.at[r.ID][d.At]
		gone[d.At][d.Field] = d.Old
		w.apply(d)
	}
	if next == i { // a part of a row, which nothing explains
		return w.add(PageStep{}, i, i+1)
	}
	if w.at[r.ID].Newest() < 1 {
		newest := gone.Newest()
		return w.add(PageStep{Step: Step{Kind: Removed}, Name: r.ID, Version: newest, Page: gone[newest].clone()}, i, next)
	}
	for _, n := range slices.Sorted(maps.Keys(gone)) {
		s := PageStep{Step: Step{Kind: VersionDeleted}, Name: r.ID, Version: n, Page: gone[n].clone()}
		for _, d := range w.rows[i:next] {
			if d.At == n {
				s.took(d)
			}
		}
		w.steps = append(w.steps, s)
	}
	return next
}

// renamed is all that one statement gave another name.
func (w *pageWalk) renamed(i int) (next int) {
	r := w.rows[i]
	for next = i; next < len(w.rows); next++ {
		m := w.rows[next]
		if m.Field != capture.IDField || !same(m.Old, r.Old) || !same(m.New, r.New) {
			break
		}
		w.apply(m)
	}
	name := text(r.New)
	newest := w.at[name].Newest()
	return w.add(PageStep{
		Step: Step{Kind: Renamed}, Name: name, Version: newest, Page: w.at[name][newest].clone(), OldName: text(r.Old),
	}, i, next)
}

// updated is what one statement updated: the comment of one version, whether all are read-only,
// or something that Trac does not.
func (w *pageWalk) updated(from, to int) (next int) {
	name := w.rows[from].ID
	old := map[int64]Cells{}
	for _, r := range w.rows[from:to] {
		if old[r.At] == nil {
			old[r.At] = Cells{}
		}
		old[r.At][r.Field] = r.Old
		w.apply(r)
	}
	newest := w.at[name].Newest()
	only := func(field string) bool {
		return !slices.ContainsFunc(w.rows[from:to], func(r capture.Row) bool { return r.Field != field })
	}
	if only("readonly") {
		s := PageStep{Step: Step{Kind: Changed}, Name: name, Version: newest, Page: w.at[name][newest].clone()}
		s.OldText = s.Page["text"]
		if newest == 1 { // as Trac says it
			s.Kind = Created
		}
		return w.add(s, from, to)
	}
	for _, n := range slices.Sorted(maps.Keys(old)) {
		s := PageStep{Step: Step{Kind: Changed}, Name: name, Version: n, Page: w.at[name][n].clone()}
		if v, changed := old[n]["text"]; changed {
			s.OldText = v
		} else {
			s.OldText = s.Page["text"]
		}
		if v, changed := old[n]["comment"]; changed && len(old[n]) == 1 {
			s.Kind, s.OldText = CommentEdited, v
		}
		for _, r := range w.rows[from:to] {
			if r.At == n {
				s.took(r)
			}
		}
		w.steps = append(w.steps, s)
	}
	return to
}

// Number returns a column that is a number, 0 if it is null or none.
func (c Cells) Number(column string) int64 {
	n, _ := strconv.ParseInt(text(c[column]), 10, 64)
	return n
}

// Moment returns a column that is a time in microseconds since 1970, and whether it is one.
func (c Cells) Moment(column string) (time.Time, bool) {
	n, err := strconv.ParseInt(text(c[column]), 10, 64)
	return time.UnixMicro(n).UTC(), err == nil
}
