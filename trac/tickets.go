package trac

import (
	"context"
	"fmt"

	"github.com/tracbus/tracbus"
)

// Tickets is the realm "ticket" of a journal, for trackers whose tickets have
// custom fields. It is [tracbus.Tickets], plus those fields.
//
// A ticket's values are what Trac's own listeners find in it: its built-in
// fields as strings, "" if the database has NULL; time and changetime; and
// the custom fields, those of type time as a time or nil. If a custom field was
// defined after the ticket was created, so that the ticket has no row for it,
// its value is the field's default; without a default it is missing. (Trac
// leaves out built-in fields whose list of options is empty, such as severity in
// a new Trac.)
type Tickets struct {
	tracbus.Tickets

	// CustomFields are the custom fields, as [tracbus.LoadConfig] reads them.
	// None means that there are only Trac's built-in ones.
	CustomFields []tracbus.CustomField
}

// LoadTicket returns the values of a ticket, as [Tickets] says, from the
// snapshot that a [tracbus.LoadListener] was given. If there is no such ticket,
// the error wraps [tracbus.ErrNotFound].
func LoadTicket(ctx context.Context, s *tracbus.Snapshot, id int64) (tracbus.Fields, error) {
	fields, err := fieldsOf(s.Realm(tracbus.RealmTicket))
	if err != nil {
		return nil, fmt.Errorf("ticket %d: %w", id, err)
	}
	t, err := readTicket(ctx, tablesIn(s), fields, id, "")
	if err != nil {
		return nil, fmt.Errorf("ticket %d: %w", id, err)
	}
	return t.values, nil
}
