package trac

import (
	"context"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/namedrow"
	"github.com/tracbus/tracbus/trac/internal/nameedit"
	"github.com/tracbus/tracbus/trac/realms"
)

// ComponentEdit is a [tracbus.Model] that creates, changes, renames or deletes a
// component in Trac's tables:
//
//	tx.Save(ctx, trac.ComponentEdit{Name: "core", NewName: "kernel"})
//
// The journal needs [realms.Components] among its realms, and the realm of tickets. A
// new name is given to the component's tickets too. As in Trac, these get no change in
// their history, and keep their changetime; each is reported as a
// [tracbus.TicketChanged] all the same, so that nobody keeps it with the old name.
// Deleting a component leaves its tickets as they are.
//
// As in Trac, spaces around and within a name become single ones.
type ComponentEdit struct {
	// Name is the component's name.
	Name string

	// New creates the component. If there is one of that name, the error is
	// [ErrNameExists]. Without New, one that does not exist is
	// [tracbus.ErrNotFound].
	New bool

	// NewName is the name that the component gets. Empty means that it keeps its
	// own.
	NewName string

	// Owner and Description are the new values. Nil means that it stays as it is.
	Owner, Description *string

	// Comment says why, in the event: Trac stores no such comment.
	Comment string

	// Base is the component as the user saw it. If it was changed since, the error
	// is [tracbus.ErrConflict]. Nil means that this is not checked.
	Base *realms.Component
}

func (e ComponentEdit) edit() nameedit.Edit {
	n := nameedit.Edit{
		Table: namedrow.Table{Name: string(realms.RealmComponent), Texts: []string{"owner"}, NullCreated: true, NullChanged: true},
		Name:  e.Name, NewName: e.NewName, New: e.New, Comment: e.Comment,
		Set: func(r *namedrow.Row) {
			if e.Owner != nil {
				r.Texts[0] = namedrow.Simplified(*e.Owner)
			}
			setIf(&r.Texts[1], e.Description)
		},
		Invalidate: func(ctx context.Context, tx *tracbus.ModelTransaction, names bool) error {
			if !names {
				return nil
			}
			return invalidateTracCache(ctx, tx, tracFieldsCache)
		},
	}
	n.Renamed = renameInTickets(n.Table.Name)
	if b := e.Base; b != nil {
		n.Base = &namedrow.Row{Name: b.Name, Texts: []string{b.Owner, b.Description}}
	}
	return n
}

func componentOf(r namedrow.Row) realms.Component {
	return realms.Component{Name: r.Name, Owner: r.Texts[0], Description: r.Texts[1]}
}

// Resource returns the component. It has no name if more than the component is to be
// locked, in an order of its own.
func (e ComponentEdit) Resource() tracbus.Resource { return e.edit().Resource() }

// Save implements [tracbus.Model]. It writes what Trac does (Component.insert and
// update, Trac 1.6), and returns a [realms.ComponentCreated] or
// [realms.ComponentChanged].
func (e ComponentEdit) Save(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	c, err := e.edit().Save(ctx, tx, tablesOf(tx))
	switch {
	case err != nil:
		return nil, err
	case c.Kind == tracbus.KindCreated:
		return realms.ComponentCreated{Change: c.Change, Component: componentOf(c.Now)}, nil
	case c.Kind == tracbus.KindChanged:
		return realms.ComponentChanged{Change: c.Change, Component: componentOf(c.Now), Old: componentOf(c.Old)}, nil
	}
	return nil, nil
}

// Delete implements [tracbus.Model] and returns a [realms.ComponentDeleted]. New,
// NewName, Owner and Description must be empty.
func (e ComponentEdit) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	c, err := e.edit().Delete(ctx, tx, tablesOf(tx), e.Owner == nil && e.Description == nil)
	if err != nil {
		return nil, err
	}
	return realms.ComponentDeleted{Change: c.Change, Component: componentOf(c.Now)}, nil
}
