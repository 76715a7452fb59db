package record

import (
	"slices"

	"github.com/tracbus/tracbus"
)

// History is a small attack in which nothing is wrong: two processes, of
// which p1 was killed and came back.
type History struct {
	Truth Truth
	runs  map[string]*Run
}

// NewHistory returns that attack.
func NewHistory() *History {
	created, changed, deleted := tracbus.KindCreated, tracbus.KindChanged, tracbus.KindDeleted
	h := &History{
		Truth: Truth{
			Changes: []Change{
				{Place{1, 1}, "ticket 1", changed, "p0.1/1/1"},
				{Place{2, 1}, "ticket 2", changed, "p1.1/1/1"},
				{Place{2, 2}, "wiki Start", created, "p1.1/1/1"},
				{Place{4, 1}, "ticket 1", changed, "p1.1/2/1"},
				{Place{5, 1}, "ticket 2", deleted, "p0.1/1/2"},
				{Place{6, 1}, "ticket 2", created, "p1.2/1/1"},
				{Place{7, 1}, "wiki Start", changed, "p0.1/2/1"},
			},
			Commits: map[string]int{"p0.1/1/1": 1, "p1.1/1/1": 2, "p1.1/2/1": 1, "p0.1/1/2": 1, "p1.2/1/1": 1, "p0.1/2/1": 1, "p0.1/2/2": 0},
			Final:   map[string]State{"ticket 1": {2, "p1.1/2/1"}, "ticket 2": {3, "p1.2/1/1"}, "wiki Start": {2, "p0.1/2/1"}, "ticket 3": {}},
		},
		runs: map[string]*Run{"p0.1": {Name: "p0.1"}, "p1.1": {Name: "p1.1", killed: true}, "p1.2": {Name: "p1.2"}},
	}
	states := []struct{ old, new *State }{
		{&State{0, ""}, &State{1, "p0.1/1/1"}},
		{&State{0, ""}, &State{1, "p1.1/1/1"}},
		{nil, &State{1, "p1.1/1/1"}},
		{&State{1, "p0.1/1/1"}, &State{2, "p1.1/2/1"}},
		{&State{1, "p1.1/1/1"}, nil},
		{nil, &State{3, "p1.2/1/1"}},
		{&State{1, "p1.1/1/1"}, &State{2, "p0.1/2/1"}},
	}
	h.tell("p0.1", Line{Word: Start})
	h.tell("p1.1", Line{Word: Start})
	h.tell("p1.2", Line{Word: Start, Place: Place{TID: 4}})
	for i, c := range h.Truth.Changes {
		l := Line{
			Word: Everywhere, Place: c.Place, Resource: c.Resource, Kind: c.Kind,
			Old: states[i].old, New: states[i].new, By: c.By, Digest: uint64(i),
		}
		for run, hears := range map[string]bool{"p0.1": true, "p1.1": i < 3, "p1.2": i > 3} {
			if !hears {
				continue
			}
			l.Word, l.Primary = Everywhere, runOf(c.By) == run
			h.tell(run, l)
			if l.Primary {
				l.Word = Primary
				h.tell(run, l)
			}
		}
		if c.By != "p1.1/2/1" { // in which it was killed
			h.tell(runOf(c.By), Line{Word: Outcome, Place: Place{TID: c.TID}, By: c.By, Result: Committed})
		}
	}
	h.tell("p0.1", Line{Word: Outcome, By: "p0.1/2/2", Result: Committed})
	h.tell("p0.1", Line{Word: Outcome, By: "p0.1/2/3", Result: NotCommitted + ": rolled back"})
	h.tell("p0.1", Line{Word: End})
	h.tell("p1.2", Line{Word: End})
	return h
}

func (h *History) tell(run string, l Line) {
	h.runs[run].lines = append(h.runs[run].lines, l)
}

// find returns where a run's line of a place is.
func (h *History) find(run string, word Word, tid int64, seq int) int {
	return slices.IndexFunc(h.runs[run].lines, func(l Line) bool {
		return l.Word == word && l.Place == Place{tid, seq}
	})
}

func (h *History) line(run string, word Word, tid int64, seq int) *Line {
	return &h.runs[run].lines[h.find(run, word, tid, seq)]
}

// lose takes a line out of a run's log, and returns it.
func (h *History) lose(run string, word Word, tid int64, seq int) Line {
	r, at := h.runs[run], h.find(run, word, tid, seq)
	l := r.lines[at]
	r.lines = slices.Delete(r.lines, at, at+1)
	return l
}
