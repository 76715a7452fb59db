// Package compare says where two values differ, in words that lead to the place.
package compare

import (
	"fmt"
	"reflect"
	"slices"
	"time"
)

// Difference says where b is not what a is, or returns "". Times are equal if they are the
// same moment, and functions are not compared.
func Difference(a, b any) string {
	return differ("", reflect.ValueOf(a), reflect.ValueOf(b))
}

func differ(path string, a, b reflect.Value) string {
	unequal := func() string {
		return fmt.Sprintf("%s was %s, and came back as %s", orWhole(path), shown(a), shown(b))
	}
	switch {
	case a.IsValid() != b.IsValid():
		return unequal()
	case !a.IsValid():
		return ""
	case a.Type() != b.Type():
		return fmt.Sprintf("%s was %s of type %s, and came back as %s of type %s", orWhole(path), shown(a), a.Type(), shown(b), b.Type())
	case a.Type() == reflect.TypeFor[time.Time]() && a.CanInterface() && b.CanInterface():
		if !a.Interface().(time.Time).Equal(b.Interface().(time.Time)) {
			return unequal()
		}
		return ""
	}
	switch a.Kind() {
	case reflect.Func: // which cannot be compared
		return ""
	case reflect.Interface, reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				return unequal()
			}
			return ""
		}
		return differ(path, a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if d := differ(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i)); d != "" {
				return d
			}
		}
		return ""
	case reflect.Map:
		return differMaps(path, a, b, unequal)
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() || a.Kind() == reflect.Slice && a.IsNil() != b.IsNil() {
			return unequal()
		}
		for i := range a.Len() {
			if d := differ(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i)); d != "" {
				return d
			}
		}
		return ""
	}
	if !a.Equal(b) {
		return unequal()
	}
	return ""
}

func differMaps(path string, a, b reflect.Value, unequal func() string) string {
	if a.IsNil() != b.IsNil() {
		return unequal()
	}
	for _, key := range sortedKeys(a) {
		at := fmt.Sprintf("%s[%q]", path, fmt.Sprint(key))
		if !b.MapIndex(key).IsValid() {
			return fmt.Sprintf("%s was %s, and came back as nothing", at, shown(a.MapIndex(key)))
		}
		if d := differ(at, a.MapIndex(key), b.MapIndex(key)); d != "" {
			return d
		}
	}
	for _, key := range sortedKeys(b) {
		if !a.MapIndex(key).IsValid() {
			return fmt.Sprintf("%s[%q] was not there, and came back as %s", path, fmt.Sprint(key), shown(b.MapIndex(key)))
		}
	}
	return ""
}

// sortedKeys has a difference be the same one in each run.
func sortedKeys(m reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(m.MapKeys()), func(a, b reflect.Value) int {
		return slices.Compare([]byte(fmt.Sprint(a)), []byte(fmt.Sprint(b)))
	})
}

func orWhole(path string) string {
	if path == "" {
		return "the value"
	}
	return path
}

// shown is a value in short. A map that is nil is told from an empty one.
func shown(v reflect.Value) string {
	if !v.IsValid() {
		return "nil"
	}
	if v.Kind() == reflect.Interface {
		return shown(v.Elem())
	}
	if v.Kind() == reflect.Map && v.IsNil() {
		return "nil"
	}
	if v.CanInterface() {
		if at, ok := v.Interface().(time.Time); ok {
			return at.Format(time.RFC3339Nano)
		}
	}
	return fmt.Sprintf("%.200q", fmt.Sprintf("%v", v))
}
