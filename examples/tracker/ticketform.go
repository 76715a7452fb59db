package main

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
)

// ticketField is a field of tickets as the forms show it.
type ticketField struct {
	Name, Label string
	Options     []string // none: any text
	Long        bool     // several lines
}

// ticketFields are the fields that can be changed, in the order of the forms.
func ticketFields() []ticketField {
	return []ticketField{
		{Name: "summary", Label: "Summary"},
		{Name: "description", Label: "Description", Long: true},
		{Name: "type", Label: "Type", Options: []string{"defect", "enhancement", "task"}},
		{Name: "priority", Label: "Priority", Options: []string{"blocker", "critical", "major", "minor", "trivial"}},
		{Name: "status", Label: "Status", Options: []string{"new", "assigned", "accepted", "reopened", "closed"}},
		{Name: "resolution", Label: "Resolution", Options: []string{"", "fixed", "invalid", "wontfix", "duplicate", "worksforme"}},
		{Name: "milestone", Label: "Milestone"},
		{Name: "component", Label: "Component"},
		{Name: "version", Label: "Version"},
		{Name: "owner", Label: "Owner"},
		{Name: "cc", Label: "Cc"},
		{Name: "keywords", Label: "Keywords"},
	}
}

// fieldOf returns the field with a name, or one without.
func fieldOf(name string) ticketField {
	for _, f := range ticketFields() {
		if f.Name == name {
			return f
		}
	}
	return ticketField{}
}

// read returns a text as the field has it.
func (f ticketField) read(text string) string {
	if f.Long {
		return strings.TrimSpace(text)
	}
	return oneLine(text)
}

// batchFields are those that several tickets may get at once.
func batchFields() []ticketField {
	return slices.DeleteFunc(ticketFields(), func(f ticketField) bool {
		return f.Name == "summary" || f.Long
	})
}

// Choices returns the options, and a value that is none of them: whoever keeps it
// should be able to.
func (f ticketField) Choices(value string) []string {
	if slices.Contains(f.Options, value) {
		return f.Options
	}
	return append([]string{value}, f.Options...)
}

// ticketForm is a form with a ticket: what stands in it, and what it had shown.
type ticketForm struct {
	Values  map[string]string // by the names of fields
	Was     map[string]string
	Comment string
	Author  string
	Base    string // changetime of the ticket that it showed
}

// Fields are those of the form.
func (ticketForm) Fields() []ticketField { return ticketFields() }

func formOf(t *ticket) ticketForm {
	return ticketForm{Values: t.Values, Was: t.Values, Base: microseconds(t.Changed)}
}

// newTicket is what a form for a new ticket shows.
func newTicket() *ticket {
	return &ticket{Values: map[string]string{"type": "defect", "priority": "major", "status": "new"}}
}

func readForm(r *http.Request) ticketForm {
	f := ticketForm{
		Values: map[string]string{}, Was: map[string]string{}, Base: r.PostFormValue("base"),
		Comment: strings.TrimSpace(r.PostFormValue("comment")), Author: r.PostFormValue("author"),
	}
	for _, field := range ticketFields() {
		if r.PostForm.Has(field.Name) {
			f.Values[field.Name] = field.read(r.PostFormValue(field.Name))
			f.Was[field.Name] = field.read(r.PostFormValue("was-" + field.Name))
		}
	}
	return f
}

// values returns all that stands in the form.
func (f ticketForm) values() tracbus.Fields {
	set := tracbus.Fields{}
	for name, value := range f.Values {
		set[name] = value
	}
	return set
}

// changes returns what differs from what the form had shown.
func (f ticketForm) changes() tracbus.Fields {
	set := tracbus.Fields{}
	for name, value := range f.Values {
		if value != f.Was[name] {
			set[name] = value
		}
	}
	closing(set, f.Values["resolution"])
	return set
}

// closing adds that a ticket which is closed has a resolution, and one that is
// opened again has none. resolution is the one it has, where set has none.
func closing(set tracbus.Fields, resolution string) {
	switch status, changed := set["status"]; {
	case !changed:
	case status != "closed":
		set["resolution"] = ""
	case set["resolution"] == "" || set["resolution"] == nil && resolution == "":
		set["resolution"] = "fixed"
	}
}

// base returns the changetime of the ticket that the form showed. A form without
// one was made by no page of this site: it is a conflict with any ticket.
func (f ticketForm) base() time.Time {
	us, err := strconv.ParseInt(f.Base, 10, 64)
	if err != nil {
		us = 1
	}
	return time.UnixMicro(us)
}

// onto lays what was changed in a form over one that shows the ticket as it is now.
func (f ticketForm) onto(now ticketForm) ticketForm {
	values := maps.Clone(now.Values)
	for name, value := range f.Values {
		if value != f.Was[name] {
			values[name] = value
		}
	}
	now.Values, now.Comment, now.Author = values, f.Comment, f.Author
	return now
}
