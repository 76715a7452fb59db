package tracbus_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus"
)

// attackTruth is what the tables say when all is over.
type attackTruth struct {
	changes []attackChange // as the journal orders them

	// commits tells, of each transaction that the application's own table has,
	// how many changes it made.
	commits map[string]int

	// final holds the rows of all resources.
	final map[string]attackState
}

// attackChange is a row of a journal.
type attackChange struct {
	attackPlace
	resource string
	kind     tracbus.Kind
	by       string
}

// runOf returns the run that made a transaction.
func runOf(by string) string {
	run, _, _ := strings.Cut(by, "/")
	return run
}

// attackVerdict is what the checker finds. It reads the logs and the tables, and
// uses nothing of the journal.
type attackVerdict struct {
	truth  attackTruth
	runs   []attackRun
	index  map[attackPlace]int
	before []*attackState // of each change: its resource as the one before it left it
	after  []*attackState

	counts [len(attackFaults)]int
	told   findings // the first of each kind
}

// attackFaults are the ways in which a history can be wrong.
var attackFaults = [...]string{
	"lost", "twice", "out of order", "invented", "chain", "content", "primary", "outcome", "tables", "run",
}

// Their places in attackFaults.
const (
	isLost = iota
	isTwice
	isLate
	isInvented
	isChain
	isContent
	isPrimary
	isOutcome
	isTables
	isRun
)

func (v *attackVerdict) add(kind int, format string, args ...any) {
	if v.counts[kind]++; v.counts[kind] <= 5 {
		v.told.add(attackFaults[kind]+": "+format, args...)
	}
}

func (v *attackVerdict) String() string { return v.summary(len(attackFaults)) }

// summary tells how often each of the first kinds was found, and then what.
func (v *attackVerdict) summary(kinds int) string {
	var b strings.Builder
	for kind, n := range v.counts[:kinds] {
		if kind > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", attackFaults[kind], n)
	}
	for _, sentence := range v.told {
		b.WriteString("\n  " + sentence)
	}
	return b.String()
}

// checkAttack finds everything that contradicts the guarantees.
func checkAttack(truth attackTruth, runs []attackRun) *attackVerdict {
	v := &attackVerdict{truth: truth, runs: runs, index: map[attackPlace]int{}}
	v.checkTables()
	for _, r := range runs {
		v.checkRun(r)
		v.checkOutcomes(r)
	}
	v.checkContents()
	v.checkPrimaries()
	return v
}

// checkTables: the journal has each commit of the application under one tid,
// with as many changes as it made, and they add up to the rows as they are.
func (v *attackVerdict) checkTables() {
	state := map[string]*attackState{} // nil for what is not there
	tids := map[string]int64{}
	makers := map[int64]string{}
	count := map[string]int{}
	versions := map[string]int64{}
	for i, c := range v.truth.changes {
		if i > 0 && !c.after(v.truth.changes[i-1].attackPlace) {
			v.add(isTables, "%v stands behind %v", c.attackPlace, v.truth.changes[i-1].attackPlace)
		}
		v.index[c.attackPlace] = i
		if tid, ok := tids[c.by]; ok && tid != c.TID {
			v.add(isTables, "%s has tid %d and tid %d", c.by, tid, c.TID)
		}
		if by, ok := makers[c.TID]; ok && by != c.by {
			v.add(isTables, "tid %d is that of %s and of %s", c.TID, by, c.by)
		}
		tids[c.by], makers[c.TID] = c.TID, c.by
		count[c.by]++

		before, ok := state[c.resource]
		if !ok && strings.HasPrefix(c.resource, string(tracbus.RealmTicket)) {
			before = &attackState{} // all tickets are there from the beginning
		}
		versions[c.resource]++
		after := &attackState{versions[c.resource], c.by}
		state[c.resource] = after
		if c.kind == tracbus.KindDeleted {
			state[c.resource] = nil
		}
		v.before, v.after = append(v.before, before), append(v.after, state[c.resource])
		if v.truth.final[c.resource].N == after.N && v.truth.final[c.resource].Text != c.by {
			v.add(isTables, "%s is now as %s left it, its last change is %v by %s",
				c.resource, v.truth.final[c.resource].Text, c.attackPlace, c.by)
		}
	}
	for resource, final := range v.truth.final {
		if versions[resource] != final.N {
			v.add(isTables, "%s has version %d, the journal has %d changes of it", resource, final.N, versions[resource])
		}
	}
	for by, n := range v.truth.commits {
		if count[by] != n {
			v.add(isTables, "%s committed %d changes, the journal has %d of it", by, n, count[by])
		}
	}
	for by := range count {
		if _, ok := v.truth.commits[by]; !ok {
			v.add(isTables, "tid %d is that of %s, which did not commit", tids[by], by)
		}
	}
}

