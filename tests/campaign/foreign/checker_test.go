package foreign_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// told is an event as the journal has it.
type told struct {
	record.Place
	Resource, Kind string
	Author         string // empty: nobody knows
	Comment        string

	Values, New, Old map[string]string // of a ticket
	OldComment       string
	Time, Made       int64 // of the change; and of the one whose comment was edited, or that was deleted

	Version       int64 // of a page
	Text, OldText string
	OldName       string
	Unknown       bool // who made it
	Foreign       bool // it was taken in
}

// story is all that is known when all is over. Only told comes from the journal.
type story struct {
	serial  bool // one transaction at a time writes
	writes  []write
	runs    []runLog
	told    []told
	stream  []record.Place               // in its order
	states  map[string]map[string]string // the tickets as the tables have them
	pages   map[string]map[int64]string  // the texts of the pages' versions as the tables have them
	history map[[2]string]string         // the old value that Trac noted of the keywords that a transaction set to a ticket
}

// runLog is the log of one run of a process.
type runLog struct {
	name   string
	trac   bool
	killed bool // it may end anywhere
	lines  []line
}

// The ways in which a story can be wrong.
const (
	isMissing = iota
	isTwice
	isPhantom
	isState
	isLate
	isChain
	isPrimary
	isOutcome
	isStream
	isHeard
	isRun
)

var kinds = [...]string{"missing", "twice", "phantom", "state", "order", "chain", "primary", "outcome", "stream", "heard", "run"}

// verdict is what the checker finds.
type verdict struct {
	story
	counts [len(kinds)]int
	found  testkit.Findings // the first of each kind

	// What is counted apart, because Trac itself does not lock what it reads: old values that it noted wrong,
	// changes that it did half, updates by nobody that became one, and how often a page was deleted or renamed while another one wrote it.
	stale, half, merged, raced int
	moments                    map[string][2]int64 // when each transaction began and when it had ended
}

func (v *verdict) add(kind int, format string, args ...any) {
	if v.counts[kind]++; v.counts[kind] <= 4 {
		v.found.Add(kinds[kind]+": "+format, args...)
	}
}

func (v *verdict) String() string {
	var b strings.Builder
	for kind, n := range v.counts {
		fmt.Fprintf(&b, "%s %d, ", kinds[kind], n)
	}
	fmt.Fprintf(&b, "and apart: old values that Trac noted stale %d, changes that Trac did half %d, updates by nobody that became one %d, races for a page %d", v.stale, v.half, v.merged, v.raced)
	for _, sentence := range v.found {
		b.WriteString("\n  " + sentence)
	}
	return b.String()
}

// check finds everything that contradicts what is promised.
func check(s story) *verdict {
	v := &verdict{story: s, moments: map[string][2]int64{}}
	v.checkOutcomes()
	v.checkTickets()
	v.checkPages()
	v.checkStream()
	for _, r := range v.runs {
		v.checkHeard(r)
	}
	v.checkPrimaries()
	return v
}

// checkOutcomes: what a writer says of a transaction is what the tables have.
func (v *verdict) checkOutcomes() {
	there := map[string]bool{}
	for _, w := range v.writes {
		there[w.Token] = true
	}
	for _, r := range v.runs {
		ended := false
		for _, l := range r.lines {
			switch l.Word {
			case beginWord:
				v.moments[l.Token] = [2]int64{l.At, 0}
			case outcomeWord:
				v.moments[l.Token] = [2]int64{v.moments[l.Token][0], l.At}
				switch {
				case strings.HasPrefix(l.Result, committed) && !there[l.Token]:
					v.add(isOutcome, "%s is said to be committed, and the tables do not have it", l.Token)
				case strings.HasPrefix(l.Result, rolledBack) && there[l.Token]:
					v.add(isOutcome, "%s is said to be rolled back, and the tables have it: %s", l.Token, l.Result)
				}
			case faultWord:
				v.add(isRun, "%s: %s", r.name, l.Result)
			case endWord:
				ended = true
			}
		}
		if !ended && !r.killed {
			v.add(isRun, "%s did not end in order", r.name)
		}
	}
}

// key names what a write did to its resource, as an event does too.
func (w write) key(nth map[string]int) string {
	switch w.Kind {
	case changeDeleted:
		return fmt.Sprintf("%s of %d", w.Kind, w.Made)
	case deleted:
		nth[w.Resource]++
		return fmt.Sprintf("%s, time %d", w.Kind, nth[w.Resource])
	}
	return w.Kind + " by " + w.Token
}

