package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus"
)

// MilestoneRealm is the name of the realm, in the journal's tables and in channels.
const MilestoneRealm tracbus.Realm = "milestone"

// milestoneTable creates the application's own table. Its times are microseconds
// since 1970, and its version counts the changes of a row.
const milestoneTable = `CREATE TABLE IF NOT EXISTS milestone (
	name        varchar(200)  PRIMARY KEY,
	version     bigint        NOT NULL,
	due         bigint,
	description varchar(2000) NOT NULL
)`

// Milestone is a row of the table.
type Milestone struct {
	Name        string
	Version     int64     // 1 when it is created, one more with each change
	Due         time.Time // zero if it is not known
	Description string
}

func (m Milestone) resource() tracbus.Resource {
	return tracbus.Resource{Realm: MilestoneRealm, ID: m.Name}
}

// The events, one type a kind. Each is a [tracbus.Recordable], which a journal
// keeps.

// MilestoneCreated says that a milestone was created.
type MilestoneCreated struct {
	tracbus.Change
	Milestone Milestone
}

// MilestoneChanged says that a milestone was changed.
type MilestoneChanged struct {
	tracbus.Change
	Milestone Milestone // after the change
	Before    Milestone
}

// MilestoneDeleted says that a milestone was deleted.
type MilestoneDeleted struct {
	tracbus.Change
	Milestone Milestone // as it was at the end
}

// Resource implements [tracbus.Event].
func (e MilestoneCreated) Resource() tracbus.Resource { return e.Milestone.resource() }

// Resource implements [tracbus.Event].
func (e MilestoneChanged) Resource() tracbus.Resource { return e.Milestone.resource() }

// Resource implements [tracbus.Event].
func (e MilestoneDeleted) Resource() tracbus.Resource { return e.Milestone.resource() }

// Kind implements [tracbus.Event].
func (MilestoneCreated) Kind() tracbus.Kind { return tracbus.KindCreated }

// Kind implements [tracbus.Event].
func (MilestoneChanged) Kind() tracbus.Kind { return tracbus.KindChanged }

// Kind implements [tracbus.Event].
func (MilestoneDeleted) Kind() tracbus.Kind { return tracbus.KindDeleted }

// WithChange implements [tracbus.Event].
func (e MilestoneCreated) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// WithChange implements [tracbus.Event].
func (e MilestoneChanged) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// WithChange implements [tracbus.Event].
func (e MilestoneDeleted) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// Entry implements [tracbus.Recordable].
func (e MilestoneCreated) Entry() tracbus.Entry {
	return tracbus.Entry{Resource: e.Resource(), Kind: e.Kind(), Change: e.Change, State: e.Milestone.fields()}
}

// Entry implements [tracbus.Recordable]. A field that changed is in New and Old,
// another one in State.
func (e MilestoneChanged) Entry() tracbus.Entry {
	entry := tracbus.Entry{
		Resource: e.Resource(), Kind: e.Kind(), Change: e.Change,
		State: tracbus.Fields{}, New: tracbus.Fields{}, Old: tracbus.Fields{},
	}
	before := e.Before.fields()
	for name, v := range e.Milestone.fields() {
		if v == before[name] {
			entry.State[name] = v
		} else {
			entry.New[name], entry.Old[name] = v, before[name]
		}
	}
	return entry
}

// Entry implements [tracbus.Recordable].
func (e MilestoneDeleted) Entry() tracbus.Entry {
	return tracbus.Entry{Resource: e.Resource(), Kind: e.Kind(), Change: e.Change, State: e.Milestone.fields()}
}

// Payload implements [tracbus.Payloader]: a publisher sends it to the channel
// trac.<env>.milestone.changed.<name>.
func (e MilestoneChanged) Payload() ([]byte, error) {
	return json.Marshal(map[string]any{
		"name": e.Milestone.Name, "description": e.Milestone.Description, "author": e.Author,
	})
}

// fields returns the milestone without its name, which is the resource's.
func (m Milestone) fields() tracbus.Fields {
	f := tracbus.Fields{"version": json.Number(fmt.Sprint(m.Version)), "due": nil, "description": m.Description}
	if !m.Due.IsZero() {
		f["due"] = m.Due
	}
	return f
}

func milestoneOf(name string, f tracbus.Fields) (Milestone, error) {
	m := Milestone{Name: name, Description: f.Text("description")}
	m.Due, _ = f.Time("due")
	version, _ := f["version"].(json.Number)
	var err error
	m.Version, err = version.Int64()
	return m, err
}

// Milestones is the realm, which makes events of the journal's entries again.
type Milestones struct{}

// Realm implements [tracbus.JournalRealm].
func (Milestones) Realm() tracbus.Realm { return MilestoneRealm }

