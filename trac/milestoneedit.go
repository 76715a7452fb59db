package trac

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/namedrow"
	"github.com/tracbus/tracbus/trac/internal/nameedit"
	"github.com/tracbus/tracbus/trac/realms"
)

// MilestoneEdit is a [tracbus.Model] that creates, changes, renames or deletes a
// milestone in Trac's tables:
//
//	tx.Save(ctx, trac.MilestoneEdit{Name: "1.0", Completed: new(time.Now()), Retarget: new("1.1")})
//
// The journal needs [realms.Milestones] among its realms, and the realm of tickets.
// A new name is given to the milestone's tickets too: each is changed as by a
// [TicketEdit], and reported. The rows of its attachments follow, and are reported if
// the journal has [realms.Attachments]; the application must move the attached files,
// see [PageEdit]. A ticket that somebody else gives the old name meanwhile keeps it,
// as in Trac.
//
// As in Trac, spaces around and within a name become single ones.
type MilestoneEdit struct {
	// Name is the milestone's name.
	Name string

	// New creates the milestone. If there is one of that name, the error is
	// [ErrNameExists]. Without New, one that does not exist is
	// [tracbus.ErrNotFound].
	New bool

	// NewName is the name that the milestone gets. Empty means that it keeps its
	// own.
	NewName string

	// Due, Completed and Description are the new values; the zero time is none. Nil
	// means that it stays as it is.
	Due, Completed *time.Time
	Description    *string

	// Retarget is the milestone that the tickets get, "" for none: with Save those
	// that are not closed, as on Trac's page if it completes the milestone, and
	// with Delete all. Nil means that Save leaves them alone, and Delete takes them
	// out of the milestone.
	Retarget *string

	// Comment says why, in the event and in the changes of tickets. If it is empty,
	// tickets that are renamed or lose their milestone get Trac's words.
	Comment string

	// Base is the milestone as the user saw it. If it was changed since, the error
	// is [tracbus.ErrConflict]. Nil means that this is not checked.
	Base *realms.Milestone
}

func (e MilestoneEdit) edit() nameedit.Edit {
	n := nameedit.Edit{
		Table: namedrow.Table{Name: string(realms.RealmMilestone), Times: []string{"due", "completed"}},
		Name:  e.Name, NewName: e.NewName, New: e.New, Comment: e.Comment, Retarget: e.Retarget,
		Set: func(r *namedrow.Row) {
			setIf(&r.Times[0], e.Due)
			setIf(&r.Times[1], e.Completed)
			setIf(&r.Texts[0], e.Description)
		},
		Renamed: func(ctx context.Context, tx *tracbus.ModelTransaction, ids []int64, old, name string) error {
			if err := e.moveTickets(ctx, tx, ids, old, name, "Milestone renamed", false); err != nil {
				return err
			}
			return moveAttachments(ctx, tx, realms.MilestoneResource(old), realms.MilestoneResource(name))
		},
		Invalidate: func(ctx context.Context, tx *tracbus.ModelTransaction, _ bool) error {
			return errors.Join(invalidateTracCache(ctx, tx, tracMilestonesCache), invalidateTracCache(ctx, tx, tracFieldsCache))
		},
	}
	if b := e.Base; b != nil {
		n.Base = &namedrow.Row{Name: b.Name, Times: []time.Time{b.Due, b.Completed}, Texts: []string{b.Description}}
	}
	return n
}

func milestoneOf(r namedrow.Row) realms.Milestone {
	return realms.Milestone{Name: r.Name, Due: r.Times[0], Completed: r.Times[1], Description: r.Texts[0]}
}

// Resource returns the milestone. It has no name if more than the milestone is to be
// locked, in an order of its own.
func (e MilestoneEdit) Resource() tracbus.Resource { return e.edit().Resource() }

// Save implements [tracbus.Model]. It writes what Trac does (Milestone.insert, update
// and move_tickets, Trac 1.6), and reports a [realms.MilestoneCreated] or
// [realms.MilestoneChanged]: after those of tickets that are renamed, and before those
// of tickets that are retargeted. If nothing of the milestone is different, it is not
// written or reported.
func (e MilestoneEdit) Save(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	c, err := e.edit().Save(ctx, tx, tablesOf(tx))
	if err != nil {
		return nil, err
	}
	switch c.Kind {
	case tracbus.KindCreated:
		return realms.MilestoneCreated{Change: c.Change, Milestone: milestoneOf(c.Now)}, nil
	case tracbus.KindChanged:
		event = realms.MilestoneChanged{Change: c.Change, Milestone: milestoneOf(c.Now), Old: milestoneOf(c.Old)}
	}
	if e.Retarget == nil {
		return event, nil
	}
	if event != nil { // before those of its tickets
		if err := tx.Also(event); err != nil {
			return nil, err
		}
	}
	return nil, e.retargetTickets(ctx, tx, c.Tickets, cmp.Or(c.Now.Name, e.Name), "", true)
}

// Delete implements [tracbus.Model] and returns a [realms.MilestoneDeleted]. It
// writes what Trac's page does (Milestone.move_tickets and delete, Trac 1.6). New,
// NewName, Due, Completed and Description must be empty.
func (e MilestoneEdit) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	if e.Retarget == nil {
		e.Retarget = new(string)
	}
	c, err := e.edit().Delete(ctx, tx, tablesOf(tx), e.Due == nil && e.Completed == nil && e.Description == nil)
	if err == nil {
		err = e.retargetTickets(ctx, tx, c.Tickets, e.Name, "Ticket retargeted after milestone deleted", false)
	}
	if err == nil {
		err = deleteAttachments(ctx, tx, realms.MilestoneResource(e.Name))
	}
	if err != nil {
		return nil, err
	}
	return realms.MilestoneDeleted{Change: c.Change, Milestone: milestoneOf(c.Now)}, nil
}

// retargetTickets gives tickets of a milestone the one that Retarget names.
func (e MilestoneEdit) retargetTickets(ctx context.Context, tx *tracbus.ModelTransaction, ids []int64, name, comment string, open bool) error {
	to := *e.Retarget
	if to == e.Name || to == name {
		return fmt.Errorf("milestone %.100q: its tickets are to get the same milestone: expected another", e.Name)
	}
	if to != "" {
		if _, err := e.edit().Lock(ctx, tablesOf(tx), to); err != nil {
			return err
		}
	}
	return e.moveTickets(ctx, tx, ids, name, to, comment, open)
}

// moveTickets gives tickets of a milestone another one, as a TicketEdit does: only
// those that are not closed if open is true.
func (e MilestoneEdit) moveTickets(ctx context.Context, tx *tracbus.ModelTransaction, ids []int64, old, name, comment string, open bool) error {
	return eachTicket(ctx, tx, ids, "milestone", old, func(t *lockedTicket) (tracbus.Event, error) {
		if open && t.row.values["status"] == "closed" {
			return nil, nil
		}
		edit := TicketEdit{ID: t.row.id, Set: tracbus.Fields{"milestone": name}, Comment: cmp.Or(e.Comment, comment)}
		return edit.changeLocked(ctx, tx, t)
	})
}

// setIf stores a value unless there is none.
func setIf[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}
