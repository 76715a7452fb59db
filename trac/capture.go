package trac

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/capture"
	"github.com/tracbus/tracbus/internal/foreign"
	"github.com/tracbus/tracbus/trac/realms"
)

// Capture has a journal take in what Trac itself writes, or a script, or somebody by hand: triggers on
// Trac's tables fill the table journal_inbox, in the transaction of whoever writes. See
// [tracbus.Capture] for what becomes of it, and docs/capture.md for what it costs and which rights it needs.
//
//	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{
//		Dialect: tracbus.PostgreSQL,
//		Realms:  []tracbus.JournalRealm{trac.Tickets{}, tracbus.Pages{}, realms.Milestones{}},
//		Capture: trac.Capture{},
//	})
//
// The events are those that Trac's own listeners are told of, with the values that Trac's models
// have then, and the old values that were in the tables. What Trac tells nobody of is told too:
// an UPDATE of tickets, as Trac itself makes one when a component or version gets another name,
// is a [tracbus.TicketChanged] of an unknown author.
type Capture struct {
	// Install makes the triggers and the inbox if one is missing, or not as this release makes it.
	// That changes Trac's database, and needs the rights of the owner of its tables. Zero means
	// that they are there already.
	Install bool
}

// The letters of the tables in the inbox, beside those of package foreign.
const (
	milestoneTable  = "m"
	componentTable  = "p"
	versionTable    = "v"
	attachmentTable = "a"
)

func captured() []capture.Table {
	numbers := []string{"id", "time", "changetime", "ticket", "version", "readonly", "due", "completed", "size"}
	tables := []capture.Table{
		{Name: "ticket", Code: foreign.TicketTable, ID: []string{"id"}, At: "changetime", Values: append(ticketColumns(), "time", "changetime"), OneByOne: true, Locked: true},
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

// Captured implements [tracbus.Capture].
func (c Capture) Captured() capture.Spec {
	return capture.Spec{Tables: captured(), Install: c.Install}
}

// CaptureSchema returns the SQL that makes the inbox and the triggers of all realms, where nothing
// of it is there, and the SQL that drops them, for applications that migrate by hand. schema is as with
// [tracbus.JournalSchema]. Statements are separated by empty lines, and have no semicolon at their end.
func CaptureSchema(dialect tracbus.Dialect, schema string) (install, uninstall string, err error) {
	install, uninstall, err = capture.Text(Capture{}.Captured(), string(dialect), schema)
	if err != nil {
		return "", "", fmt.Errorf("capture schema: %w", err)
	}
	return install, uninstall, nil
}

// ErrInboxNotEmpty is returned by [UninstallCapture] if rows of the inbox are not in a journal.
var ErrInboxNotEmpty = errors.New("the inbox has rows that are not in the journal yet")

// UninstallCapture drops the triggers, and then the inbox. If something waits in it, the inbox
// stays, and the error is [ErrInboxNotEmpty]: call it again after a journal has taken that in. The processes
// that have a journal with [Capture] have to be stopped before the inbox goes. schema is as with
// [tracbus.JournalConfig].
func UninstallCapture(ctx context.Context, db *sql.DB, dialect tracbus.Dialect, schema string) error {
	d := string(dialect)
	if _, _, err := CaptureSchema(dialect, schema); err != nil {
		return err
	}
	if schema == "" {
		var err error
		if schema, err = capture.SchemaOf(ctx, db, d); err != nil {
			return fmt.Errorf("uninstall what captures: %w", err)
		}
	}
	left, err := capture.Of(Capture{}.Captured(), d, schema, nil).Uninstall(ctx, db)
	switch {
	case err != nil:
		return fmt.Errorf("uninstall what captures: %w", err)
	case left > 0:
		return fmt.Errorf("uninstall what captures: the triggers are dropped: %w: %d", ErrInboxNotEmpty, left)
	}
	return nil
}

// Events implements [tracbus.Capture].
func (c Capture) Events(ctx context.Context, tx *tracbus.ModelTransaction, rows []capture.Row, yield func(tracbus.Event, []int64) error) error {
	switch rows[0].Code {
	case foreign.TicketTable, foreign.CustomTable, foreign.HistoryTable:
		return ticketEvents(ctx, tx, rows, yield)
	case foreign.PageTable:
		return pageEvents(ctx, tx, rows, yield)
	}
	return recordEvents(ctx, tx, rows, yield)
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
