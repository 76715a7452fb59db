// Package value knows what a field may hold, and how each value is written as
// JSON: as the original plugin writes it (Trac's to_json over Python's
// datetime.isoformat). It knows nothing of tickets and pages.
//
// A value is nil, a string, a bool, a [json.Number] or a [time.Time].
package value

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
)

// Text returns s as valid UTF-8: a run of other bytes becomes one U+FFFD, for
// neither JSON nor most databases could keep it.
func Text(s string) string {
	if valid(s) { // much faster, and so it is nearly always
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// valid is [utf8.ValidString], and faster for short ASCII, which most names and values
// are.
func valid(s string) bool {
	const highs = 0x8080808080808080
	n := len(s)
	if n >= 8 && n <= 16 {
		return (load(s)|load(s[n-8:]))&highs == 0 || utf8.ValidString(s)
	}
	if n < 8 {
		var all byte
		for i := range n {
			all |= s[i]
		}
		return all < utf8.RuneSelf || utf8.ValidString(s)
	}
	return utf8.ValidString(s)
}

// Equal says whether a journal gives back the one for the other.
func Equal(a, b any) bool {
	s, ok1 := a.(time.Time)
	t, ok2 := b.(time.Time)
	if ok1 && ok2 {
		return s.Equal(t)
	}
	return a == b
}

// Normalize returns v as every listener gets it, and whether that is another
// value. One that stays what it is costs nothing.
func Normalize(v any) (_ any, changed bool, err error) {
	switch v := v.(type) {
	case nil, bool:
		return nil, false, nil
	case string:
		if utf8.ValidString(v) {
			return nil, false, nil
		}
	case time.Time:
		if v.Round(0) == v && v.Nanosecond()%1000 == 0 { // Round drops the monotonic clock
			return nil, false, CheckTime(v)
		}
	}
	n, err := normalised(v)
	return n, true, err
}

// NormalizeFields returns f if its values are normalised, and otherwise a copy in which
// they are: others may be reading f.
func NormalizeFields(f map[string]any) (map[string]any, error) {
	g, shared := f, true
	for name, v := range f {
		if !valid(name) {
			return nil, fmt.Errorf("field %.60q: expected a name in UTF-8", name)
		}
		if s, ok := v.(string); ok && valid(s) {
			continue // most are
		}
		n, changed, err := Normalize(v)
		if err != nil {
			return nil, fmt.Errorf("field %.60q: %w", name, err)
		}
		if changed {
			if shared {
				g, shared = maps.Clone(f), false
			}
			g[name] = n
		}
	}
	return g, nil
}

// UTC is NormalizeFields for fields that are normalised, and whose times are to be in UTC, as a
// journal gives them back.
func UTC(f map[string]any) (map[string]any, error) {
	g, shared := f, true
	for name, v := range f {
		t, ok := v.(time.Time)
		if !ok || t.Location() == time.UTC {
			continue
		}
		if err := CheckTime(t.UTC()); err != nil {
			return nil, fmt.Errorf("field %.60q: %w", name, err)
		}
		if shared {
			g, shared = maps.Clone(f), false
		}
		g[name] = t.UTC()
	}
	return g, nil
}

func normalised(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return Text(v), nil
	case time.Time:
		return Time(v)
	case json.Number:
		return number(string(v))
	case int:
		return Int(int64(v)), nil
	case int64:
		return Int(v), nil
	case int32:
		return Int(int64(v)), nil
	case int16:
		return Int(int64(v)), nil
	case int8:
		return Int(int64(v)), nil
	case uint:
		return json.Number(strconv.FormatUint(uint64(v), 10)), nil
	case uint64:
		return json.Number(strconv.FormatUint(v, 10)), nil
	case uint32:
		return Int(int64(v)), nil
	case uint16:
		return Int(int64(v)), nil
	case uint8:
		return Int(int64(v)), nil
	case float64:
		return float(v, 64)
	case float32:
		return float(float64(v), 32)
	}
	return nil, fmt.Errorf("value of type %T: expected nil, string, bool, number or time.Time", v)
}

// Time drops what no database and no message keeps: nanoseconds and the
// monotonic clock. The offset stays, because the wire shows it.
func Time(t time.Time) (time.Time, error) {
	return t.Truncate(time.Microsecond), CheckTime(t)
}

// The first second of the year 1 and of the year 10,000, in UTC.
const (
	yearOne         = -62135596800
	yearTenThousand = 253402300800
)

// CheckTime refuses what Trac's Python cannot read.
func CheckTime(t time.Time) error {
	if s := t.Unix(); s >= yearOne && s < yearTenThousand && t.Location() == time.UTC {
		return nil
	}
	if y := t.Year(); y < 1 || y > 9999 {
		return fmt.Errorf("time in year %d: expected a year from 1 to 9999", y)
	}
	if _, s := t.Zone(); s <= -86400 || s >= 86400 {
		return fmt.Errorf("time with an offset of %v: expected less than a day", time.Duration(s)*time.Second)
	}
	return nil
}

func Int(n int64) any { return json.Number(strconv.FormatInt(n, 10)) }

func float(f float64, bits int) (any, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("number %v: expected a finite one", f)
	}
	return json.Number(AppendFloat(nil, f, bits)), nil
}

func number(s string) (any, error) {
	if !IsNumber(s) {
		return nil, fmt.Errorf("number %.60q: expected decimal digits as JSON writes them", s)
	}
	return json.Number(s), nil
}

// appendSorted is [Orders.AppendFields] of fields whose names come for the first time.
func appendSorted(dst []byte, f map[string]any, except string) ([]byte, error) {
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
		dst = AppendKey(dst, f.name)
		if dst, err = Append(dst, f.value); err != nil {
			return dst, fmt.Errorf("field %q: %w", f.name, err)
		}
	}
	return dst, nil
}

func Append(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case string:
		return AppendString(dst, v), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case json.Number:
		if IsNumber(string(v)) {
			return append(dst, v...), nil
		}
	case time.Time:
		if CheckTime(v) == nil {
			return AppendTime(dst, v), nil
		}
	}
	// An event that did not come through a bus, which normalises.
	n, err := normalised(v)
	if err != nil {
		return dst, err
	}
	return Append(dst, n)
}

// Of returns the value of a decoded member.
func Of(m Member) (any, error) {
	switch m.Kind {
	case Null:
		return nil, nil
	case String:
		return m.Text, nil
	case Bool:
		return m.Text == "true", nil
	case Number:
		return json.Number(m.Text), nil
	}
	return nil, fmt.Errorf("member %.60q: expected null, string, bool or number, found %.60q", m.Name, m.Text)
}

// FieldsOf returns decoded members as fields, but for the one called except.
func FieldsOf(members []Member, except string) (map[string]any, error) {
	f := make(map[string]any, len(members))
	for _, m := range members {
		if m.Name == except {
			continue
		}
		v, err := Of(m)
		if err != nil {
			return nil, err
		}
		f[m.Name] = v
	}
	return f, nil
}
