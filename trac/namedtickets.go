package trac

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/namedrow"
	"github.com/tracbus/tracbus/trac/internal/nameedit"
)

// ErrNameExists: a [MilestoneEdit], [ComponentEdit] or [VersionEdit] would give
// something the name of another one. Returned by Save, and with
// [tracbus.ErrNotCommitted] by Update.
var ErrNameExists = namedrow.ErrExists

// eachTicket calls change with each of some tickets, locked, whose field is still old.
// One that was deleted, or that somebody else changed meanwhile, is left out. What
// change returns is reported.
func eachTicket(ctx context.Context, tx *tracbus.ModelTransaction, ids []int64, field, old string,
	change func(*lockedTicket) (tracbus.Event, error),
) error {
	for _, id := range ids {
		ticket, err := lockTicket(ctx, tx, id, time.Time{})
		if errors.Is(err, tracbus.ErrNotFound) || err == nil && ticket.row.values[field] != old {
			continue
		}
		var event tracbus.Event
		if err == nil {
			event, err = change(ticket)
		}
		if err == nil && event != nil {
			err = tx.Also(event)
		}
		if err != nil {
			return fmt.Errorf("ticket %d: %w", id, err)
		}
	}
	return nil
}

// renameInTickets returns what gives tickets the new name, as Trac does for a component or
// version: without a change in their history, and with their changetime as it was.
// The change is reported all the same, for whoever keeps tickets in memory.
func renameInTickets(field string) nameedit.RenameFunc {
	return func(ctx context.Context, tx *tracbus.ModelTransaction, ids []int64, old, name string) error {
		return eachTicket(ctx, tx, ids, field, old, func(t *lockedTicket) (tracbus.Event, error) {
			t.row.values[field] = name
			_, err := t.tables.Exec(ctx, `UPDATE {ticket} SET "`+field+`" = ? WHERE id = ?`, name, t.row.id)
			return tracbus.TicketChanged{
				ID: t.row.id, Values: t.row.values, New: tracbus.Fields{field: name}, Old: tracbus.Fields{field: old},
			}, err
		})
	}
}
