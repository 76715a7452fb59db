package entry

import (
	"slices"

	"github.com/tracbus/tracbus/internal/tracecontext"
)

// Pending is what a transaction will report, in the order in which its resources
// were first changed. Two changes of one resource are one to whoever did not see
// what was between them, and none if the second takes the first back. Changes of
// the rarer kinds and those of different envs stay what they are, and so does what is created again after it
// was deleted. merge_test.go has an example of each rule.
type Pending struct {
	entries []*Entry         // nil: what was undone, or created and deleted again
	latest  map[Resource]int // in entries
	kept    map[Resource]bool
}

// Of returns what is to be reported of a resource so far: of its last change, if
// there are several.
func (p *Pending) Of(r Resource) (Entry, bool) {
	i, ok := p.latest[r]
	if !ok || p.entries[i] == nil {
		return Entry{}, false
	}
	return *p.entries[i], true
}

// Add takes one more change.
func (p *Pending) Add(e Entry) {
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
func (p *Pending) Retract(r Resource) {
	if i, ok := p.latest[r]; ok {
		p.entries[i] = nil
	}
	delete(p.kept, r)
}

// Keep says that the tables of a resource keep its change in their history, such as
// a version of a page. It is reported even if the next change undoes it.
func (p *Pending) Keep(r Resource) {
	if p.kept == nil {
		p.kept = map[Resource]bool{}
	}
	p.kept[r] = true
}

// Any says whether there is anything to be reported.
func (p *Pending) Any() bool {
	return slices.ContainsFunc(p.entries, func(e *Entry) bool { return e != nil })
}

// SetTrace gives all that is to be reported so far the trace of what makes it.
func (p *Pending) SetTrace(c tracecontext.Context) {
	for _, e := range p.entries {
		if e != nil {
			e.Trace = c
		}
	}
}

// All returns what is to be reported.
func (p *Pending) All() (all []Entry) {
	for _, e := range p.entries {
		if e != nil {
			all = append(all, *e)
		}
	}
	return all
}