// checkRun: what a run was told is the journal's order, from the run's start to
// its end, or to anywhere if it was killed.
func (v *attackVerdict) checkRun(r attackRun) {
	for _, l := range r.with(attackFault) {
		v.add(isRun, "%s: %s", r.name, l.Result)
	}
	if !r.killed && len(r.with(attackEnd)) != 1 {
		v.add(isRun, "%s did not end in order", r.name)
	}
	starts := r.with(attackStart)
	if len(starts) == 0 {
		if !r.killed || len(r.with(attackEverywhere)) > 0 {
			v.add(isRun, "%s did not say where it starts", r.name)
		}
		return
	}
	v.checkSequence(r.name, r.killed, starts[0].TID, r.with(attackEverywhere))
}

// checkSequence: lines are the order from behind start on, without a gap, and to
// the end; of a killed run, to any place.
func (v *attackVerdict) checkSequence(run string, killed bool, start int64, lines []attackLine) {
	order := v.truth.changes
	first, _ := slices.BinarySearchFunc(order, start, func(c attackChange, tid int64) int {
		if c.TID <= tid {
			return -1
		}
		return 1
	})
	seen := make([]bool, len(order))
	newest := first - 1
	for _, l := range lines {
		at, ok := v.index[l.attackPlace]
		switch {
		case !ok:
			v.add(isInvented, "%s was told %v by %q, which the tables do not have", run, l, l.By)
			continue
		case at < first:
			v.add(isTwice, "%s was told %v, which was before it began, at tid %d", run, l, start)
		case seen[at]:
			v.add(isTwice, "%s was told %v, %s, again", run, l, order[at].resource)
		case at < newest:
			v.add(isLate, "%s was told %v, %s, after %v", run, l, order[at].resource, order[newest].attackPlace)
		}
		seen[at] = true
		newest = max(newest, at)
	}
	if !killed {
		newest = len(order) - 1
	}
	for at := first; at <= newest; at++ {
		if !seen[at] {
			v.add(isLost, "%s was never told %v, %s by %s", run, order[at].attackPlace, order[at].resource, order[at].by)
		}
	}
}

// checkOutcomes: what Update returned is what happened.
func (v *attackVerdict) checkOutcomes(r attackRun) {
	tids := map[string]int64{}
	for _, c := range v.truth.changes {
		tids[c.by] = c.TID
	}
	said := map[string]bool{}
	for _, l := range r.with(attackOutcome) {
		said[l.By] = true
		changes, landed := v.truth.commits[l.By]
		switch {
		case strings.HasPrefix(l.Result, attackUnknown):
		case strings.HasPrefix(l.Result, attackNotCommitted):
			if landed {
				v.add(isOutcome, "%s: %s, but the tables have it, as tid %d", l.By, l.Result, tids[l.By])
			}
		case l.Result != attackCommitted:
			v.add(isOutcome, "%s: Update returned what it must not: %s", l.By, l.Result)
		case !landed:
			v.add(isOutcome, "%s: Update returned tid %d, but the tables do not have it", l.By, l.TID)
		case changes > 0 && l.TID != tids[l.By]:
			v.add(isOutcome, "%s: Update returned tid %d, but the tables say %d", l.By, l.TID, tids[l.By])
		}
	}
	for by := range v.truth.commits {
		if runOf(by) == r.name && !r.killed && !said[by] {
			v.add(isOutcome, "%s: the tables have it, but Update did not return", by)
		}
	}
}

