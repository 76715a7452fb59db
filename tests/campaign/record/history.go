package tracbus_test

import (
	"slices"

	"github.com/tracbus/tracbus"
)

// attackHistory is a small attack in which nothing is wrong: two processes, of
// which p1 was killed and came back.
type attackHistory struct {
	truth attackTruth
	runs  map[string]*attackRun
}

func newAttackHistory() *attackHistory {
	created, changed, deleted := tracbus.KindCreated, tracbus.KindChanged, tracbus.KindDeleted
	h := &attackHistory{
		truth: attackTruth{
			changes: []attackChange{
				{attackPlace{1, 1}, "ticket 1", changed, "p0.1/1/1"},
				{attackPlace{2, 1}, "ticket 2", changed, "p1.1/1/1"},
				{attackPlace{2, 2}, "wiki Start", created, "p1.1/1/1"},
				{attackPlace{4, 1}, "ticket 1", changed, "p1.1/2/1"},
				{attackPlace{5, 1}, "ticket 2", deleted, "p0.1/1/2"},
				{attackPlace{6, 1}, "ticket 2", created, "p1.2/1/1"},
				{attackPlace{7, 1}, "wiki Start", changed, "p0.1/2/1"},
			},
			commits: map[string]int{"p0.1/1/1": 1, "p1.1/1/1": 2, "p1.1/2/1": 1, "p0.1/1/2": 1, "p1.2/1/1": 1, "p0.1/2/1": 1, "p0.1/2/2": 0},
			final:   map[string]attackState{"ticket 1": {2, "p1.1/2/1"}, "ticket 2": {3, "p1.2/1/1"}, "wiki Start": {2, "p0.1/2/1"}, "ticket 3": {}},
		},
		runs: map[string]*attackRun{"p0.1": {name: "p0.1"}, "p1.1": {name: "p1.1", killed: true}, "p1.2": {name: "p1.2"}},
	}
	states := []struct{ old, new *attackState }{
		{&attackState{0, ""}, &attackState{1, "p0.1/1/1"}},
		{&attackState{0, ""}, &attackState{1, "p1.1/1/1"}},
		{nil, &attackState{1, "p1.1/1/1"}},
		{&attackState{1, "p0.1/1/1"}, &attackState{2, "p1.1/2/1"}},
		{&attackState{1, "p1.1/1/1"}, nil},
		{nil, &attackState{3, "p1.2/1/1"}},
		{&attackState{1, "p1.1/1/1"}, &attackState{2, "p0.1/2/1"}},
	}
	h.tell("p0.1", attackLine{Word: attackStart})
	h.tell("p1.1", attackLine{Word: attackStart})
	h.tell("p1.2", attackLine{Word: attackStart, attackPlace: attackPlace{TID: 4}})
	for i, c := range h.truth.changes {
		l := attackLine{
			Word: attackEverywhere, attackPlace: c.attackPlace, Resource: c.resource, Kind: c.kind,
			Old: states[i].old, New: states[i].new, By: c.by, Digest: uint64(i),
		}
		for run, hears := range map[string]bool{"p0.1": true, "p1.1": i < 3, "p1.2": i > 3} {
			if !hears {
				continue
			}
			l.Word, l.Primary = attackEverywhere, runOf(c.by) == run
			h.tell(run, l)
			if l.Primary {
				l.Word = attackPrimary
				h.tell(run, l)
			}
		}
		if c.by != "p1.1/2/1" { // in which it was killed
			h.tell(runOf(c.by), attackLine{Word: attackOutcome, attackPlace: attackPlace{TID: c.TID}, By: c.by, Result: attackCommitted})
		}
	}
	h.tell("p0.1", attackLine{Word: attackOutcome, By: "p0.1/2/2", Result: attackCommitted})
	h.tell("p0.1", attackLine{Word: attackOutcome, By: "p0.1/2/3", Result: attackNotCommitted + ": rolled back"})
	h.tell("p0.1", attackLine{Word: attackEnd})
	h.tell("p1.2", attackLine{Word: attackEnd})
	return h
}

func (h *attackHistory) tell(run string, l attackLine) {
	h.runs[run].lines = append(h.runs[run].lines, l)
}

// find returns where a run's line of a place is.
func (h *attackHistory) find(run string, word attackWord, tid int64, seq int) int {
	return slices.IndexFunc(h.runs[run].lines, func(l attackLine) bool {
		return l.Word == word && l.attackPlace == attackPlace{tid, seq}
	})
}

func (h *attackHistory) line(run string, word attackWord, tid int64, seq int) *attackLine {
	return &h.runs[run].lines[h.find(run, word, tid, seq)]
}

// lose takes a line out of a run's log, and returns it.
func (h *attackHistory) lose(run string, word attackWord, tid int64, seq int) attackLine {
	r, at := h.runs[run], h.find(run, word, tid, seq)
	l := r.lines[at]
	r.lines = slices.Delete(r.lines, at, at+1)
	return l
}
