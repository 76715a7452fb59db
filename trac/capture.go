package trac

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/capture"
	"github.com/tracbus/tracbus/trac/internal/intake"
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

	// Notify has PostgreSQL send a notification when something waits, which a process hears by
	// [tracbus.JournalConfig].Waker, if that listens to PostgreSQL. Zero means that the inbox is looked at four
	// times in a PollInterval. With it, transactions of Trac's that commit at the same time wait for each other.
	Notify bool
}

// Captured implements [tracbus.Capture].
func (c Capture) Captured() capture.Spec {
	return capture.Spec{Tables: intake.Tables(ticketColumns()), Install: c.Install, Notify: c.Notify}
}

// CaptureSchema returns the SQL that makes the inbox and the triggers of all realms, where nothing
// of it is there, and the SQL that drops them, for applications that migrate by hand. schema is as with
// [tracbus.JournalSchema], but PostgreSQL needs its name. Statements are separated by empty lines, and have no semicolon at their end.
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
	if _, _, err := CaptureSchema(dialect, cmp.Or(schema, "any")); err != nil {
		return err
	}
	if schema == "" {
		var err error
		if schema, err = capture.SchemaOf(ctx, db, d); err != nil {
			return fmt.Errorf("uninstall what captures: %w", err)
		}
	}
	left, err := capture.Of(Capture{}.Captured(), d, schema, nil, "").Uninstall(ctx, db)
	switch {
	case err != nil:
		return fmt.Errorf("uninstall what captures: %w", err)
	case left > 0:
		return fmt.Errorf("uninstall what captures: the triggers are dropped: %w: %d", ErrInboxNotEmpty, left)
	}
	return nil
}

// Events implements [tracbus.Capture].
func (c Capture) Events(ctx context.Context, tx *tracbus.ModelTransaction, rows []capture.Row, late bool, yield func(tracbus.Event, []int64) error) error {
	fields, err := fieldsOf(tx.Realm(tracbus.RealmTicket))
	if err != nil {
		return err
	}
	return intake.Events(ctx, readAhead{tablesOf(tx), late}, ticketFields{fields}, rows, yield)
}

// readAhead has package intake read Trac's tables.
type readAhead struct {
	tables
	late bool // it takes FOR UPDATE to see what they are now
}

func (r readAhead) ReadAll(ctx context.Context, some ...intake.Read) error {
	all := make([]read, len(some))
	for i, one := range some {
		all[i] = read(one)
		if r.late {
			all[i].Text += " {FOR UPDATE}"
		}
	}
	return r.tables.ReadAll(ctx, all...)
}

// ticketFields says to package intake what tickets are like.
type ticketFields struct{ fieldSet }

func (f ticketFields) Columns() []string { return ticketColumns() }

func (f ticketFields) Value(name, stored string) any {
	of, _ := f.of(name)
	return of.read(stored)
}

func (f ticketFields) Custom(yield func(name string, initial any) bool) {
	for _, c := range f.custom {
		if !yield(c.name, c.initial) {
			return
		}
	}
}
