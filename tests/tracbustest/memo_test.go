package tracbustest_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/desk"
)

// memo is a row of an application's table, and a model as an author might write it. It
// reports its changes as those of tickets. Faults spoil it.
type memo struct {
	id      int64 // 0: a new one
	text    string
	version int64 // that the user saw
	faults  *faults
}

// memoTables makes the application's tables.
var memoTables = []string{
	"CREATE TABLE memo (id bigint NOT NULL PRIMARY KEY, version bigint NOT NULL, text varchar(200) NOT NULL)",
	"CREATE TABLE last (one bigint NOT NULL PRIMARY KEY, memo bigint NOT NULL)",
	"INSERT INTO last VALUES (1, 0), (2, 0)",
}

// faults are ways to spoil the model, each by a function in the place of what is right.
type faults struct {
	read    func(ctx context.Context, tx *tracbus.ModelTransaction, id int64) (version int64, text string, err error)
	same    func(ctx context.Context, tx *tracbus.ModelTransaction, m memo) (tracbus.Event, error) // nothing is different
	write   func(ctx context.Context, tx *tracbus.ModelTransaction, m memo) error                  // instead of UPDATE
	event   func(tracbus.TicketChanged) tracbus.Event
	created func(tracbus.TicketCreated) tracbus.Event
	deleted func(tracbus.TicketDeleted) tracbus.Event
	gone    error // instead of ErrNotFound
	careful bool  // it does not compare versions if false
}

func (m memo) Resource() tracbus.Resource {
	if m.id == 0 {
		return tracbus.Resource{Realm: tracbus.RealmTicket}
	}
	return tracbus.TicketResource(m.id)
}

func exec(ctx context.Context, tx *tracbus.ModelTransaction, query string, args ...any) error {
	_, err := tx.SQL().ExecContext(ctx, desk.Marks(tx.Dialect(), query), args...)
	return err
}

// stored reads the row.
func stored(ctx context.Context, tx *tracbus.ModelTransaction, id int64) (version int64, text string, err error) {
	err = tx.SQL().QueryRowContext(ctx, desk.Marks(tx.Dialect(), "SELECT version, text FROM memo WHERE id = ?"), id).Scan(&version, &text)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("memo %d: %w", id, tracbus.ErrNotFound)
	}
	return version, text, err
}

func (m memo) values() tracbus.Fields {
	return tracbus.Fields{"text": m.text, "version": json.Number(strconv.FormatInt(m.version, 10))}
}

// Save implements [tracbus.Model].
func (m memo) Save(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	if m.id == 0 {
		return m.create(ctx, tx)
	}
	read := stored
	if m.faults.read != nil {
		read = m.faults.read
	}
	version, text, err := read(ctx, tx, m.id)
	switch {
	case errors.Is(err, tracbus.ErrNotFound) && m.faults.gone != nil:
		return nil, m.faults.gone
	case err != nil:
		return nil, err
	case m.faults.careful && version != m.version:
		return nil, fmt.Errorf("memo %d: version %d, expected %d: %w", m.id, version, m.version, tracbus.ErrConflict)
	case text == m.text:
		if m.faults.same != nil {
			return m.faults.same(ctx, tx, m)
		}
		return nil, nil
	}
	m.version = version + 1
	write := func(ctx context.Context, tx *tracbus.ModelTransaction, m memo) error {
		return exec(ctx, tx, "UPDATE memo SET version = ?, text = ? WHERE id = ?", m.version, m.text, m.id)
	}
	if m.faults.write != nil {
		write = m.faults.write
	}
	e := tracbus.TicketChanged{ID: m.id, Values: m.values(), New: tracbus.Fields{"text": m.text}, Old: tracbus.Fields{"text": text}}
	if m.faults.event != nil {
		return m.faults.event(e), write(ctx, tx, m)
	}
	return e, write(ctx, tx, m)
}

func (m memo) create(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	if err := tx.SQL().QueryRowContext(ctx, "SELECT coalesce(max(id), 0) + 1 FROM memo").Scan(&m.id); err != nil {
		return nil, err
	}
	m.version = 1
	if err := exec(ctx, tx, "INSERT INTO memo (id, version, text) VALUES (?, ?, ?)", m.id, m.version, m.text); err != nil {
		return nil, err
	}
	e := tracbus.TicketCreated{ID: m.id, Values: m.values()}
	if m.faults.created != nil {
		return m.faults.created(e), nil
	}
	return e, nil
}

// Delete implements [tracbus.Model].
func (m memo) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	version, text, err := stored(ctx, tx, m.id)
	if err != nil {
		return nil, err
	}
	m.version, m.text = version, text
	e := tracbus.TicketDeleted{ID: m.id, Values: m.values()}
	err = exec(ctx, tx, "DELETE FROM memo WHERE id = ?", m.id)
	if m.faults.deleted != nil {
		return m.faults.deleted(e), err
	}
	return e, err
}
