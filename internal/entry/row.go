package entry

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/tracecontext"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// A document is {"changed": [[field, old type, old value, new type, new value], …],
// "trace": text, "state": {field: value, …}}, of which trace is absent if there is none. What changed is written as text with its type, which is null
// where there was no such field: so SQL reads it exactly, see the views in package store.

// The types of values that changed, and of a time in the state.
const (
	nullType   = "null"
	textType   = "text"
	boolType   = "bool"
	numberType = "number"
	timeType   = "time" // microseconds since 1970, UTC
)

// Row returns an entry as the journal's tables hold it. Its values have been
// normalised.
func Row(e Entry) (store.Change, error) {
	row := store.Change{
		Realm: e.Resource.Realm, ID: e.Resource.ID, Kind: e.Kind,
		Time: e.Time.UnixMicro(), Author: e.Author, IPNR: e.IPNR, Authenticated: e.Authenticated, Env: e.Env, Comment: e.Comment,
		Attrs: int64(e.Null) | int64(e.Absent)<<16 | shape(e)<<32,
	}
	b := append(make([]byte, 0, 512), `{"changed":[`...)
	for name := range e.union() {
		if b[len(b)-1] != '[' {
			b = append(b, ',')
		}
		b = value.AppendString(append(b, '['), name)
		b = appendTyped(b, e.Old, name)
		b = append(appendTyped(b, e.New, name), ']')
	}
	b = append(b, ']')
	if text := e.Trace.Text(); text != "" {
		b = value.AppendString(append(b, `,"trace":`...), text)
	}
	b, err := appendState(append(b, `,"state":`...), e.State)
	row.Document = string(append(b, '}'))
	return row, err
}

// appendTyped appends the type and the text of a normalised value, if there is one.
func appendTyped(b []byte, f Fields, name string) []byte {
	v, ok := f[name]
	if !ok {
		return append(b, ",null,null"...)
	}
	kind, text := typed(v)
	b = append(append(append(b, `,"`...), kind...), `",`...)
	if kind == nullType {
		return append(b, "null"...)
	}
	return value.AppendString(b, text)
}

// union yields each field that changed, once.
func (e Entry) union() func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name := range e.New {
			if !yield(name) {
				return
			}
		}
		for name := range e.Old {
			if _, both := e.New[name]; !both && !yield(name) {
				return
			}
		}
	}
}

// shape says which of an entry's maps are nil, and not only empty.
func shape(e Entry) int64 {
	n := int64(0)
	for i, f := range []Fields{e.State, e.New, e.Old} {
		if f == nil {
			n |= 1 << i
		}
	}
	return n
}

// fieldsFor returns an empty map, or nil if the shape says so.
func fieldsFor(shape int64, i, size int) Fields {
	if shape&(1<<i) != 0 {
		return nil
	}
	return make(Fields, size)
}

// FromRow returns the entry that rows hold.
func FromRow(row store.Change) (Entry, error) {
	if row.Damage != nil {
		return Entry{}, row.Damage
	}
	if row.Env != "" {
		if err := wire.CheckEnv(row.Env); err != nil {
			return Entry{}, err
		}
	}
	var few [8]value.Changed
	var fewer [32]value.Member
	changed, state, trace, err := value.ParseDocument(few[:0], fewer[:0], row.Document)
	if err != nil {
		return Entry{}, fmt.Errorf("document: %w", err)
	}
	shape := row.Attrs >> 32
	e := Entry{
		Resource: Resource{row.Realm, row.ID}, Kind: row.Kind,
		TID: row.TID, Seq: row.Seq, CommitID: row.CommitID, Time: time.UnixMicro(row.Time).UTC(),
		Author: row.Author, IPNR: row.IPNR, Authenticated: row.Authenticated, Env: row.Env, Comment: row.Comment,
		Null: wire.Attrs(row.Attrs & 0xFFFF), Absent: wire.Attrs(row.Attrs >> 16 & 0xFFFF), Trace: tracecontext.Parse(trace),
		State: fieldsFor(shape, 0, len(state)), New: fieldsFor(shape, 1, len(changed)), Old: fieldsFor(shape, 2, len(changed)),
	}
	if e.Null.Has(wire.Time) && row.Time == (time.Time{}).UnixMicro() {
		e.Time = time.Time{}
	}
	for _, m := range state {
		if err := set(e.State, m.Name, func() (any, error) { return stateValue(m) }); err != nil {
			return e, err
		}
	}
	for _, c := range changed {
		if c.OldType != "" {
			if err := set(e.Old, c.Name, func() (any, error) { return valueOf(c.OldType, c.OldText) }); err != nil {
				return e, err
			}
		}
		if c.NewType != "" {
			if err := set(e.New, c.Name, func() (any, error) { return valueOf(c.NewType, c.NewText) }); err != nil {
				return e, err
			}
		}
	}
	return e, nil
}

// set sets a field, of an entry that has such ones.
func set(f Fields, name string, read func() (any, error)) error {
	v, err := read()
	if err == nil && f == nil {
		err = errors.New("a value, but the entry has none")
	}
	if err != nil {
		return fmt.Errorf("field %q: %w", name, err)
	}
	f[name] = v
	return nil
}

// typed returns the type and the text of a normalised value.
func typed(v any) (kind, text string) {
	switch v := v.(type) {
	case string:
		return textType, v
	case bool:
		return boolType, strconv.FormatBool(v)
	case json.Number:
		return numberType, string(v)
	case time.Time:
		return timeType, strconv.FormatInt(v.UnixMicro(), 10)
	}
	return nullType, ""
}

func valueOf(kind, text string) (any, error) {
	switch kind {
	case nullType:
		return nil, nil
	case textType:
		return text, nil
	case boolType:
		if b, err := strconv.ParseBool(text); err == nil {
			return b, nil
		}
	case numberType:
		if value.IsNumber(text) {
			return json.Number(text), nil
		}
	case timeType:
		if micros, err := strconv.ParseInt(text, 10, 64); err == nil {
			return time.UnixMicro(micros).UTC(), nil
		}
	}
	return nil, fmt.Errorf("expected a value of type %q, found %.60q", kind, text)
}

// appendState writes fields as a JSON object. JSON has all types but time, which
// becomes {"time":<microseconds>}.
func appendState(dst []byte, f Fields) ([]byte, error) {
	dst = append(dst, '{')
	for name, v := range f {
		dst = value.AppendKey(dst, name)
		if t, ok := v.(time.Time); ok {
			dst = append(dst, `{"time":`...)
			dst = strconv.AppendInt(dst, t.UnixMicro(), 10)
			dst = append(dst, '}')
			continue
		}
		var err error
		if dst, err = value.Append(dst, v); err != nil {
			return nil, fmt.Errorf("field %q: %w", name, err)
		}
	}
	return append(dst, '}'), nil
}

func stateValue(m value.Member) (any, error) {
	if m.Kind != value.Composite {
		return value.Of(m)
	}
	micros, isTime := strings.CutPrefix(m.Text, `{"time":`)
	if micros, closed := strings.CutSuffix(micros, "}"); isTime && closed {
		return valueOf(timeType, micros)
	}
	return nil, fmt.Errorf("expected a value, found %.60q", m.Text)
}
