package trac

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/tracini"
	"github.com/tracbus/tracbus/internal/tracvalue"
	"github.com/tracbus/tracbus/internal/value"
)

// field is a field as the tables hold it.
type field struct {
	name     string
	custom   bool // a row of ticket_custom, not a column of ticket
	time     bool
	textarea bool
	initial  any // of a custom field; nil means none
}

// ticketColumns returns the columns of the table ticket that are fields, without
// time and changetime, which say only when the ticket changed.
func ticketColumns() []string {
	return []string{
		"summary", "reporter", "owner", "description", "type", "status", "priority",
		"milestone", "component", "version", "severity", "resolution", "keywords", "cc",
	}
}

// fieldSet are all fields of tickets that can be set: Trac's columns, and the custom
// fields, by name. Each edit makes one, so it costs nothing if there are no custom
// fields, and little if there are.
type fieldSet struct{ custom []field }

// of returns the field of a name.
func (fields fieldSet) of(name string) (field, bool) {
	if slices.Contains(ticketColumns(), name) { // Trac ignores a custom field of such a name
		return field{name: name, textarea: name == "description"}, true
	}
	if i, ok := fields.place(name); ok {
		return fields.custom[i], true
	}
	return field{}, false
}

func (fields fieldSet) place(name string) (i int, found bool) {
	return slices.BinarySearchFunc(fields.custom, name, func(f field, name string) int { return strings.Compare(f.name, name) })
}

// fieldsOf returns the fields of the journal's realm "ticket".
func fieldsOf(realm tracbus.JournalRealm) (fieldSet, error) {
	switch realm := realm.(type) {
	case Tickets:
		return realm.fields()
	case *Tickets:
		return realm.fields()
	case tracbus.Tickets, *tracbus.Tickets:
		return Tickets{}.fields()
	default:
		return fieldSet{}, fmt.Errorf("the journal's realm %q is %T: expected trac.Tickets or tracbus.Tickets", tracbus.RealmTicket, realm)
	}
}

// isCustomName says whether Trac accepts a custom field's name:
// [a-zA-Z][a-zA-Z0-9_]+ and none that it uses itself.
func isCustomName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || i > 0 && ('0' <= c && c <= '9' || c == '_')) {
			return false
		}
	}
	return len(name) > 1 && !tracini.Reserved(name)
}

func (t Tickets) fields() (fieldSet, error) {
	if len(t.CustomFields) == 0 {
		return fieldSet{}, nil
	}
	fields := fieldSet{make([]field, 0, len(t.CustomFields))}
	for _, c := range t.CustomFields {
		if !isCustomName(c.Name) {
			return fieldSet{}, fmt.Errorf("custom field %q: expected another name, as Trac does", c.Name)
		}
		f := field{c.Name, true, c.Type == "time", c.Type == "textarea", initial(c)}
		if i, found := fields.place(c.Name); found {
			fields.custom[i] = f
		} else if !slices.Contains(ticketColumns(), c.Name) {
			fields.custom = slices.Insert(fields.custom, i, f)
		}
	}
	return fields, nil
}

// names returns the names of all fields, in their order.
func (fields fieldSet) names() []string {
	names := ticketColumns()
	for _, f := range fields.custom {
		names = append(names, f.name)
	}
	slices.Sort(names)
	return names
}

// initial returns the default of a custom field, nil if there is none
// (Ticket._custom_field_default): a number may mean the option at that index.
// Trac reads the default of a time in all forms that its pages accept; here it
// is a date, with or without a time, in UTC.
func initial(f tracbus.CustomField) any {
	value := f.Default
	if len(f.Options) > 0 && !slices.Contains(f.Options, value) {
		i, err := strconv.Atoi(value)
		if i < 0 {
			i += len(f.Options)
		}
		if err == nil && i >= 0 && i < len(f.Options) {
			value = f.Options[i]
		}
	}
	switch {
	case value == "":
		return nil
	case f.Type == "time":
		return tracvalue.Time(value)
	}
	return value
}

// take returns a value as the ticket gets it (Ticket.__setitem__, and for cc
// save_changes).
func (f field) take(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		if f.time {
			return nil, nil
		}
		return "", nil
	case string:
		switch {
		case f.time && v == "":
			return nil, nil
		case f.time:
			return nil, fmt.Errorf("value %.60q: expected nil or a time.Time", v)
		case f.name == "cc":
			return tracvalue.CC(value.Text(v)), nil
		case f.textarea:
			return value.Text(v), nil
		}
		return strings.TrimFunc(value.Text(v), tracvalue.IsSpace), nil
	case time.Time:
		if f.time {
			t, err := value.Time(v)
			return t.UTC(), err
		}
		return nil, fmt.Errorf("value of type time.Time: expected nil or a string")
	}
	if f.time {
		return nil, fmt.Errorf("value of type %T: expected nil or a time.Time", v)
	}
	return nil, fmt.Errorf("value of type %T: expected nil or a string", v)
}

// stored returns a value as the tables hold it (Ticket._to_db_types): an empty
// string as NULL, and a time so that texts of times sort as the times do.
func (f field) stored(v any) any {
	switch v := v.(type) {
	case string:
		if v != "" {
			return v
		}
	case time.Time:
		if us := v.UnixMicro(); us < 0 {
			return fmt.Sprintf("%+017d", us)
		}
		return fmt.Sprintf("%018d", v.UnixMicro())
	}
	return nil
}

// read returns what the tables hold as a value of the ticket. NULL and "" are
// the same to Trac.
func (f field) read(stored string) any {
	if f.time {
		return tracvalue.Time(stored)
	}
	return stored
}
