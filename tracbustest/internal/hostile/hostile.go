// Package hostile has texts that code breaks on, and puts them into events.
package hostile

import (
	"reflect"
	"slices"

	"github.com/tracbus/tracbus"
)

// Texts are texts that a program meets sooner or later, and that code which splits,
// trims, quotes or counts breaks on.
var Texts = []string{
	" spaces around it\t", "two\nlines\r\n", `quotes ' " and a back\slash`, `{"time":1}`, `x' OR '1'='1`, "=not a field",
	"%s ? $1 :name --", "ünïcödé, 日本語, 🎫, \u202e reversed", "null", "0", "a/b.c:d*e[f]", "\u007f\u0001",
}

// Names are names of fields of the same sort.
var Names = []string{"=", "=name", "==name", "a.b", `"`, "state", "ü"}

var (
	changeType = reflect.TypeFor[tracbus.Change]()
	fieldsType = reflect.TypeFor[tracbus.Fields]()
	textType   = reflect.TypeFor[string]()
)

// TextsOf returns the different texts of an event beside its Change, in their order.
func TextsOf(e tracbus.Event) (texts []string) {
	walk(copied(e), func(v reflect.Value) {
		if v.Type() == textType && v.String() != "" && !slices.Contains(texts, v.String()) {
			texts = append(texts, v.String())
		}
	})
	return texts
}

// WithText returns a copy of an event that has another text in the place of one, wherever
// that is: so what is the same before is the same after.
func WithText(e tracbus.Event, old, text string) tracbus.Event {
	c := copied(e)
	walk(c, func(v reflect.Value) {
		if v.Type() == textType && v.String() == old {
			v.SetString(text)
		}
	})
	return c.Interface().(tracbus.Event)
}

// WithField returns a copy of an event that has one field more in all of its Fields that
// are not nil, and whether there is one.
func WithField(e tracbus.Event, name string) (_ tracbus.Event, found bool) {
	c := copied(e)
	walk(c, func(v reflect.Value) {
		if v.Type() == fieldsType && !v.IsNil() {
			v.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf("value"))
			found = true
		}
	})
	return c.Interface().(tracbus.Event), found
}

// Copy returns a copy of an event that shares no map or slice with it.
func Copy(e tracbus.Event) tracbus.Event {
	c := copied(e)
	walk(c, func(reflect.Value) {})
	return c.Interface().(tracbus.Event)
}

// copied returns a copy of an event that can be written.
func copied(e tracbus.Event) reflect.Value {
	c := reflect.New(reflect.TypeOf(e)).Elem()
	c.Set(reflect.ValueOf(e))
	return c
}

// walk calls f with all that is in a copy and can be written, the Change left out. Maps and
// slices become the copy's own on the way.
func walk(v reflect.Value, f func(reflect.Value)) {
	if v.Type() == changeType || !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			walk(v.Field(i), f)
		}
	case reflect.Map:
		if v.IsNil() {
			break
		}
		own := reflect.MakeMapWithSize(v.Type(), v.Len())
		for _, key := range v.MapKeys() {
			own.SetMapIndex(key, walked(v.MapIndex(key), f))
		}
		v.Set(own)
	case reflect.Slice:
		if v.IsNil() {
			break
		}
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		v.Set(own)
		for i := range v.Len() {
			walk(v.Index(i), f)
		}
	case reflect.Interface:
		if !v.IsNil() {
			v.Set(walked(v.Elem(), f))
		}
		return
	}
	f(v)
}

// walked returns a copy of a value that cannot be written where it is.
func walked(v reflect.Value, f func(reflect.Value)) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	walk(c, f)
	return c
}

// Emptied returns a copy of an event whose Fields have null values only.
func Emptied(e tracbus.Event) tracbus.Event {
	c := copied(e)
	walk(c, func(v reflect.Value) {
		if v.Type() != fieldsType {
			return
		}
		for _, name := range v.MapKeys() {
			v.SetMapIndex(name, reflect.Zero(fieldsType.Elem()))
		}
	})
	return c.Interface().(tracbus.Event)
}
