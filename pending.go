package tracbus

import (
	"maps"
	"reflect"
	"time"
)

// pending is what a transaction will report, in the order in which its resources
// were first changed.
type pending struct {
	entries []*Entry // nil: what was created, and deleted again
	latest  map[Resource]int
	kept    map[Resource]bool // the tables keep a change in their history, even if it is undone
}

// of returns what is to be reported of a resource so far.
func (p *pending) of(r Resource) (Entry, bool) {
	i, ok := p.latest[r]
	if !ok || p.entries[i] == nil {
		return Entry{}, false
	}
	return *p.entries[i], true
}

// add takes one more change. Two of the same resource are one change to whoever
// did not see what was between them, and none if the second takes the first
// back; only the rarer kinds stand for themselves,
// and what is created anew.
func (p *pending) add(e Entry) {
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

// retract takes back what was to be reported of a resource.
func (p *pending) retract(r Resource) {
	if i, ok := p.latest[r]; ok {
		p.entries[i] = nil
	}
	delete(p.kept, r)
}

// keep says that a model has written a change of a resource to tables that keep
// its history, such as a version of a page. It is reported even if the next
// change undoes it.
func (p *pending) keep(r Resource) {
	if p.kept == nil {
		p.kept = map[Resource]bool{}
	}
	p.kept[r] = true
}

// all returns what is to be reported.
func (p *pending) all() (all []Entry) {
	for _, e := range p.entries {
		if e != nil {
			all = append(all, *e)
		}
	}
	return all
}

// merge returns two changes of one resource as one, which is nil if they undo
// each other. It reports false if they have to stay two.
func merge(a, b Entry) (_ *Entry, ok bool) {
	switch [2]Kind{a.Kind, b.Kind} {
	case [2]Kind{KindCreated, KindChanged}:
		b.Kind, b.State, b.New, b.Old = KindCreated, b.NewState(), nil, nil
	case [2]Kind{KindCreated, KindDeleted}:
		return nil, true
	case [2]Kind{KindChanged, KindDeleted}:
		return &b, true
	case [2]Kind{KindChanged, KindChanged}:
		mergeFields(a, &b)
		b.Change.Null = b.Change.Null&^AttrOldText | a.Change.Null&AttrOldText // what was before is of the first
	default:
		return nil, false
	}
	if b.Change.Comment == "" {
		b.Change.Comment = a.Change.Comment
		b.Change.Null = b.Change.Null&^AttrComment | a.Change.Null&AttrComment
	}
	return &b, true
}

// undone says whether b took back what a changed, so that merged, of both, tells
// of nothing: no field, no comment, and no other difference between the states
// that a and b tell of. Times do not count, for each change has its own. An a
// that names no difference may have made one that only its state shows.
func undone(a, b, merged Entry) bool {
	if merged.Kind != KindChanged || len(merged.New)+len(merged.Old) > 0 || merged.Change.Comment != "" || reflect.DeepEqual(orEmpty(a.New), orEmpty(a.Old)) {
		return false
	}
	if a.State == nil || b.State == nil {
		return true
	}
	first, last := a.NewState(), b.NewState()
	same := func(name string) bool {
		for _, changed := range []Fields{a.New, a.Old, b.New, b.Old} {
			if _, ok := changed[name]; ok {
				return true // and merged says that it is what it was
			}
		}
		v, ok1 := first[name]
		w, ok2 := last[name]
		_, time1 := v.(time.Time)
		_, time2 := w.(time.Time)
		return time1 && time2 || ok1 == ok2 && reflect.DeepEqual(v, w)
	}
	for name := range first {
		if !same(name) {
			return false
		}
	}
	for name := range last {
		if !same(name) {
			return false
		}
	}
	return true
}

func orEmpty(f Fields) Fields {
	if f == nil {
		return Fields{}
	}
	return f
}

// mergeFields makes b the change from what was before a. A field that is what it
// was then did not change.
func mergeFields(a Entry, b *Entry) {
	full := b.NewState()
	fresh, old := maps.Clone(orEmpty(a.New)), maps.Clone(orEmpty(a.Old))
	maps.Copy(fresh, b.New)
	for name, v := range b.Old {
		if _, earlier := a.New[name]; earlier {
			continue
		}
		if _, earlier := a.Old[name]; !earlier {
			old[name] = v
		}
	}
	for name := range b.Old {
		if _, stays := b.New[name]; !stays {
			delete(fresh, name)
		}
	}
	for name, v := range fresh {
		if was, ok := old[name]; ok && reflect.DeepEqual(was, v) {
			delete(fresh, name)
			delete(old, name)
		}
	}
	b.New, b.Old = fresh, old
	if b.State == nil {
		return
	}
	b.State = full
	for name := range fresh {
		delete(b.State, name)
	}
}
