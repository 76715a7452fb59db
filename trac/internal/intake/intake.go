// Package intake makes events of what others did to Trac's tables: package foreign finds out what
// that was. Its secret is how a row of each table becomes what an event says.
package intake

import (
	"context"
	"database/sql"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/capture"
	"github.com/tracbus/tracbus/internal/foreign"
	"github.com/tracbus/tracbus/trac/realms"
)

// Source reads Trac's tables, in the words of package sqltext.
type Source interface {
	ReadAll(ctx context.Context, some ...Read) error
}

// Read is a SELECT, and what is done with each of its rows.
type Read struct {
	Text string
	Args []any
	Scan func(rows *sql.Rows) error
}

// Fields says what the fields of tickets are.
type Fields interface {
	// Columns are those in the table ticket.
	Columns() []string
	// Custom yields the custom fields, with what one has without a row; nil: nothing.
	Custom(yield func(name string, initial any) bool)
	// Value returns what the tables hold as a value of a ticket.
	Value(name, stored string) any
}

// yieldFunc gets an event, or nil if rows say nothing, and their numbers.
type yieldFunc = func(e tracbus.Event, rows []int64) error

// Events yields what rows say, which are all that wait for one resource, and for those that it was
// moved from or to.
func Events(ctx context.Context, from Source, fields Fields, rows []capture.Row, yield yieldFunc) error {
	switch rows[0].Code {
	case foreign.TicketTable, foreign.CustomTable, foreign.HistoryTable:
		return ticketEvents(ctx, from, fields, rows, yield)
	case foreign.PageTable:
		return pageEvents(ctx, from, rows, yield)
	}
	return recordEvents(ctx, from, rows, yield)
}

// The letters of the tables in the inbox, beside those of package foreign.
const (
	milestoneTable  = "m"
	componentTable  = "p"
	versionTable    = "v"
	attachmentTable = "a"
)

// Tables says how Trac's tables are captured. columns are the fields in the table ticket.
func Tables(columns []string) []capture.Table {
	numbers := []string{"id", "time", "changetime", "ticket", "version", "readonly", "due", "completed", "size"}
	tables := []capture.Table{
		{Name: "ticket", Code: foreign.TicketTable, ID: []string{"id"}, At: "changetime", Values: slices.Concat(columns, []string{"time", "changetime"}), OneByOne: true, Locked: true},
		{Name: "ticket_custom", Code: foreign.CustomTable, ID: []string{"ticket"}, Field: "name", New: "value"},
		{
			Name: "ticket_change", Code: foreign.HistoryTable, ID: []string{"ticket"}, At: "time", Field: "field", Author: "author", Old: "oldvalue", New: "newvalue",
			Only: `ROW.field = 'comment' OR substr(ROW.field, 1, 8) = '_comment'`,
		},
		{Name: "wiki", Realm: string(tracbus.RealmWiki), Code: foreign.PageTable, ID: []string{"name"}, At: "version", Values: foreign.PageColumns()},
		{Name: "milestone", Realm: string(realms.RealmMilestone), Code: milestoneTable, ID: []string{"name"}, Values: []string{"due", "completed", "description"}, Locked: true},
		{Name: "component", Realm: string(realms.RealmComponent), Code: componentTable, ID: []string{"name"}, Values: []string{"owner", "description"}, Locked: true},
		{Name: "version", Realm: string(realms.RealmVersion), Code: versionTable, ID: []string{"name"}, Values: []string{"time", "description"}, Locked: true},
		{
			Name: "attachment", Realm: string(realms.RealmAttachment), Code: attachmentTable, ID: []string{"type", "id", "filename"},
			Values: []string{"size", "time", "description", "author"},
		},
	}
	for i := range tables {
		t := &tables[i]
		if t.Realm == "" {
			t.Realm = string(tracbus.RealmTicket)
		}
		t.Numbers = numbers
		if t.Code == attachmentTable { // whose id is a text
			t.Numbers = numbers[1:]
		}
	}
	return tables
}

// change returns what is known of who made a step, and when. micros is the time that the tables
// have of it, 0 for none.
func change(s foreign.Step, micros int64) tracbus.Change {
	c := tracbus.Change{Time: s.Stamp, Absent: tracbus.AttrAddress}
	if t := time.UnixMicro(micros).UTC(); micros != 0 && t.Year() >= 1 && t.Year() <= 9999 {
		c.Time = t
	}
	switch {
	case !s.Known:
		c.Absent |= tracbus.AttrActor
		c.Null |= tracbus.AttrAuthor
	case s.Who == nil:
		c.Null |= tracbus.AttrAuthor
	default:
		c.Author = *s.Who
	}
	return c
}

// scanCells reads columns as texts, after what else a row begins with.
func scanCells(rows *sql.Rows, columns []string, into foreign.Cells, first ...any) error {
	values := make([]*string, len(columns))
	targets := first
	for i := range values {
		targets = append(targets, &values[i])
	}
	err := rows.Scan(targets...)
	for i, name := range columns {
		into[name] = values[i]
	}
	return err
}

func quoted(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }

// marks returns marks for so many values, in brackets.
func marks(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

// some yields values in parts that one statement can have.
func some(values []any) iter.Seq[[]any] { return slices.Chunk(values, 500) }
