package tracbus

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tracbus/tracbus/internal/wire"
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
		t, err := wire.ParseTime(v)
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
		n, changed, err := normal(v)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", name, err)
		}
		if changed {
			g[name] = n
		}
	}
	return g, nil
}

// normal returns v as every listener is told it, and whether that is another
// value. One that stays what it is costs nothing.
func normal(v any) (_ any, changed bool, err error) {
	switch v := v.(type) {
	case nil, bool:
		return nil, false, nil
	case string:
		if utf8.ValidString(v) {
			return nil, false, nil
		}
	case time.Time:
		if v.Truncate(time.Microsecond) == v {
			return nil, false, checkTime(v)
		}
	}
	n, err := normalised(v)
	return n, true, err
}

func normalised(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return text(v), nil
	case time.Time:
		return enteringTime(v)
	case json.Number:
		return number(string(v))
	case int:
		return integer(int64(v)), nil
	case int64:
		return integer(v), nil
	case int32:
		return integer(int64(v)), nil
	case int16:
		return integer(int64(v)), nil
	case int8:
		return integer(int64(v)), nil
	case uint:
		return json.Number(strconv.FormatUint(uint64(v), 10)), nil
	case uint64:
		return json.Number(strconv.FormatUint(v, 10)), nil
	case uint32:
		return integer(int64(v)), nil
	case uint16:
		return integer(int64(v)), nil
	case uint8:
		return integer(int64(v)), nil
	case float64:
		return float(v, 64)
	case float32:
		return float(float64(v), 32)
	}
	return nil, fmt.Errorf("value of type %T: expected nil, string, bool, number or time.Time", v)
}

// enteringTime drops what no database and no message keeps: nanoseconds and the
// monotonic clock. The offset stays, for the wire shows it.
func enteringTime(t time.Time) (time.Time, error) {
	return t.Truncate(time.Microsecond), checkTime(t)
}

// checkTime refuses what Trac's Python cannot read.
func checkTime(t time.Time) error {
	if y := t.Year(); y < 1 || y > 9999 {
		return fmt.Errorf("time in year %d: expected a year from 1 to 9999", y)
	}
	if _, s := t.Zone(); s <= -86400 || s >= 86400 {
		return fmt.Errorf("time with an offset of %v: expected less than a day", time.Duration(s)*time.Second)
	}
	return nil
}

func integer(n int64) any { return json.Number(strconv.FormatInt(n, 10)) }

func float(f float64, bits int) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("number %v: expected a finite one", f)
	}
	return json.Number(wire.AppendFloat(nil, f, bits)), nil
}

func number(s string) (any, error) {
	if !wire.IsNumber(s) {
		return nil, fmt.Errorf("number %.60q: expected decimal digits as JSON writes them", s)
	}
	return json.Number(s), nil
}

// appendFields appends f's members in the order of their names, so that one
// event always makes one payload. except names a member to leave out.
func appendFields(dst []byte, f Fields, except string) ([]byte, error) {
	type field struct {
		name  string
		value any
	}
	var few [32]field // most tickets have fewer: then this needs no heap
	fields := few[:0]
	for name, value := range f {
		if name != except {
			fields = append(fields, field{name, value})
		}
	}
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	for _, f := range fields {
		var err error
		dst = wire.AppendKey(dst, f.name)
		if dst, err = appendValue(dst, f.value); err != nil {
			return dst, fmt.Errorf("field %q: %w", f.name, err)
		}
	}
	return dst, nil
}

func appendValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case string:
		return wire.AppendString(dst, v), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case json.Number:
		if wire.IsNumber(string(v)) {
			return append(dst, v...), nil
		}
	case time.Time:
		if checkTime(v) == nil {
			return wire.AppendTime(dst, v), nil
		}
	}
	// An event that did not come through a bus, which normalises.
	n, err := normalised(v)
	if err != nil {
		return dst, err
	}
	return appendValue(dst, n)
}

// fieldOf returns the value of a decoded member.
func fieldOf(m wire.Member) (any, error) {
	switch m.Kind {
	case wire.Null:
		return nil, nil
	case wire.String:
		return m.Text, nil
	case wire.Bool:
		return m.Text == "true", nil
	case wire.Number:
		return json.Number(m.Text), nil
	}
	return nil, fmt.Errorf("member %.60q: expected null, string, bool or number, found %.60q", m.Name, m.Text)
}

// fieldsOf returns decoded members as fields, but for the one called except.
func fieldsOf(members []wire.Member, except string) (Fields, error) {
	f := make(Fields, len(members))
	for _, m := range members {
		if m.Name == except {
			continue
		}
		v, err := fieldOf(m)
		if err != nil {
			return nil, err
		}
		f[m.Name] = v
	}
	return f, nil
}
