package contract

import (
	"reflect"
	"slices"
	"time"

	"github.com/tracbus/tracbus"
)

// A leaf is a field of an event's type that is no struct of fields.
type leaf struct {
	index []int // as reflect.Value.FieldByIndex takes it
	name  string
	of    reflect.Type
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	fieldsType = reflect.TypeFor[tracbus.Fields]()
)

// leavesOf returns the leaves of an event's type, but for those that say how the others
// are to be read.
func leavesOf(t reflect.Type) (found []leaf) {
	for field := range t.Fields() {
		switch {
		case slices.Contains([]string{"Env", "Null", "Absent"}, field.Name):
		case field.Type.Kind() == reflect.Struct && field.Type != timeType:
			for _, inner := range leavesOf(field.Type) {
				inner.index = slices.Concat(field.Index, inner.index)
				found = append(found, inner)
			}
		default:
			found = append(found, leaf{field.Index, field.Name, field.Type})
		}
	}
	return found
}

// twins returns the leaves that mean the same of something else, such as of what there
// was before the change.
func (l leaf) twins(all []leaf) (found []leaf) {
	for _, other := range all {
		if other.name == l.name && other.of == l.of {
			found = append(found, other)
		}
	}
	return found
}

// with returns a copy of e in which f was applied to some leaves.
func with(e tracbus.Event, leaves []leaf, f func(reflect.Value)) tracbus.Event {
	c := reflect.New(reflect.TypeOf(e)).Elem()
	c.Set(reflect.ValueOf(e))
	for _, l := range leaves {
		f(c.FieldByIndex(l.index))
	}
	return c.Interface().(tracbus.Event)
}

// vary makes a value another one, which is not zero either, but for a bool.
func vary(v reflect.Value) {
	switch {
	case v.Type() == timeType:
		v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(time.Hour)))
	case v.Type() == fieldsType:
		f := tracbus.Fields{probed: "x"}
		for name, value := range v.Interface().(tracbus.Fields) {
			f[name] = value
		}
		v.Set(reflect.ValueOf(f))
	case v.Kind() == reflect.String:
		v.SetString(v.String() + "x")
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.CanInt():
		v.SetInt(v.Int() + 1)
	}
}

// probed is the name of a field that no example has.
const probed = "probed"

// before returns the leaves of what there was before the change, each with that of the
// same thing after it: an event has a field Old, and another one of the same type.
func before(t reflect.Type) (pairs [][2]leaf) {
	old, ok := t.FieldByName("Old")
	if !ok || old.Type.Kind() != reflect.Struct {
		return nil
	}
	for now := range t.Fields() {
		if now.Type != old.Type || now.Name == old.Name {
			continue
		}
		for _, l := range leavesOf(old.Type) {
			of := func(parent []int) leaf { return leaf{slices.Concat(parent, l.index), l.name, l.of} }
			pairs = append(pairs, [2]leaf{of(now.Index), of(old.Index)})
		}
	}
	return pairs
}
