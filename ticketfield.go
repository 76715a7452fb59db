package tracbus

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/internal/tracini"
)

// A CustomField is a custom field of tickets, as [ticket-custom] in trac.ini
// defines it (Trac's TracTicketsCustomFields).
type CustomField struct {
	// Name is the field's name in the database and in messages, in lower case.
	Name string

	// Type is text, checkbox, select, radio, textarea or time. Another one is
	// kept, as Trac keeps it, with a warning.
	Type string

	// Label is for people. Trac makes one from the name where none is set.
	Label string

	// Default is the value of a new ticket; "0" or "1" for a checkbox.
	Default string

	// Options are the values of a select or radio field, without the empty one.
	Options []string

	// Format is plain, wiki, reference or list for a text, plain or wiki for a
	// textarea, relative, date or datetime for a time. Other types have none.
	Format string

	// Order sorts fields; those of the same order are sorted by name.
	Order int
}

// readTicketFields does what Trac's get_custom_fields does, and warns of what
// Trac leaves out.
func readTicketFields(r *iniSection) []CustomField {
	valid := regexp.MustCompile(`^[a-z][a-z0-9_]+$`) // names are in lower case
	var fields []CustomField
	for name := range r.ini.Options(r.name) {
		if strings.Contains(name, ".") {
			continue
		}
		f := r.ticketField(name)
		switch {
		case (f.Type == "select" || f.Type == "radio") && r.text(name+".options") == "":
			r.warn(name, "has no options, so there is no such field")
		case tracini.Reserved(name):
			r.warn(name, "is a name Trac keeps for itself, so there is no such field")
		case !valid.MatchString(name):
			r.warn(name, "is not a name for a field (letters, digits and _, two at least, a letter first), so there is none")
		default:
			fields = append(fields, f)
		}
	}
	slices.SortFunc(fields, func(a, b CustomField) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Name, b.Name))
	})
	return fields
}

func (r *iniSection) ticketField(name string) CustomField {
	f := CustomField{
		Name:    name,
		Type:    r.text(name),
		Label:   r.text(name + ".label"),
		Default: r.text(name + ".value"),
		Order:   r.number(name+".order", 0),
	}
	if f.Label == "" {
		f.Label = strings.TrimSpace(strings.ReplaceAll(name, "_", " "))
		f.Label = strings.ToUpper(f.Label[:min(1, len(f.Label))]) + f.Label[min(1, len(f.Label)):]
	}
	switch f.Type {
	case "select", "radio":
		f.Options = slices.DeleteFunc(tracini.List(r.text(name+".options"), "|"), func(o string) bool { return o == "" })
	case "checkbox":
		on, _, err := tracini.Bool(f.Default)
		if err != nil {
			r.fail(name+".value", "enabled or disabled, without "+err.Error())
		}
		f.Default = map[bool]string{false: "0", true: "1"}[on]
	case "text", "textarea":
		f.Format = r.textOr(name+".format", "plain")
	case "time":
		f.Format = r.textOr(name+".format", "datetime")
	default:
		r.warn(name, "is of a type that Trac does not know (text, checkbox, select, radio, textarea, time)")
	}
	return f
}
