package tracini

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// A TicketField is a custom field of tickets, as [ticket-custom] defines it; the
// root package says what each member means.
type TicketField struct {
	Name    string
	Type    string
	Label   string
	Default string
	Options []string
	Format  string
	Order   int
}

// fieldName is what Trac accepts as a name in trac.ini, in which names are in lower
// case.
var fieldName = regexp.MustCompile(`^[a-z][a-z0-9_]+$`)

// TicketFields does what Trac's get_custom_fields does, and warns of what Trac
// leaves out.
func (s *Section) TicketFields() []TicketField {
	var fields []TicketField
	for name := range s.Options() {
		if strings.Contains(name, ".") {
			continue
		}
		f := s.ticketField(name)
		switch {
		case (f.Type == "select" || f.Type == "radio") && s.String(name+".options") == "":
			s.warn(name, "has no options, so there is no such field")
		case Reserved(name):
			s.warn(name, "is a name Trac keeps for itself, so there is no such field")
		case !fieldName.MatchString(name):
			s.warn(name, "is not a name for a field (letters, digits and _, two at least, a letter first), so there is none")
		default:
			fields = append(fields, f)
		}
	}
	slices.SortFunc(fields, func(a, b TicketField) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Name, b.Name))
	})
	return fields
}

func (s *Section) ticketField(name string) TicketField {
	f := TicketField{
		Name:    name,
		Type:    s.String(name),
		Label:   s.String(name + ".label"),
		Default: s.String(name + ".value"),
		Order:   s.Int(name+".order", 0),
	}
	if f.Label == "" {
		f.Label = strings.TrimSpace(strings.ReplaceAll(name, "_", " "))
		f.Label = strings.ToUpper(f.Label[:min(1, len(f.Label))]) + f.Label[min(1, len(f.Label)):]
	}
	switch f.Type {
	case "select", "radio":
		f.Options = slices.DeleteFunc(List(s.String(name+".options"), "|"), func(o string) bool { return o == "" })
	case "checkbox":
		on, _, err := Bool(f.Default)
		if err != nil {
			s.Fail(name+".value", "enabled or disabled, without "+err.Error())
		}
		f.Default = map[bool]string{false: "0", true: "1"}[on]
	case "text", "textarea":
		f.Format = s.StringOr(name+".format", "plain")
	case "time":
		f.Format = s.StringOr(name+".format", "datetime")
	default:
		s.warn(name, "is of a type that Trac does not know (text, checkbox, select, radio, textarea, time)")
	}
	return f
}
