package trac

import (
	"context"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/namedrow"
	"github.com/tracbus/tracbus/internal/value"
)

// ErrNameExists: a [MilestoneEdit], [ComponentEdit] or [VersionEdit] would give
// something the name of another one. Returned by Save, and with
// [tracbus.ErrNotCommitted] by Update.
var ErrNameExists = namedrow.ErrExists

// namedEdit is what a MilestoneEdit, ComponentEdit and VersionEdit have in common.
type namedEdit struct {
	table         namedrow.Table
	name, newName string
	create        bool
	comment       string
	base          *namedrow.Row
	retarget      *string // of a milestone

	set     func(*namedrow.Row) // puts the edit's values into a row
	renamed renameFunc
	// invalidate drops what Trac caches, after a row was created, deleted or renamed,
	// or else changed.
	invalidate func(ctx context.Context, tx *tracbus.ModelTransaction, names bool) error
}

// renameFunc gives the new name of a thing to what has the old one: to tickets, at
// least.
type renameFunc func(ctx context.Context, tx *tracbus.ModelTransaction, ids []int64, old, name string) error

func (e namedEdit) of(name string) tracbus.Resource {
	return tracbus.Resource{Realm: tracbus.Realm(e.table.Name), ID: name}
}

// failed returns an error that says what it is about. It makes those of package
// namedrow the public ones.
func (e namedEdit) failed(name string, err error) error {
	if errors.Is(err, namedrow.ErrNotFound) {
		err = tracbus.ErrNotFound
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %.100q: %w", e.table.Name, name, err)
}

// resource returns the resource that is locked first: none if there are several to
// be locked in one order.
func (e namedEdit) resource() tracbus.Resource {
	switch {
	case e.create:
		return e.of(namedrow.Simplified(e.name))
	case e.newName != "" || e.retarget != nil:
		return e.of("")
	}
	return e.of(e.name)
}

// namedChange is what an edit has done.
type namedChange struct {
	tracbus.Change
	kind     tracbus.Kind // "" is nothing
	now, old namedrow.Row
}

func (e namedEdit) change(kind tracbus.Kind, now, old namedrow.Row) namedChange {
	c := tracbus.Change{Comment: value.Text(e.comment)}
	if now.Null {
		c.Null |= tracbus.AttrText
	}
	if old.Null && kind == tracbus.KindChanged {
		c.Null |= tracbus.AttrOldText
	}
	return namedChange{c, kind, now, old}
}

// save creates, changes or renames. The tickets are those that had the name.
func (e namedEdit) save(ctx context.Context, tx *tracbus.ModelTransaction) (c namedChange, tickets []int64, err error) {
	if e.create {
		c, err = e.insert(ctx, tx)
		return c, nil, err
	}
	name := namedrow.Simplified(e.newName)
	if e.newName != "" && name == "" {
		return c, nil, e.failed(e.name, fmt.Errorf("a new name of %.60q: expected another", e.newName))
	}
	if name == "" {
		name = e.name
	}
	old, tickets, err := e.open(ctx, tx, name)
	if err != nil {
		return c, nil, err
	}
	now := old.Clone()
	now.Name = name
	e.set(&now)
	now, changed, err := e.table.Update(ctx, tablesOf(tx), old, now)
	if err != nil || !changed {
		return c, tickets, e.failed(e.name, err)
	}
	if name != old.Name {
		if err := e.renamed(ctx, tx, tickets, old.Name, name); err != nil {
			return c, nil, err
		}
	}
	return e.change(tracbus.KindChanged, now, old), tickets, e.invalidate(ctx, tx, name != old.Name)
}

func (e namedEdit) insert(ctx context.Context, tx *tracbus.ModelTransaction) (c namedChange, err error) {
	row := e.table.Of(namedrow.Simplified(e.name))
	switch {
	case row.Name == "":
		return c, fmt.Errorf("a new %s with the name %.60q: expected another", e.table.Name, e.name)
	case e.newName != "" || e.base != nil || e.retarget != nil:
		return c, e.failed(row.Name, errors.New("it is new, and has NewName, Base or Retarget: expected none of them"))
	}
	e.set(&row)
	if row, err = e.table.Insert(ctx, tablesOf(tx), row); err != nil {
		return c, e.failed(namedrow.Simplified(e.name), err)
	}
	return e.change(tracbus.KindCreated, row, row), e.invalidate(ctx, tx, true)
}

// remove deletes. Edits that name anything else than what is to be deleted are
// mistakes.
func (e namedEdit) remove(ctx context.Context, tx *tracbus.ModelTransaction, blank bool) (c namedChange, tickets []int64, err error) {
	if e.create || e.newName != "" || !blank {
		return c, nil, e.failed(e.name, errors.New("delete with New, NewName or values: expected none of them"))
	}
	old, tickets, err := e.open(ctx, tx, e.name)
	if err == nil {
		err = e.failed(e.name, e.table.Delete(ctx, tablesOf(tx), e.name))
	}
	if err == nil {
		err = e.invalidate(ctx, tx, true)
	}
	return e.change(tracbus.KindDeleted, old, old), tickets, err
}

// open locks everything that the edit changes, reads the row, and checks the base.
// The tickets are those that have the name, if the edit may change them.
func (e namedEdit) open(ctx context.Context, tx *tracbus.ModelTransaction, name string) (row namedrow.Row, tickets []int64, err error) {
	resources := []tracbus.Resource{e.of(e.name)}
	if name != e.name {
		resources = append(resources, e.of(name))
	}
	if e.retarget != nil && *e.retarget != "" {
		resources = append(resources, e.of(*e.retarget))
	}
	if name != e.name || e.retarget != nil {
		if tickets, err = ticketsWith(ctx, tx, e.table.Name, e.name); err != nil {
			return row, nil, e.failed(e.name, err)
		}
		for _, id := range tickets {
			resources = append(resources, tracbus.TicketResource(id))
		}
	}
	if err := tx.Lock(ctx, resources...); err != nil {
		return row, nil, err
	}
	if row, err = e.lock(ctx, tx, e.name); err != nil {
		return row, nil, err
	}
	if _, ours := tx.Pending(e.of(e.name)); e.base != nil && !ours && !row.Equal(*e.base) {
		return row, nil, e.failed(e.name, fmt.Errorf("it is not what the edit was made from: %w", tracbus.ErrConflict))
	}
	return row, tickets, nil
}

// lock reads a row and locks it. The resource must be locked already.
func (e namedEdit) lock(ctx context.Context, tx *tracbus.ModelTransaction, name string) (namedrow.Row, error) {
	row, err := e.table.Lock(ctx, tablesOf(tx), name)
	return row, e.failed(name, err)
}
