package record

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// Truth is what the tables say when all is over.
type Truth struct {
	Changes []Change // as the journal orders them

	// commits tells, of each transaction that the application's own table has,
	// how many changes it made.
	Commits map[string]int

	// final holds the rows of all resources.
	Final map[string]State
}

// Change is a row of a journal.
type Change struct {
	Place
	Resource string
	Kind     tracbus.Kind
	By       string
}

// runOf returns the run that made a transaction.
func runOf(by string) string {
	run, _, _ := strings.Cut(by, "/")
	return run
}

// Verdict is what the checker finds. It reads the logs and the tables, and
// uses nothing of the journal.
type Verdict struct {
	Truth  Truth
	runs   []Run
	Index  map[Place]int
	Before []*State // of each change: its resource as the one before it left it
	After  []*State

	Counts [len(faults)]int
	Told   testkit.Findings // the first of each kind
}

// faults are the ways in which a history can be wrong.
var faults = [...]string{
	"lost", "twice", "out of order", "invented", "chain", "content", "primary", "outcome", "tables", "run",
}

// Their places in faults.
const (
	Lost = iota
	isTwice
	isLate
	Invented
	isChain
	isContent
	isPrimary
	isOutcome
	isTables
	isRun
)

func (v *Verdict) add(kind int, format string, args ...any) {
	if v.Counts[kind]++; v.Counts[kind] <= 5 {
		v.Told.Add(faults[kind]+": "+format, args...)
	}
}

// String shows how many faults of each kind there are, and the first of each.
func (v *Verdict) String() string { return v.Summary(len(faults)) }

// Summary tells how often each of the first kinds was found, and then what.
func (v *Verdict) Summary(kinds int) string {
	var b strings.Builder
	for kind, n := range v.Counts[:kinds] {
		if kind > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", faults[kind], n)
	}
	for _, sentence := range v.Told {
		b.WriteString("\n  " + sentence)
	}
	return b.String()
}

// Check finds everything that contradicts the guarantees.
func Check(truth Truth, runs []Run) *Verdict {
	v := &Verdict{Truth: truth, runs: runs, Index: map[Place]int{}}
	v.CheckTables()
	for _, r := range runs {
		v.checkRun(r)
		v.CheckOutcomes(r)
	}
	v.checkContents()
	v.checkPrimaries()
	return v
}

// CheckTables: the journal has each commit of the application under one tid,
// with as many changes as it made, and they add up to the rows as they are.
func (v *Verdict) CheckTables() {
	state := map[string]*State{} // nil for what is not there
	tids := map[string]int64{}
	makers := map[int64]string{}
	count := map[string]int{}
	versions := map[string]int64{}
	for i, c := range v.Truth.Changes {
		if i > 0 && !c.After(v.Truth.Changes[i-1].Place) {
			v.add(isTables, "%v comes after %v", c.Place, v.Truth.Changes[i-1].Place)
		}
		v.Index[c.Place] = i
		if tid, ok := tids[c.By]; ok && tid != c.TID {
			v.add(isTables, "%s has tid %d and tid %d", c.By, tid, c.TID)
		}
		if by, ok := makers[c.TID]; ok && by != c.By {
			v.add(isTables, "tid %d is that of %s and of %s", c.TID, by, c.By)
		}
		tids[c.By], makers[c.TID] = c.TID, c.By
		count[c.By]++

		before, ok := state[c.Resource]
		if !ok && strings.HasPrefix(c.Resource, string(tracbus.RealmTicket)) {
			before = &State{} // all tickets are there from the beginning
		}
		versions[c.Resource]++
		after := &State{versions[c.Resource], c.By}
		state[c.Resource] = after
		if c.Kind == tracbus.KindDeleted {
			state[c.Resource] = nil
		}
		v.Before, v.After = append(v.Before, before), append(v.After, state[c.Resource])
		if v.Truth.Final[c.Resource].N == after.N && v.Truth.Final[c.Resource].Text != c.By {
			v.add(isTables, "%s is now as %s left it, its last change is %v by %s",
				c.Resource, v.Truth.Final[c.Resource].Text, c.Place, c.By)
		}
	}
	for resource, final := range v.Truth.Final {
		if versions[resource] != final.N {
			v.add(isTables, "%s has version %d, the journal has %d changes of it", resource, final.N, versions[resource])
		}
	}
	for by, n := range v.Truth.Commits {
		if count[by] != n {
			v.add(isTables, "%s committed %d changes, the journal has %d of it", by, n, count[by])
		}
	}
	for by := range count {
		if _, ok := v.Truth.Commits[by]; !ok {
			v.add(isTables, "tid %d is that of %s, which did not commit", tids[by], by)
		}
	}
}

// checkRun: what a run was told is the journal's order, from the run's start to
// its end, or to anywhere if it was killed.
func (v *Verdict) checkRun(r Run) {
	for _, l := range r.With(Fault) {
		v.add(isRun, "%s: %s", r.Name, l.Result)
	}
	if !r.killed && len(r.With(End)) != 1 {
		v.add(isRun, "%s did not end in order", r.Name)
	}
	starts := r.With(Start)
	if len(starts) == 0 {
		if !r.killed || len(r.With(Everywhere)) > 0 {
			v.add(isRun, "%s did not say where it starts", r.Name)
		}
		return
	}
	v.checkSequence(r.Name, r.killed, starts[0].TID, r.With(Everywhere))
}