func (t told) key(nth map[string]int) string {
	switch {
	case t.Kind == changeDeleted:
		return fmt.Sprintf("%s of %d", t.Kind, t.Made)
	case t.Kind == deleted:
		nth[t.Resource]++
		return fmt.Sprintf("%s, time %d", t.Kind, nth[t.Resource])
	case t.Kind == changed && t.Unknown:
		return raw + " by " + t.New["component"]
	}
	return t.Kind + " by " + t.Author
}

// checkTickets: of each ticket, what was told is what was committed, in that order, with the values
// that the tables had then.
func (v *verdict) checkTickets() {
	writes, events := map[string][]write{}, map[string][]told{}
	for _, w := range v.writes {
		if w.N > 0 {
			writes[w.Resource] = append(writes[w.Resource], w)
		}
	}
	for _, t := range v.told {
		if strings.HasPrefix(t.Resource, "ticket ") {
			events[t.Resource] = append(events[t.Resource], t)
			if writes[t.Resource] == nil {
				v.add(isPhantom, "%v: %s of %s, which nobody wrote", t.Place, t.Kind, t.Resource)
			}
		}
	}
	for resource, all := range writes {
		slices.SortFunc(all, func(a, b write) int { return a.N - b.N })
		v.checkTicket(resource, all, events[resource])
		if now := v.states[resource]; !same(now, all[len(all)-1].State) {
			v.add(isState, "%s is now %v, its last write left %v", resource, now, all[len(all)-1].State)
		}
	}
}

func (v *verdict) checkTicket(resource string, writes []write, events []told) {
	index, nth, seen := map[string]int{}, map[string]int{}, map[int]bool{}
	for i, w := range writes {
		index[w.key(nth)] = i
		if w.N != i+1 {
			v.add(isOutcome, "%s: write %d comes after write %d", resource, w.N, i)
		}
	}
	nth = map[string]int{}
	last, comments := -1, map[int64]string{}
	for _, t := range events {
		key := t.key(nth)
		i, ok := index[key]
		switch {
		case !ok:
			v.add(isPhantom, "%v: %s of %s, which nobody committed", t.Place, key, resource)
			continue
		case seen[i]:
			v.add(isTwice, "%v: %s of %s, again", t.Place, key, resource)
			continue
		}
		seen[i] = true
		if writes[i].Stale {
			v.half++
			continue
		}
		if i < last {
			v.add(isLate, "%v: %s, %s, was committed before %s, and told after it", t.Place, resource, key, writes[last].key(map[string]int{}))
		}
		before := map[string]string{}
		if i > 0 {
			before = writes[i-1].State
		}
		v.checkContent(t, writes[i], before)
		v.checkComment(t, writes[i], comments)
		if t.Kind == changed && !t.Unknown {
			if noted, ok := v.history[[2]string{resource, t.Author}]; ok && noted != before["keywords"] {
				v.stale++
			}
		}
		last = max(last, i)
	}
	for i, w := range writes {
		if seen[i] {
			continue
		}
		next := i + 1
		for next < len(writes) && writes[next].Kind == raw && !seen[next] {
			next++
		}
		if w.Kind == raw && next < len(writes) && writes[next].Kind == raw {
			v.merged++
			continue
		}
		v.add(isMissing, "%s: write %d, %s by %s", resource, w.N, w.Kind, w.Token)
	}
}

// checkContent: an event says what its write did. before is the state of the ticket before it.
func (v *verdict) checkContent(t told, w write, before map[string]string) {
	switch t.Kind {
	case created, changed:
		if !holds(t.Values, w.State) {
			v.add(isState, "%v: %s is told as %v, the tables had %v", t.Place, t.Resource, t.Values, w.State)
		}
	case deleted:
		if !holds(t.Values, before) {
			v.add(isState, "%v: %s is told to have been %v, the tables had %v", t.Place, t.Resource, t.Values, before)
		}
	}
	if t.Kind != changed || w.Kind == raw && before["component"] != t.Old["component"] { // of some that became one
		return
	}
	for name, now := range w.State {
		old := t.Old[name] // missing if a custom field had no row
		_, there := t.New[name]
		if !there && before[name] != now || there && (old != before[name] || t.New[name] != now) {
			v.add(isChain, "%v: %s: %s was %q and became %q, it is told that %q became %q", t.Place, t.Resource, name, before[name], now, old, t.New[name])
		}
	}
}