// checkContents: every listener was told the change that the tables have, and
// all were told the same. Old values are those that the change before it made.
func (v *attackVerdict) checkContents() {
	first := map[attackPlace]attackLine{}
	teller := map[attackPlace]string{}
	for _, r := range v.runs {
		for _, l := range r.lines {
			at, ok := v.index[l.attackPlace]
			if l.Word != attackEverywhere && l.Word != attackPrimary || !ok {
				continue
			}
			c := v.truth.changes[at]
			if l.Resource != c.resource || l.Kind != c.kind || l.By != c.by {
				v.add(isContent, "%s was told %v as %s %s by %s, the tables have %s %s by %s",
					r.name, l, l.Resource, l.Kind, l.By, c.resource, c.kind, c.by)
			}
			if own := runOf(c.by) == r.name; l.Primary != own {
				v.add(isPrimary, "%s was told %v with Primary %v, which %s committed", r.name, l, l.Primary, runOf(c.by))
			}
			if !sameState(l.Old, v.before[at]) {
				v.add(isChain, "%s was told %v as a change of %s from %v; the change before it had made %v",
					r.name, l, c.resource, l.Old, v.before[at])
			}
			if !sameState(l.New, v.after[at]) {
				v.add(isChain, "%s was told %v as a change of %s to %v; it made %v", r.name, l, c.resource, l.New, v.after[at])
			}
			if f, ok := first[l.attackPlace]; !ok {
				first[l.attackPlace], teller[l.attackPlace] = l, r.name
			} else if f.Digest != l.Digest {
				v.add(isContent, "%s and %s were told different events at %v", teller[l.attackPlace], r.name, l)
			}
		}
	}
}

func sameState(a, b *attackState) bool { return a == b || a != nil && b != nil && *a == *b }

// checkPrimaries: the run that committed a change was told it as primary, once
// and in order, and no other was. A killed one may have been told up to any of
// its own.
func (v *attackVerdict) checkPrimaries() {
	told := map[attackPlace][]string{}
	last := map[string]attackPlace{}
	killed := map[string]bool{}
	for _, r := range v.runs {
		killed[r.name] = r.killed
		for _, l := range r.with(attackPrimary) {
			if last[r.name].after(l.attackPlace) {
				v.add(isLate, "%s was told %v as primary after %v", r.name, l, last[r.name])
			} else {
				last[r.name] = l.attackPlace
			}
			if _, ok := v.index[l.attackPlace]; !ok {
				v.add(isInvented, "%s was told %v as primary, by %q, which the tables do not have", r.name, l, l.By)
			}
			told[l.attackPlace] = append(told[l.attackPlace], r.name)
		}
	}
	for _, c := range v.truth.changes {
		own := runOf(c.by)
		switch runs := told[c.attackPlace]; {
		case len(runs) > 1:
			v.add(isPrimary, "%v, %s, was told as primary in %s", c.attackPlace, c.resource, strings.Join(runs, " and in "))
		case len(runs) == 1 && runs[0] != own:
			v.add(isPrimary, "%v, %s, was told as primary in %s, but %s committed it", c.attackPlace, c.resource, runs[0], own)
		case len(runs) == 0 && !killed[own]:
			v.add(isPrimary, "%v, %s, was told as primary nowhere, and %s, which committed it, lived on", c.attackPlace, c.resource, own)
		case len(runs) == 0 && last[own].after(c.attackPlace):
			v.add(isPrimary, "%v, %s, was told as primary nowhere, and %s, which committed it, was told %v", c.attackPlace, c.resource, own, last[own])
		}
	}
}
