// Package nameedit makes the edits of Trac's milestones, components and versions: it
// checks what was asked for, and locks all that is to be changed before it reads. Its
// secret is in which order that has to happen.
package nameedit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/namedrow"
	"github.com/tracbus/tracbus/internal/tracsql"
	"github.com/tracbus/tracbus/internal/value"
)

// Edit is what a MilestoneEdit, ComponentEdit and VersionEdit of package trac have in
// common.
type Edit struct {
	Table         namedrow.Table
	Name, NewName string
	New           bool
	Comment       string
	Base          *namedrow.Row
	Retarget      *string // of a milestone

	Set     func(*namedrow.Row) // puts the edit's values into a row
	Renamed RenameFunc
	// Invalidate drops what Trac caches, after a row was created, deleted or renamed,
	// or else changed.
	Invalidate func(ctx context.Context, tx *tracbus.ModelTransaction, names bool) error
}

// RenameFunc gives the new name of a thing to what has the old one: to tickets, at
// least.
type RenameFunc func(ctx context.Context, tx *tracbus.ModelTransaction, ids []int64, old, name string) error

func (e Edit) of(name string) tracbus.Resource {
	return tracbus.Resource{Realm: tracbus.Realm(e.Table.Name), ID: name}
}

// failed returns an error that says what it is about. It makes those of package
// namedrow the public ones.
func (e Edit) failed(name string, err error) error {
	if errors.Is(err, namedrow.ErrNotFound) {
		err = tracbus.ErrNotFound
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %.100q: %w", e.Table.Name, name, err)
}

// Resource returns the resource that is locked first: none if there are several to
// be locked in one order.
func (e Edit) Resource() tracbus.Resource {
	switch {
	case e.New:
		return e.of(namedrow.Simplified(e.Name))
	case e.NewName != "" || e.Retarget != nil:
		return e.of("")
	}
	return e.of(e.Name)
}

// Change is what an edit has done.
type Change struct {
	tracbus.Change
	Kind     tracbus.Kind // "" is nothing
	Now, Old namedrow.Row
	Tickets  []int64 // those that had the name, if the edit may change them
}

func (e Edit) change(kind tracbus.Kind, now, old namedrow.Row) Change {
	c := tracbus.Change{Comment: value.Text(e.Comment)}
	if now.Null {
		c.Null |= tracbus.AttrText
	}
	if old.Null && kind == tracbus.KindChanged {
		c.Null |= tracbus.AttrOldText
	}
	return Change{c, kind, now, old, nil}
}

// Save creates, changes or renames.
func (e Edit) Save(ctx context.Context, tx *tracbus.ModelTransaction, on tracsql.Tables) (c Change, err error) {
	if e.New {
		return e.insert(ctx, tx, on)
	}
	name := namedrow.Simplified(e.NewName)
	if e.NewName != "" && name == "" {
		return c, e.failed(e.Name, fmt.Errorf("a new name of %.60q: expected another", e.NewName))
	}
	if name == "" {
		name = e.Name
	}
	old, tickets, err := e.open(ctx, tx, on, name)
	if err != nil {
		return c, err
	}
	c.Tickets = tickets
	now := old.Clone()
	now.Name = name
	e.Set(&now)
	now, changed, err := e.Table.Update(ctx, on, old, now)
	if err != nil || !changed {
		return c, e.failed(e.Name, err)
	}
	if name != old.Name {
		if err := e.Renamed(ctx, tx, tickets, old.Name, name); err != nil {
			return c, err
		}
	}
	c = e.change(tracbus.KindChanged, now, old)
	c.Tickets = tickets
	return c, e.Invalidate(ctx, tx, name != old.Name)
}

func (e Edit) insert(ctx context.Context, tx *tracbus.ModelTransaction, on tracsql.Tables) (c Change, err error) {
	row := e.Table.Of(namedrow.Simplified(e.Name))
	switch {
	case row.Name == "":
		return c, fmt.Errorf("a new %s with the name %.60q: expected another", e.Table.Name, e.Name)
	case e.NewName != "" || e.Base != nil || e.Retarget != nil:
		return c, e.failed(row.Name, errors.New("it is new, and has NewName, Base or Retarget: expected none of them"))
	}
	e.Set(&row)
	if row, err = e.Table.Insert(ctx, on, row); err != nil {
		return c, e.failed(namedrow.Simplified(e.Name), err)
	}
	return e.change(tracbus.KindCreated, row, row), e.Invalidate(ctx, tx, true)
}

// Delete deletes. blank says that the edit has no values: others are mistakes.
func (e Edit) Delete(ctx context.Context, tx *tracbus.ModelTransaction, on tracsql.Tables, blank bool) (c Change, err error) {
	if e.New || e.NewName != "" || !blank {
		return c, e.failed(e.Name, errors.New("delete with New, NewName or values: expected none of them"))
	}
	old, tickets, err := e.open(ctx, tx, on, e.Name)
	if err == nil {
		err = e.failed(e.Name, e.Table.Delete(ctx, on, e.Name))
	}
	if err == nil {
		err = e.Invalidate(ctx, tx, true)
	}
	c = e.change(tracbus.KindDeleted, old, old)
	c.Tickets = tickets
	return c, err
}

// open locks everything that the edit changes, reads the row, and checks the base.
// The tickets are those that have the name, if the edit may change them.
func (e Edit) open(ctx context.Context, tx *tracbus.ModelTransaction, on tracsql.Tables, name string) (row namedrow.Row, tickets []int64, err error) {
	resources := []tracbus.Resource{e.of(e.Name)}
	if name != e.Name {
		resources = append(resources, e.of(name))
	}
	if e.Retarget != nil && *e.Retarget != "" {
		resources = append(resources, e.of(*e.Retarget))
	}
	if name != e.Name || e.Retarget != nil {
		if tickets, err = e.ticketsWith(ctx, on); err != nil {
			return row, nil, e.failed(e.Name, err)
		}
		for _, id := range tickets {
			resources = append(resources, tracbus.TicketResource(id))
		}
	}
	if err := tx.Lock(ctx, resources...); err != nil {
		return row, nil, err
	}
	if row, err = e.Lock(ctx, on, e.Name); err != nil {
		return row, nil, err
	}
	if _, ours := tx.Pending(e.of(e.Name)); e.Base != nil && !ours && !row.Equal(*e.Base) {
		return row, nil, e.failed(e.Name, fmt.Errorf("it is not what the edit was made from: %w", tracbus.ErrConflict))
	}
	return row, tickets, nil
}

// Lock reads a row and locks it. The resource must be locked already.
func (e Edit) Lock(ctx context.Context, on tracsql.Tables, name string) (namedrow.Row, error) {
	row, err := e.Table.Lock(ctx, on, name)
	return row, e.failed(name, err)
}

// ticketsWith returns the numbers of the tickets that name the thing.
func (e Edit) ticketsWith(ctx context.Context, on tracsql.Tables) (ids []int64, err error) {
	var id int64
	err = on.ReadAll(ctx, tracsql.Read{
		Text: `SELECT id FROM {ticket} WHERE "` + e.Table.Name + `" = ? ORDER BY id`, Args: []any{e.Name},
		Scan: func(rows *sql.Rows) error {
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		},
	})
	return ids, err
}
