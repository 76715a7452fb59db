package entry

import (
	"maps"
	"slices"

	"github.com/tracbus/tracbus/internal/tracecontext"
)

// Pending is what a transaction will report, in the order in which its resources
// were first changed. Two changes of one resource are one to whoever did not see
// what was between them, and none if the second takes the first back. Changes of
// the rarer kinds and those of different envs stay what they are, and so does what is created again after it
// was deleted. merge_test.go has an example of each rule.
type Pending struct {
	now   reported
	mark  int      // of what comes next; 0: nothing has been marked
	first reported // before the first mark
	since []step   // that led from there to now
}

// reported is what is to be reported.
type reported struct {
	entries []*Entry         // nil: what was undone, or created and deleted again
	latest  map[Resource]int // in entries
	kept    map[Resource]bool
}

// step is what came after a mark.
type step struct {
	mark int
	do   func(*reported)
}

// Mark says that what comes now is to be kept if a mark holds. Marks rise.
func (p *Pending) Mark(mark int) {
	if p.mark == 0 {
		p.first = p.now.clone()
	}
	p.mark = mark
}

// Hold forgets what came after marks that do not hold.
func (p *Pending) Hold(holds func(mark int) bool) {
	before := len(p.since)
	p.since = slices.DeleteFunc(p.since, func(s step) bool { return !holds(s.mark) })
	if len(p.since) == before {
		return
	}
	p.now = p.first.clone()
	for _, s := range p.since {
		s.do(&p.now)
	}
}

// clone returns a copy. What it shares is never changed.
func (p reported) clone() reported {
	return reported{slices.Clone(p.entries), maps.Clone(p.latest), maps.Clone(p.kept)}
}

func (p *Pending) step(do func(*reported)) {
	do(&p.now)
	if p.mark != 0 {
		p.since = append(p.since, step{p.mark, do})
	}
}

// Of returns what is to be reported of a resource so far: of its last change, if
// there are several.
func (p *Pending) Of(r Resource) (Entry, bool) {
	i, ok := p.now.latest[r]
	if !ok || p.now.entries[i] == nil {
		return Entry{}, false
	}
	return *p.now.entries[i], true
}

// Back returns all that is to be reported of a resource so far, the newest first.
func (p *Pending) Back(r Resource) (all []Entry) {
	for _, e := range slices.Backward(p.now.entries) {
		if e != nil && e.Resource == r {
			all = append(all, *e)
		}
	}
	return all
}

// Add takes one more change.
func (p *Pending) Add(e Entry) { p.step(func(r *reported) { r.add(e) }) }

func (p *reported) add(e Entry) {
	if i, ok := p.latest[e.Resource]; ok && p.entries[i] != nil {
		before := *p.entries[i]
		if merged, ok := merge(before, e); ok {
			if merged != nil && !p.kept[e.Resource] && undone(before, e, *merged) {
				merged = nil
			}
			p.entries[i] = merged
			return
		}
	}
	if p.latest == nil {
		p.latest = map[Resource]int{}
	}
	p.latest[e.Resource] = len(p.entries)
	p.entries = append(p.entries, &e)
}

// Retract takes back what was to be reported of a resource.
func (p *Pending) Retract(r Resource) { p.step(func(all *reported) { all.retract(r) }) }

func (p *reported) retract(r Resource) {
	if i, ok := p.latest[r]; ok {
		p.entries[i] = nil
	}
	delete(p.kept, r)
}

// Keep says that the tables of a resource keep its change in their history, such as
// a version of a page. It is reported even if the next change undoes it.
func (p *Pending) Keep(r Resource) { p.step(func(all *reported) { all.keep(r) }) }

func (p *reported) keep(r Resource) {
	if p.kept == nil {
		p.kept = map[Resource]bool{}
	}
	p.kept[r] = true
}

// Any says whether there is anything to be reported.
func (p *Pending) Any() bool {
	_, any := p.First()
	return any
}

// First returns the first of what is to be reported.
func (p *Pending) First() (Entry, bool) {
	for _, e := range p.now.entries {
		if e != nil {
			return *e, true
		}
	}
	return Entry{}, false
}

// SetTrace gives all that is to be reported so far the trace of what makes it.
func (p *Pending) SetTrace(c tracecontext.Context) {
	for _, e := range p.now.entries {
		if e != nil {
			e.Trace = c
		}
	}
}

// All returns what is to be reported.
func (p *Pending) All() (all []Entry) {
	for _, e := range p.now.entries {
		if e != nil {
			all = append(all, *e)
		}
	}
	return all
}