// checkSequence: lines are the order from behind start on, without a gap, and to
// the end; of a killed run, to any place.
func (v *Verdict) checkSequence(run string, killed bool, start int64, lines []Line) {
	order := v.Truth.Changes
	first, _ := slices.BinarySearchFunc(order, start, func(c Change, tid int64) int {
		if c.TID <= tid {
			return -1
		}
		return 1
	})
	seen := make([]bool, len(order))
	newest := first - 1
	for _, l := range lines {
		at, ok := v.Index[l.Place]
		switch {
		case !ok:
			v.add(Invented, "%s was told %v by %q, which the tables do not have", run, l, l.By)
			continue
		case at < first:
			v.add(isTwice, "%s was told %v, which was before it began, at tid %d", run, l, start)
		case seen[at]:
			v.add(isTwice, "%s was told %v, %s, again", run, l, order[at].Resource)
		case at < newest:
			v.add(isLate, "%s was told %v, %s, after %v", run, l, order[at].Resource, order[newest].Place)
		}
		seen[at] = true
		newest = max(newest, at)
	}
	if !killed {
		newest = len(order) - 1
	}
	for at := first; at <= newest; at++ {
		if !seen[at] {
			v.add(Lost, "%s was never told %v, %s by %s", run, order[at].Place, order[at].Resource, order[at].By)
		}
	}
}

// CheckOutcomes: what Update returned is what happened.
func (v *Verdict) CheckOutcomes(r Run) {
	tids := map[string]int64{}
	for _, c := range v.Truth.Changes {
		tids[c.By] = c.TID
	}
	said := map[string]bool{}
	for _, l := range r.With(Outcome) {
		said[l.By] = true
		changes, landed := v.Truth.Commits[l.By]
		switch {
		case strings.HasPrefix(l.Result, Unknown):
		case strings.HasPrefix(l.Result, NotCommitted):
			if landed {
				v.add(isOutcome, "%s: %s, but the tables have it, as tid %d", l.By, l.Result, tids[l.By])
			}
		case l.Result != Committed:
			v.add(isOutcome, "%s: Update returned what it must not: %s", l.By, l.Result)
		case !landed:
			v.add(isOutcome, "%s: Update returned tid %d, but the tables do not have it", l.By, l.TID)
		case changes > 0 && l.TID != tids[l.By]:
			v.add(isOutcome, "%s: Update returned tid %d, but the tables say %d", l.By, l.TID, tids[l.By])
		}
	}
	for by := range v.Truth.Commits {
		if runOf(by) == r.Name && !r.killed && !said[by] {
			v.add(isOutcome, "%s: the tables have it, but Update did not return", by)
		}
	}
}

// checkContents: every listener was told the change that the tables have, and
// all were told the same. Old values are those that the change before it made.
func (v *Verdict) checkContents() {
	first := map[Place]Line{}
	teller := map[Place]string{}
	for _, r := range v.runs {
		for _, l := range r.lines {
			at, ok := v.Index[l.Place]
			if l.Word != Everywhere && l.Word != Primary || !ok {
				continue
			}
			c := v.Truth.Changes[at]
			if l.Resource != c.Resource || l.Kind != c.Kind || l.By != c.By {
				v.add(isContent, "%s was told %v as %s %s by %s, the tables have %s %s by %s",
					r.Name, l, l.Resource, l.Kind, l.By, c.Resource, c.Kind, c.By)
			}
			if own := runOf(c.By) == r.Name; l.Primary != own {
				v.add(isPrimary, "%s was told %v with Primary %v, which %s committed", r.Name, l, l.Primary, runOf(c.By))
			}
			if !SameState(l.Old, v.Before[at]) {
				v.add(isChain, "%s was told %v as a change of %s from %v; the change before it had made %v",
					r.Name, l, c.Resource, l.Old, v.Before[at])
			}
			if !SameState(l.New, v.After[at]) {
				v.add(isChain, "%s was told %v as a change of %s to %v; it made %v", r.Name, l, c.Resource, l.New, v.After[at])
			}
			if f, ok := first[l.Place]; !ok {
				first[l.Place], teller[l.Place] = l, r.Name
			} else if f.Digest != l.Digest {
				v.add(isContent, "%s and %s were told different events at %v", teller[l.Place], r.Name, l)
			}
		}
	}
}

// SameState compares two states, of which each may be nil.
func SameState(a, b *State) bool { return a == b || a != nil && b != nil && *a == *b }

// checkPrimaries: the run that committed a change was told it as primary, once
// and in order, and no other was. A killed one may have been told up to any of
// its own.
func (v *Verdict) checkPrimaries() {
	told := map[Place][]string{}
	last := map[string]Place{}
	killed := map[string]bool{}
	for _, r := range v.runs {
		killed[r.Name] = r.killed
		for _, l := range r.With(Primary) {
			if last[r.Name].After(l.Place) {
				v.add(isLate, "%s was told %v as primary after %v", r.Name, l, last[r.Name])
			} else {
				last[r.Name] = l.Place
			}
			if _, ok := v.Index[l.Place]; !ok {
				v.add(Invented, "%s was told %v as primary, by %q, which the tables do not have", r.Name, l, l.By)
			}
			told[l.Place] = append(told[l.Place], r.Name)
		}
	}
	for _, c := range v.Truth.Changes {
		own := runOf(c.By)
		switch runs := told[c.Place]; {
		case len(runs) > 1:
			v.add(isPrimary, "%v, %s, was told as primary in %s", c.Place, c.Resource, strings.Join(runs, " and in "))
		case len(runs) == 1 && runs[0] != own:
			v.add(isPrimary, "%v, %s, was told as primary in %s, but %s committed it", c.Place, c.Resource, runs[0], own)
		case len(runs) == 0 && !killed[own]:
			v.add(isPrimary, "%v, %s, was told as primary nowhere, and %s, which committed it, lived on", c.Place, c.Resource, own)
		case len(runs) == 0 && last[own].After(c.Place):
			v.add(isPrimary, "%v, %s, was told as primary nowhere, and %s, which committed it, was told %v", c.Place, c.Resource, own, last[own])
		}
	}
}
