package tracbus

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tracbus/tracbus/internal/tracini"
	"github.com/tracbus/tracbus/internal/value"
)

// TracTickets is the realm "ticket" of a journal, with Trac's own tables ticket,
// ticket_custom and ticket_change: a Trac on the same database shows what
// [TicketEdit], [TicketCommentEdit] and [TicketChangeDelete] write. The tables
// are those of Trac 1.0 to 1.6; where these differ in what they write, it is
// done as in 1.4 and 1.6.
//
// What Trac itself writes does not reach the journal.
//
// A ticket's values are what Trac's own listeners find in it: its built-in
// fields as strings, "" where the database has NULL; time and changetime; and
// the custom fields, those of type time as a time or nil. A custom field that
// was defined after the ticket was made, so that the ticket has no row for it,
// has its default, or is missing where it has none. (Trac leaves out built-in
// fields whose list of options is empty, such as severity in a new Trac.)
type TracTickets struct {
	// Fields are the custom fields, as [LoadConfig] reads them. None means that
	// there are only Trac's built-in ones.
	Fields []CustomField
}

// Realm implements [JournalRealm].
func (TracTickets) Realm() Realm { return RealmTicket }

// ticketField is a field as the tables hold it.
type ticketField struct {
	name     string
	custom   bool // a row of ticket_custom, not a column of ticket
	time     bool
	textarea bool
	initial  any // of a custom field; nil means none
}

// ticketColumns are the columns of the table ticket that are fields, but for
// time and changetime, which only tell of changes.
func ticketColumns() []string {
	return []string{
		"summary", "reporter", "owner", "description", "type", "status", "priority",
		"milestone", "component", "version", "severity", "resolution", "keywords", "cc",
	}
}

// ticketFields are all fields of tickets that can be set, by name.
type ticketFields map[string]ticketField

// ticketFieldsOf returns the fields of the journal's realm "ticket".
func ticketFieldsOf(j *Journal) (ticketFields, error) {
	switch realm := j.realm(RealmTicket).(type) {
	case TracTickets:
		return realm.fields()
	case *TracTickets:
		return realm.fields()
	default:
		return nil, fmt.Errorf("the journal's realm %q is %T: expected TracTickets", RealmTicket, realm)
	}
}

func (t TracTickets) fields() (ticketFields, error) {
	valid := regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]+$`)
	fields := make(ticketFields, len(t.Fields)+len(ticketColumns()))
	for _, f := range t.Fields {
		if tracini.Reserved(f.Name) || !valid.MatchString(f.Name) {
			return nil, fmt.Errorf("custom field %q: expected another name, as Trac does", f.Name)
		}
		fields[f.Name] = ticketField{f.Name, true, f.Type == "time", f.Type == "textarea", f.initial()}
	}
	for _, name := range ticketColumns() { // Trac ignores a custom field of such a name
		fields[name] = ticketField{name: name, textarea: name == "description"}
	}
	return fields, nil
}

// names returns the fields in the order of their names.
func (fields ticketFields) names() []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// initial returns the default (Ticket._custom_field_default): a number may stand
// for the option at that place. Trac reads the default of a time in all forms
// that its pages take; here it is a date, with or without a time, in UTC.
func (f CustomField) initial() any {
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
		return tracTime(value)
	}
	return value
}

// take returns a value as the ticket gets it (Ticket.__setitem__ and, for cc,
// save_changes).
func (f ticketField) take(v any) (any, error) {
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
			return tracCC(value.Text(v)), nil
		case f.textarea:
			return value.Text(v), nil
		}
		return strings.TrimFunc(value.Text(v), tracSpace), nil
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
func (f ticketField) stored(v any) any {
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
func (f ticketField) read(stored string) any {
	if f.time {
		return tracTime(stored)
	}
	return stored
}

// tracTime reads the time of a custom field (_db_str_to_datetime): microseconds,
// or what people wrote before the field was a time. nil means that it is none.
func tracTime(s string) any {
	s = strings.TrimFunc(s, tracSpace)
	t, err := time.Time{}, error(nil)
	if us, notNumber := strconv.ParseInt(s, 10, 64); notNumber == nil {
		t = time.UnixMicro(us).UTC()
	} else {
		for _, form := range []string{
			time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
		} {
			if t, err = time.Parse(form, s); err == nil {
				break
			}
		}
	}
	if err != nil || value.CheckTime(t) != nil {
		return nil
	}
	return t.UTC().Truncate(time.Microsecond)
}

// tracCC separates by a comma what was separated in any way, and drops what
// comes twice (_fixup_cc_list).
func tracCC(s string) string {
	var list []string
	for _, cc := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || tracSpace(r) }) {
		if !slices.Contains(list, cc) {
			list = append(list, cc)
		}
	}
	return strings.Join(list, ", ")
}

// tracSpace says what Python strips: Unicode's spaces and four separators.
func tracSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1C && r <= 0x1F }

// LoadTicket returns the values of a ticket, as [TracTickets] says, from the
// snapshot that a [LoadListener] was given. The error wraps [ErrNotFound] where
// there is no such ticket.
func LoadTicket(ctx context.Context, s *Snapshot, id int64) (Fields, error) {
	fields, err := ticketFieldsOf(s.journal)
	if err != nil {
		return nil, fmt.Errorf("ticket %d: %w", id, err)
	}
	t, err := readTicket(ctx, s, fields, id, "")
	if err != nil {
		return nil, fmt.Errorf("ticket %d: %w", id, err)
	}
	return t.values, nil
}
