package desk

import (
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
)

// Line shows an event in short: "3.0 ticket 1 changed: comment (primary)".
func Line(e tracbus.Event) string {
	c := e.About()
	who := "secondary"
	if c.Primary {
		who = "primary"
	}
	return fmt.Sprintf("%d.%d %s %s: %s (%s)", c.TID, c.Seq, e.Resource(), e.Kind(), c.Comment, who)
}

// Lines shows each event as Line does.
func Lines(events []tracbus.Event) []string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = Line(e)
	}
	return all
}

// Comments returns the comment of each event.
func Comments(events []tracbus.Event) []string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = e.About().Comment
	}
	return all
}

// Joe is who changes what.
var Joe = tracbus.Actor{Author: "joe", IPNR: "::1", Authenticated: true}

// Remark is a change of a ticket that says something.
func Remark(id int64, comment string) tracbus.TicketChanged {
	return tracbus.TicketChanged{
		Change: tracbus.Change{Comment: comment}, ID: id,
		Values: tracbus.Fields{"summary": comment, "owner": "jim"}, Old: tracbus.Fields{"summary": "before " + comment},
	}
}

// NewPage is the first version of a page.
func NewPage(name string) tracbus.WikiPageCreated {
	return tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: name, Version: 1, Author: "joe", Time: time.Unix(1, 0).UTC()}}
}

// Marks writes $1 for ? if the database expects that.
func Marks(d tracbus.Dialect, text string) string {
	if d != tracbus.PostgreSQL {
		return text
	}
	parts := strings.Split(text, "?")
	for i := range parts[:len(parts)-1] {
		parts[i] += fmt.Sprintf("$%d", i+1)
	}
	return strings.Join(parts, "")
}
