package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
)

// Names of schemas that others refer to.
const (
	timeSchema  = "Time"
	valueSchema = "FieldValue"
)

func ref(path string) object { return object{{"$ref", "#/" + path}} }

// schema returns the JSON Schema of a payload, or of an object in one. what says which
// words describe the members.
func (s *shape) schema(what subject) (object, error) {
	o := object{{"type", "object"}}
	var required list
	properties := object{}
	for _, name := range order(s.members) {
		m := s.members[name]
		property, err := m.property(what, name, s.members["new_values"] != nil)
		if err != nil {
			return nil, err
		}
		properties = append(properties, member{name, property})
		if s.counts[name] == s.seen {
			required = append(required, name)
		}
	}
	if len(required) > 0 {
		o = append(o, member{"required", required})
	}
	if len(s.anyOf) > 0 {
		var any list
		for _, name := range s.anyOf {
			any = append(any, object{{"required", list{name}}})
		}
		o = append(o, member{"anyOf", any})
	}
	if len(properties) > 0 {
		o = append(o, member{"properties", properties})
	}
	if s.open {
		return append(o, member{"additionalProperties", ref("components/schemas/" + valueSchema)}), nil
	}
	return append(o, member{"additionalProperties", false}), nil
}

// order returns the names of members, those that are objects first, as in payloads.
func order(members map[string]*shape) []string {
	return slices.SortedFunc(maps.Keys(members), func(a, b string) int {
		if x, y := members[a].types["object"], members[b].types["object"]; x != y {
			return map[bool]int{true: -1, false: 1}[x]
		}
		return strings.Compare(a, b)
	})
}

// property returns the schema of a member. One beside new_values says something of the
// change, not of what was changed.
func (s *shape) property(what subject, name string, ofChange bool) (object, error) {
	words, err := what.describe(name, ofChange)
	if err != nil {
		return nil, err
	}
	o := object{{"description", words}}
	switch {
	case s.types["object"]:
		inner, err := s.schema(what)
		if err != nil {
			return nil, err
		}
		o = append(o, inner...)
	case s.time && s.types["null"]:
		o = append(o, member{"oneOf", list{ref("components/schemas/" + timeSchema), object{{"type", "null"}}}})
	case s.time:
		// Beside a $ref, nothing else counts.
		o = append(o, member{"allOf", list{ref("components/schemas/" + timeSchema)}})
	default:
		o = append(o, s.scalar()...)
	}
	if len(s.absent) > 0 {
		o = append(o, member{"x-absent-with", strings.Join(s.absent, ", ")})
	}
	return o, nil
}

// scalar returns the schema of what is no object and no time.
func (s *shape) scalar() (o object) {
	types := slices.SortedFunc(maps.Keys(s.types), func(a, b string) int {
		if a == "null" || b == "null" {
			return map[bool]int{true: 1, false: -1}[a == "null"]
		}
		return strings.Compare(a, b)
	})
	if len(types) == 1 {
		o = object{{"type", types[0]}}
	} else {
		var all list
		for _, t := range types {
			all = append(all, t)
		}
		o = object{{"type", all}}
	}
	switch {
	case s.flag && s.types["integer"]:
		var all list
		for _, text := range slices.Sorted(slices.Values(s.values)) {
			var v any
			_ = json.Unmarshal([]byte(text), &v) // it was marshaled
			all = append(all, v)
		}
		o = append(o, member{"enum", all})
	case s.int64:
		o = append(o, member{"format", "int64"})
	}
	if s.minimum != nil {
		o = append(o, member{"minimum", *s.minimum})
	}
	if s.minLength > 0 {
		o = append(o, member{"minLength", int64(s.minLength)})
	}
	return o
}

// timePattern is what ISO 8601 leaves after this library has chosen: see
// internal/value.AppendTime.
const timePattern = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?[+-][0-9]{2}:[0-9]{2}(:[0-9]{2})?$`

// sharedSchemas are those that payloads refer to.
func sharedSchemas() (object, error) {
	types, err := valueTypes()
	if err != nil {
		return nil, err
	}
	return object{
		{timeSchema, object{
			{"description", "A time in ISO 8601, always with an offset. A fraction has six digits, and is left out if it is zero. After its journal, a tracker sends UTC."},
			{"type", "string"},
			{"pattern", timePattern},
		}},
		{valueSchema, object{
			{"description", "A value of a field. A time is a text as in Time: the types of a stream's entry say which fields are times. A number may be larger than a double holds."},
			{"type", types},
		}},
	}, nil
}

// valueTypes returns JSON's types of all values that a field may have.
func valueTypes() (types list, err error) {
	for _, v := range []any{"text", json.Number("1.5"), true, nil, time.Unix(0, 0), []any{}, map[string]any{}} {
		payload, err := encode(tracbus.TicketDeleted{
			Change: tracbus.Change{Env: "myenv"}, ID: 1, Values: tracbus.Fields{probed: v},
		}, tracbus.PublisherConfig{})
		if t := typeOf(payload[probed]); err == nil && !slices.Contains(types, any(t)) {
			types = append(types, t)
		}
	}
	if len(types) < 2 {
		return nil, fmt.Errorf("fields have values of the types %v: expected more", types)
	}
	return types, nil
}
