// Package foreign finds out what others did to tickets and pages from the rows that their
// statements left in the inbox (package capture), and from the tables as they are now. It takes
// the rows back, the last one first, to know what was before them; then it goes through them
// again in their order. It runs no SQL, and knows no event.
//
// What belongs together is found by what Trac writes: its models, from 1.0 to 1.6, end a change
// of a ticket by inserting its comment, and an edit of a comment or of the history by setting the
// ticket's changetime. Whatever is left over was written by something else, and is a change that
// nobody said anything of.
package foreign

import (
	"time"

	"github.com/tracbus/tracbus/internal/capture"
)

// What was done.
type Kind uint8

// The kinds of steps.
const (
	Created Kind = iota + 1
	Changed
	Raw // changed, by something else than Trac's models
	Removed
	CommentEdited
	ChangeDeleted
	Renamed
	VersionDeleted
)

// Step is one change.
type Step struct {
	Kind  Kind
	Last  int64     // the number of its last row, which the order of steps is by
	Rows  []int64   // the numbers of all
	Stamp time.Time // when its last statement was run

	// Who is who made it, and if Known is false, nobody can say.
	Who   *string
	Known bool
}

// took adds a row to a step.
func (s *Step) took(r capture.Row) {
	s.Rows = append(s.Rows, r.N)
	if r.N >= s.Last {
		s.Last, s.Stamp = r.N, r.Stamp
	}
}

// Cells are values by the names of their columns. A column that is missing has no row; nil is
// null.
type Cells map[string]*string

func (c Cells) clone() Cells {
	all := make(Cells, len(c))
	for name, v := range c {
		all[name] = v
	}
	return all
}

// same says whether two values are.
func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// text returns a value, and "" for null.
func text(v *string) string {
	if v == nil {
		return ""
	}
	return *v
}
