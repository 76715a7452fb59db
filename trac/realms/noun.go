package realms

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/value"
)

// event is an event of one noun, such as Milestone.
type event[T any] interface {
	tracbus.Event
	// both returns the thing after the change and before it: the same one if it
	// was created or deleted.
	both() (now, old T)
}

// noun says how a kind of thing becomes an entry and a payload, and an event
// again. A thing is its fields; some of them make the resource's id.
type noun[T any] struct {
	realm    tracbus.Realm
	moved    tracbus.Kind // of a change that gives it another id
	resource func(T) tracbus.Resource
	fields   func(T) tracbus.Fields
	naming   func(id string) (tracbus.Fields, error) // the fields that make the id
	read     func(*reader) T                         // the reverse of fields

	created, deleted func(tracbus.Change, T) tracbus.Event
	changed          func(c tracbus.Change, now, old T) tracbus.Event
}

const descriptionField = "description"

// kind returns the kind of a change.
func (n noun[T]) kind(now, old T) tracbus.Kind {
	if n.resource(now) != n.resource(old) {
		return n.moved
	}
	return tracbus.KindChanged
}

// difference returns all fields after the change, and those before it that were
// different. A description that is NULL is nil.
func (n noun[T]) difference(e event[T]) (all, old tracbus.Fields) {
	thing, before := e.both()
	all, old = n.fields(thing), n.fields(before)
	for name, v := range all {
		if value.Equal(v, old[name]) {
			delete(old, name)
		}
	}
	null := e.About().Null
	if null.Has(tracbus.AttrText) && all[descriptionField] == "" {
		all[descriptionField] = nil
	}
	if null.Has(tracbus.AttrOldText) && old[descriptionField] == "" {
		old[descriptionField] = nil
	}
	return all, old
}

// entry returns an event in the form that the journal keeps: a field that changed
// is in New and Old, another one in State, unless the id says what it is.
func (n noun[T]) entry(e event[T]) tracbus.Entry {
	entry := tracbus.Entry{Resource: e.Resource(), Kind: e.Kind(), Change: e.About()}
	state, old := n.difference(e)
	fresh := make(tracbus.Fields, len(old))
	for name := range old {
		fresh[name] = state[name]
		delete(state, name)
	}
	naming, _ := n.naming(entry.Resource.ID)
	for name := range naming {
		delete(state, name)
	}
	entry.State = state
	if entry.Kind != tracbus.KindCreated && entry.Kind != tracbus.KindDeleted {
		entry.New, entry.Old = fresh, old
	}
	return entry
}

// event is the reverse of entry.
func (n noun[T]) event(entry tracbus.Entry) (tracbus.Event, error) {
	fail := func(err error) (tracbus.Event, error) {
		return nil, fmt.Errorf("entry %s of %s: %w", entry.Kind, entry.Resource, err)
	}
	if entry.Resource.Realm != n.realm {
		return fail(fmt.Errorf("expected the realm %q", n.realm))
	}
	all, err := n.naming(entry.Resource.ID)
	if err != nil {
		return fail(err)
	}
	for name, v := range entry.NewState() {
		all[name] = v
	}
	e, err := n.made(entry.Change, entry.Kind, all, entry.Old)
	if err != nil {
		return fail(err)
	}
	if r := e.Resource(); r != entry.Resource || e.Kind() != entry.Kind {
		return fail(fmt.Errorf("its fields say %s of %s", e.Kind(), r))
	}
	return e, nil
}

// made returns the event of that kind with all fields, and with the old ones of
// those that changed.
func (n noun[T]) made(c tracbus.Change, kind tracbus.Kind, all, old tracbus.Fields) (tracbus.Event, error) {
	r := reader{fields: all}
	now := n.read(&r)
	switch {
	case r.err != nil:
		return nil, r.err
	case kind == tracbus.KindCreated:
		return n.created(c, now), nil
	case kind == tracbus.KindDeleted:
		return n.deleted(c, now), nil
	case kind != tracbus.KindChanged && kind != n.moved:
		return nil, fmt.Errorf("expected a kind that the realm %q has", n.realm)
	}
	r = reader{fields: tracbus.Entry{State: all, New: old}.NewState()}
	before := n.read(&r)
	if r.err != nil {
		return nil, fmt.Errorf("old %w", r.err)
	}
	return n.changed(c, now, before), nil
}

// reader reads fields and keeps the first error.
type reader struct {
	fields tracbus.Fields
	err    error
}

func (r *reader) find(name, want string) (v any) {
	v, ok := r.fields[name]
	if !ok {
		r.fail("field %q is missing: expected %s", name, want)
	}
	return v
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// text reads a text, "" for nil.
func (r *reader) text(name string) string {
	v := r.find(name, "a text")
	s, ok := v.(string)
	if !ok && v != nil {
		r.fail("field %q: expected a text, found %T", name, v)
	}
	return s
}

// time reads a time, the zero time for nil.
func (r *reader) time(name string) time.Time {
	v := r.find(name, "a time")
	t, ok := r.fields.Time(name)
	if !ok && v != nil {
		r.fail("field %q: expected a time, found %T", name, v)
	}
	return t
}

// number reads an integer.
func (r *reader) number(name string) int64 {
	v, _ := r.find(name, "an integer").(json.Number)
	n, err := v.Int64()
	if err != nil {
		r.fail("field %q: expected an integer of 64 bits, found %.60q", name, r.fields[name])
	}
	return n
}

// timeField returns a time as a field has it: nil for the zero time.
func timeField(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// named returns the fields that make the id of a thing that has a name.
func named(id string) (tracbus.Fields, error) {
	return tracbus.Fields{nameField: id}, nil
}

const nameField = "name"
