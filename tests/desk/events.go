package tracbus_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
)

// line shows an event in short: "3.0 ticket 1 changed: comment (primary)".
func line(e tracbus.Event) string {
	c := e.About()
	who := "secondary"
	if c.Primary {
		who = "primary"
	}
	return fmt.Sprintf("%d.%d %s %s: %s (%s)", c.TID, c.Seq, e.Resource(), e.Kind(), c.Comment, who)
}

func lines(events []tracbus.Event) []string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = line(e)
	}
	return all
}

// comments returns what was said of each event.
func comments(events []tracbus.Event) []string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = e.About().Comment
	}
	return all
}

var joe = tracbus.Actor{Author: "joe", IPNR: "::1", Authenticated: true}

// remark is a change of a ticket that says something.
func remark(id int64, comment string) tracbus.TicketChanged {
	return tracbus.TicketChanged{
		Change: tracbus.Change{Comment: comment}, ID: id,
		Values: tracbus.Fields{"summary": comment, "owner": "jim"}, Old: tracbus.Fields{"summary": "before " + comment},
	}
}

func page1(name string) tracbus.WikiPageCreated {
	return tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: name, Version: 1, Author: "joe", Time: time.Unix(1, 0).UTC()}}
}

// marks writes $1 for ? where the database wants that.
func marks(d tracbus.Dialect, text string) string {
	if d != tracbus.PostgreSQL {
		return text
	}
	parts := strings.Split(text, "?")
	for i := range parts[:len(parts)-1] {
		parts[i] += fmt.Sprintf("$%d", i+1)
	}
	return strings.Join(parts, "")
}
