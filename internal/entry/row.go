package entry

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// The types of values in <realm>_history, and of a time in a state document.
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
		Time: e.Time.UnixMicro(), Author: e.Author, IPNR: e.IPNR, Authenticated: e.Authenticated, Comment: e.Comment,
		Attrs: int64(e.Null) | int64(e.Absent)<<16 | shape(e)<<32,
	}
	state, err := appendState(nil, e.State)
	if err != nil {
		return row, err
	}
	row.State = string(state)
	for name := range e.union() {
		f := store.Field{Name: name}
		if v, ok := e.Old[name]; ok {
			f.Old = columnOf(v)
		}
		if v, ok := e.New[name]; ok {
			f.New = columnOf(v)
		}
		row.Fields = append(row.Fields, f)
	}
	return row, nil
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
	shape := row.Attrs >> 32
	e := Entry{
		Resource: Resource{row.Realm, row.ID}, Kind: row.Kind,
		TID: row.TID, Seq: row.Seq, CommitID: row.CommitID, Time: time.UnixMicro(row.Time).UTC(),
		Author: row.Author, IPNR: row.IPNR, Authenticated: row.Authenticated, Comment: row.Comment,
		Null: wire.Attrs(row.Attrs & 0xFFFF), Absent: wire.Attrs(row.Attrs >> 16 & 0xFFFF),
		New: fieldsFor(shape, 1, len(row.Fields)), Old: fieldsFor(shape, 2, len(row.Fields)),
	}
	if e.Null.Has(wire.Time) && row.Time == (time.Time{}).UnixMicro() {
		e.Time = time.Time{}
	}
	var err error
	if e.State, err = parseState(row.State, shape); err != nil {
		return e, fmt.Errorf("state: %w", err)
	}
	for _, f := range row.Fields {
		for _, side := range []struct {
			value  store.Value
			fields Fields
		}{{f.Old, e.Old}, {f.New, e.New}} {
			if !side.value.Type.Valid {
				continue
			}
			v, err := valueOf(side.value.Type.String, side.value.Text.String)
			if err != nil {
				return e, fmt.Errorf("field %q: %w", f.Name, err)
			}
			if side.fields == nil {
				return e, fmt.Errorf("field %q: a value, but the entry has none", f.Name)
			}
			side.fields[f.Name] = v
		}
	}
	return e, nil
}

// columnOf returns a normalised value as text, with its type.
func columnOf(v any) store.Value {
	column := func(kind, text string) store.Value {
		return store.Value{Type: sql.NullString{String: kind, Valid: true}, Text: sql.NullString{String: text, Valid: true}}
	}
	switch v := v.(type) {
	case string:
		return column(textType, v)
	case bool:
		return column(boolType, strconv.FormatBool(v))
	case json.Number:
		return column(numberType, string(v))
	case time.Time:
		return column(timeType, strconv.FormatInt(v.UnixMicro(), 10))
	}
	return store.Value{Type: sql.NullString{String: nullType, Valid: true}}
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

func parseState(s string, shape int64) (Fields, error) {
	var few [32]value.Member
	members, err := value.ParseObject(few[:0], s)
	if err != nil {
		return nil, err
	}
	f := fieldsFor(shape, 0, len(members))
	if f == nil && len(members) > 0 {
		return nil, errors.New("values, but the entry has none")
	}
	for _, m := range members {
		v, err := stateValue(m)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", m.Name, err)
		}
		f[m.Name] = v
	}
	return f, nil
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
