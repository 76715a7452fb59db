package tracbus

import (
	"fmt"
	"maps"
	"time"
	"unicode/utf8"

	"github.com/tracbus/tracbus/internal/value"
)

// Fields holds the values of a ticket by the names of their fields. A value is
// nil (null), a string, a bool, a [json.Number] or a [time.Time]. When an event
// enters a bus, its values are normalised, so that every listener gets the same:
// Go's other integers and floats become a json.Number, times lose nanoseconds
// and the monotonic clock, and bytes that are not UTF-8 become U+FFFD. Every
// other type is refused with an error that names the field.
//
// Trac itself keeps null, string and time only, as [ticket-custom] in trac.ini
// says which. A message carries JSON's types, so a time comes back as the string
// that was sent; see [Fields.Time].
type Fields map[string]any

// Text returns a field's string, or "" where there is none.
func (f Fields) Text(name string) string {
	s, _ := f[name].(string)
	return s
}

// Time returns a field's time, also where it is a string in the form that
// messages have. It reports false where the field holds no time.
func (f Fields) Time(name string) (time.Time, bool) {
	switch v := f[name].(type) {
	case time.Time:
		return v, true
	case string:
		t, err := value.ParseTime(v)
		return t, err == nil
	}
	return time.Time{}, false
}

// entering returns a normalised copy of f, which is nil where f is.
func (f Fields) entering() (Fields, error) {
	if f == nil {
		return nil, nil
	}
	g := maps.Clone(f) // much faster than to add one by one; few values change
	for name, v := range f {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("field %q: expected a name in UTF-8", name)
		}
		n, changed, err := value.Normalize(v)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", name, err)
		}
		if changed {
			g[name] = n
		}
	}
	return g, nil
}