// checkComment: an edit of a comment says what it was, as Trac noted it, and became; and a deleted
// change had the comment that it had last.
func (v *verdict) checkComment(t told, w write, comments map[int64]string) {
	switch t.Kind {
	case changed:
		if !t.Unknown {
			comments[t.Time] = t.Comment
		}
	case commentEdited:
		if t.Made != w.Made || t.OldComment != w.Ref || t.Comment != w.Token {
			v.add(isChain, "%v: %s: the comment of %d, %q, became %q, it is told that the one of %d, %q, became %q",
				t.Place, t.Resource, w.Made, w.Ref, w.Token, t.Made, t.OldComment, t.Comment)
		}
		if comments[t.Made] != w.Ref {
			v.stale++
		}
		comments[t.Made] = t.Comment
	case changeDeleted:
		if t.Comment != comments[t.Made] {
			v.add(isChain, "%v: %s: the deleted change of %d had the comment %q, it is told that it had %q", t.Place, t.Resource, t.Made, comments[t.Made], t.Comment)
		}
	}
}

// holds says whether values have a state.
func holds(values, state map[string]string) bool {
	for name, s := range state {
		if values[name] != s {
			return false
		}
	}
	return true
}

func same(a, b map[string]string) bool { return holds(a, b) && holds(b, a) }

// checkStream: the stream has every change once, in the journal's order.
func (v *verdict) checkStream() {
	for i := range max(len(v.told), len(v.stream)) {
		switch {
		case i >= len(v.stream):
			v.add(isStream, "it ends before %v", v.told[i].Place)
			return
		case i >= len(v.told):
			v.add(isStream, "it goes on with %v when the journal ends", v.stream[i])
			return
		case v.stream[i] != v.told[i].Place:
			v.add(isStream, "it has %v where the journal has %v", v.stream[i], v.told[i].Place)
			return
		}
	}
}

// checkHeard: a listener of each run was told all changes from its start on, in the order of the
// journal, and to the end unless the run was killed.
func (v *verdict) checkHeard(r runLog) {
	if r.trac {
		return
	}
	at := -1
	for _, l := range r.lines {
		switch l.Word {
		case startWord:
			at, _ = slices.BinarySearchFunc(v.told, l.TID+1, func(t told, tid int64) int { return int(t.TID - tid) })
		case everywhereWord:
			if at < 0 || at >= len(v.told) || v.told[at].Place != l.Place {
				v.add(isHeard, "%s was told %v where the journal has another one", r.name, l.Place)
				return
			}
			t := v.told[at]
			if own := !t.Foreign && run(t.Author) == r.name; l.Primary != own {
				v.add(isPrimary, "%s was told %v, by %q, with Primary %v", r.name, l.Place, t.Author, l.Primary)
			}
			at++
		}
	}
	if !r.killed && at < len(v.told) {
		v.add(isHeard, "%s was told %d of %d changes", r.name, at, len(v.told))
	}
}

// checkPrimaries: who committed a change was told it as primary once, and nobody else; of what
// Trac wrote, nobody was.
func (v *verdict) checkPrimaries() {
	heard, killed := map[record.Place]int{}, map[string]bool{}
	by := map[record.Place]told{}
	for _, t := range v.told {
		by[t.Place] = t
	}
	for _, r := range v.runs {
		killed[r.name] = r.killed
		for _, l := range r.lines {
			if l.Word != primaryWord {
				continue
			}
			if t, ok := by[l.Place]; !ok || t.Foreign || run(t.Author) != r.name {
				v.add(isPrimary, "%s was told %v as primary, which %q made", r.name, l.Place, t.Author)
			}
			if heard[l.Place]++; heard[l.Place] > 1 {
				v.add(isPrimary, "%v was told as primary %d times", l.Place, heard[l.Place])
			}
		}
	}
	for _, t := range v.told {
		if !t.Foreign && !killed[run(t.Author)] && heard[t.Place] == 0 {
			v.add(isPrimary, "%v by %s was told as primary nowhere", t.Place, t.Author)
		}
	}
}