// Event implements [tracbus.JournalRealm].
func (Milestones) Event(e tracbus.Entry) (tracbus.Event, error) {
	now := e.NewState()
	m, err := milestoneOf(e.Resource.ID, now)
	if err != nil {
		return nil, err
	}
	switch e.Kind {
	case tracbus.KindCreated:
		return MilestoneCreated{e.Change, m}, nil
	case tracbus.KindDeleted:
		return MilestoneDeleted{e.Change, m}, nil
	case tracbus.KindChanged:
		before, err := milestoneOf(e.Resource.ID, tracbus.Entry{State: now, New: e.Old}.NewState())
		return MilestoneChanged{e.Change, m, before}, err
	}
	return nil, fmt.Errorf("milestones have no kind %q", e.Kind)
}

// MilestoneListener is what a listener of milestones implements. If it is a
// [tracbus.ResyncListener] too, it is also called when it missed changes.
type MilestoneListener interface {
	MilestoneCreated(ctx context.Context, e MilestoneCreated) error
	MilestoneChanged(ctx context.Context, e MilestoneChanged) error
	MilestoneDeleted(ctx context.Context, e MilestoneDeleted) error
}

// ListenToMilestones registers a listener.
func ListenToMilestones(b *tracbus.Bus, scope tracbus.Scope, l MilestoneListener) *tracbus.Registration {
	return tracbus.On(b, scope, func(ctx context.Context, e tracbus.Event) error {
		switch e := e.(type) {
		case MilestoneCreated:
			return l.MilestoneCreated(ctx, e)
		case MilestoneChanged:
			return l.MilestoneChanged(ctx, e)
		case MilestoneDeleted:
			return l.MilestoneDeleted(ctx, e)
		case tracbus.Resync:
			if l, ok := l.(tracbus.ResyncListener); ok {
				return l.Resync(ctx, e)
			}
		}
		return nil
	})
}

// MilestoneEdit is a [tracbus.Model] that creates, changes or deletes a milestone.
// Its statements are SQLite's: PostgreSQL writes $1 for ?, and on other databases
// the SELECT ends with FOR UPDATE.
type MilestoneEdit struct {
	Name        string
	Due         time.Time // zero if it is not known
	Description string

	// Base is the version that the user saw, 0 for a new milestone. If another
	// version is in the table, the error is [tracbus.ErrConflict].
	Base int64
}

// Resource implements [tracbus.Model].
func (e MilestoneEdit) Resource() tracbus.Resource { return Milestone{Name: e.Name}.resource() }

// Save implements [tracbus.Model].
func (e MilestoneEdit) Save(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	before, err := e.stored(ctx, tx)
	if err != nil {
		return nil, err
	}
	after := Milestone{Name: e.Name, Version: before.Version, Due: e.Due, Description: e.Description}
	if after == before {
		return nil, nil // nothing is different, so nothing is written or reported
	}
	after.Version++
	due := sql.NullInt64{Int64: after.Due.UnixMicro(), Valid: !after.Due.IsZero()}
	if before.Version == 0 {
		_, err := tx.SQL().ExecContext(ctx, `INSERT INTO milestone (name, version, due, description) VALUES (?, ?, ?, ?)`,
			after.Name, after.Version, due, after.Description)
		return MilestoneCreated{Milestone: after}, err
	}
	_, err = tx.SQL().ExecContext(ctx, `UPDATE milestone SET version = ?, due = ?, description = ? WHERE name = ?`,
		after.Version, due, after.Description, after.Name)
	return MilestoneChanged{Milestone: after, Before: before}, err
}

// Delete implements [tracbus.Model].
func (e MilestoneEdit) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	last, err := e.stored(ctx, tx)
	switch {
	case err != nil:
		return nil, err
	case last.Version == 0:
		return nil, tracbus.ErrNotFound
	}
	_, err = tx.SQL().ExecContext(ctx, `DELETE FROM milestone WHERE name = ?`, e.Name)
	return MilestoneDeleted{Milestone: last}, err
}

// stored reads the row; its version is 0 if there is none. The transaction has
// locked the milestone, so what it returns stays true until the commit.
func (e MilestoneEdit) stored(ctx context.Context, tx *tracbus.ModelTransaction) (Milestone, error) {
	m := Milestone{Name: e.Name}
	var due sql.NullInt64
	err := tx.SQL().QueryRowContext(ctx, `SELECT version, due, description FROM milestone WHERE name = ?`, e.Name).
		Scan(&m.Version, &due, &m.Description)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return m, err
	}
	if due.Valid {
		m.Due = time.UnixMicro(due.Int64).UTC()
	}
	if m.Version != e.Base {
		return m, fmt.Errorf("version %d is stored, the edit is of %d: %w", m.Version, e.Base, tracbus.ErrConflict)
	}
	return m, nil
}
