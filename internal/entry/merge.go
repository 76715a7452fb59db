package entry

import (
	"maps"
	"reflect"
	"time"

	"github.com/tracbus/tracbus/internal/wire"
)

// merge returns two changes of one resource as one, which is nil if they undo
// each other. It reports false if they have to stay two.
func merge(a, b Entry) (_ *Entry, ok bool) {
	if a.Env != b.Env { // each is told where the other is not
		return nil, false
	}
	switch [2]string{a.Kind, b.Kind} {
	case [2]string{created, changed}:
		b.Kind, b.State, b.New, b.Old = created, stateAfter(a, b), nil, nil
		b.Absent &^= wire.Values | wire.Old
	case [2]string{created, deleted}:
		return nil, true
	case [2]string{changed, deleted}:
		return &b, true
	case [2]string{changed, changed}:
		b.Absent |= a.Absent & wire.Old
		mergeFields(a, &b)
		b.Null = b.Null&^wire.OldText | a.Null&wire.OldText // what was before is of the first
	default:
		return nil, false
	}
	if b.Comment == "" {
		b.Comment = a.Comment
		b.Null = b.Null&^wire.Comment | a.Null&wire.Comment
	}
	return &b, true
}

// stateAfter returns the state after b, also if b says only what it changed of a.
func stateAfter(a, b Entry) Fields {
	if b.State != nil {
		return b.NewState()
	}
	state := orEmpty(maps.Clone(a.NewState()))
	maps.Copy(state, b.New)
	for name := range b.Old {
		if _, stays := b.New[name]; !stays {
			delete(state, name)
		}
	}
	return state
}

// undone says whether b took back what a changed, so that merged, which is both,
// says nothing: no field, no comment, and no other difference between the states
// of a and b. Times do not count, because each change has its own. An a that names
// no difference may have made one that only its state shows.
func undone(a, b, merged Entry) bool {
	if merged.Kind != changed || len(merged.New)+len(merged.Old) > 0 || merged.Comment != "" || reflect.DeepEqual(orEmpty(a.New), orEmpty(a.Old)) {
		return false
	}
	if a.State == nil || b.State == nil {
		return true
	}
	first, last := a.NewState(), b.NewState()
	same := func(name string) bool {
		for _, fields := range []Fields{a.New, a.Old, b.New, b.Old} {
			if _, ok := fields[name]; ok {
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
		if was, ok := old[name]; ok && reflect.DeepEqual(was, v) && !b.Absent.Has(wire.Old) { // else the null says nothing
			delete(fresh, name)
			delete(old, name)
		}
	}
	own := b.New
	b.New, b.Old = fresh, old
	if b.State == nil {
		return
	}
	b.State = full
	for name := range fresh {
		delete(b.State, name)
		if _, lost := a.State[Lost+name]; lost {
			if _, later := own[name]; !later {
				b.State[Lost+name] = nil
			}
		}
	}
}
