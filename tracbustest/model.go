package tracbustest

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tracbus/tracbus"
)

// ModelConfig says how the models that [Model] checks are made, and where they write.
type ModelConfig struct {
	// Journal is how the application opens its journal: Dialect, and Realms unless they are
	// the default ones.
	Journal tracbus.JournalConfig

	// Create returns a model whose Save makes a resource that does not exist. n is another
	// number each time.
	Create func(n int) tracbus.Model

	// Edit returns a model whose Save gives the resource of an event a text in the field
	// that Field names. seen is what the user saw of the resource: its latest event, or an
	// earlier one.
	Edit func(seen tracbus.Event, text string) tracbus.Model

	// Field is how the events' entries call the field that Edit sets.
	Field string

	// Delete returns a model whose Delete deletes the resource of an event. Zero means that
	// the resources are not deleted.
	Delete func(seen tracbus.Event) tracbus.Model

	// Conflicts says that Edit compares seen with what is stored, and fails with
	// [tracbus.ErrConflict] if somebody else was faster.
	Conflicts bool

	// Read returns the text that the application's tables have in the field of a resource.
	// Zero means that the tables are not compared with the events.
	Read func(ctx context.Context, q tracbus.SQL, r tracbus.Resource) (string, error)

	// Tables are the names of the tables that the models write, as SQL has them. They are
	// constants of the test: they become a part of statements. Zero means that it is not
	// checked that Save and Delete write nothing if they say so.
	Tables []string
}

// Model checks a [tracbus.Model] on a database that has the application's tables, such as a
// new one: it creates some resources, changes them from several goroutines, and leaves them
// there, with the tables of a journal. The pool needs 4 connections at least, but on SQLite.
//
// db is the caller's, as are the tables, because only the application knows how to make them.
func Model(t T, db *sql.DB, c ModelConfig) {
	t.Helper()
	if c.Create == nil || c.Edit == nil || c.Field == "" {
		panic("tracbustest: ModelConfig needs Create, Edit and Field")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	m := &modelCheck{report: report{t, "model"}, config: c, db: db, latest: map[tracbus.Resource]tracbus.Event{}}
	c.Journal.Logger = cmp.Or(c.Journal.Logger, slog.New(slog.DiscardHandler))
	bus := tracbus.BusConfig{Logger: c.Journal.Logger}.NewBus("tracbustest")
	tracbus.On(bus, tracbus.Everywhere, m.hear)
	var err error
	if m.journal, err = tracbus.OpenJournal(ctx, db, bus, c.Journal); err != nil {
		m.broken(promiseOpens, "%v", err)
		return
	}
	ran := make(chan error, 1)
	go func() { ran <- m.journal.Run(context.WithoutCancel(ctx)) }() // until Close
	defer func() {
		if err := errors.Join(m.journal.Close(ctx), <-ran, bus.Close(ctx)); err != nil {
			m.broken(promiseOpens, "%v", err)
		}
	}()
	m.check(ctx)
}

var (
	promiseCreates  = promise{"what is created is told", "Save of a new resource returns an event of the kind created, whose Resource has an ID.", "Listeners and the history would not know the resource."}
	promiseTrueOld  = promise{"old values are true", "The event has the field in New and Old, as it is in the tables after and before the change. It was read under the resource's lock, so nobody else can have changed it since.", "A listener that follows the events ends with another state than the tables have; the history of the resource contradicts itself."}
	promiseNothing  = promise{"nothing different, nothing written", "If nothing is different, Save returns nil, nil, and has not written anything.", "A change that nobody is told of, or an event that says nothing."}
	promiseUndone   = promise{"what is undone is not told", "If a transaction changes a field and then changes it back, no event says that the field changed.", "Listeners would act on a change that never was."}
	promiseTwice    = promise{"two changes of a transaction are one", "If a transaction changes a field twice, one event has the first value in Old and the last one in New.", "Old values would be those of a state that nobody has seen."}
	promiseNested   = promise{"savepoints", "After a transaction was rolled back to a savepoint, the tables and the event say what was so before it: a Model remembers nothing beside the transaction.", "Frameworks that nest transactions use savepoints: listeners would hear of what never was."}
	promiseConflict = promise{"a conflict is found", "An edit that was made from a state that somebody else has changed since fails with an error that wraps ErrConflict.", "The later user overwrites what the earlier one wrote, and neither learns of it."}
	promiseRollback = promise{"what fails leaves nothing", "After an error of the transaction, the tables are as before, and no event is delivered: all statements of a Model run on ModelTransaction.SQL.", "Half of a change stays, and nobody is told."}
	promiseDeletes  = promise{"what is deleted is told", "Delete returns an event of the kind deleted, with the state that was deleted. An edit of what is gone fails with ErrNotFound, or creates it again and says so.", "Listeners keep what is gone, or hear of changes of what they do not know."}
	promiseOthers   = promise{"others do not wait", "On a database with many writers, a change of one resource does not wait for a transaction that has changed another one.", "One slow request would hold up all others."}
	promiseTogether = promise{"no deadlock", "Transactions that lock their resources with ModelTransaction.Lock first, and then save them in any order, do not end up waiting for each other: a Model locks no rows but those of its resource.", "The database ends one of the two, and a user's request fails."}
	promiseAnyText  = promise{"any text is stored as it is", "A text is stored and told as it was given, or as the model makes it of that; or Save fails with an error that says why. It never becomes a part of a statement.", "Users type every character there is. A text that becomes a part of a statement can do anything to the database."}
	promiseEnds     = promise{"an ended context is heeded", "Save and Delete return soon after their context has ended.", "A request that was given up would keep its connection, and its locks."}
)

// modelCheck is one check of a model.
type modelCheck struct {
	report
	config  ModelConfig
	db      *sql.DB
	journal *tracbus.Journal

	mu     sync.Mutex // guards what follows
	events []tracbus.Event
	latest map[tracbus.Resource]tracbus.Event

	n int // of resources that were created
}

// hear notes what is delivered.
func (m *modelCheck) hear(_ context.Context, e tracbus.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
	m.latest[e.Resource()] = e
	return nil
}

// seen returns the latest event of a resource.
func (m *modelCheck) seen(r tracbus.Resource) tracbus.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest[r]
}

// delivered returns how many events there are so far.
func (m *modelCheck) delivered() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.events)
}

// after returns the events after the first n.
func (m *modelCheck) after(n int) []tracbus.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events[n:])
}

// save has models saved in one transaction: each is made when the one before is saved.
func (m *modelCheck) save(ctx context.Context, models ...func(tx *tracbus.ModelTransaction) tracbus.Model) ([]tracbus.Event, error) {
	return m.update(ctx, func(tx *tracbus.ModelTransaction) error {
		for _, model := range models {
			if err := guarded(func() error { return tx.Save(ctx, model(tx)) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// update makes a transaction, and returns what was delivered of it.
func (m *modelCheck) update(ctx context.Context, f func(tx *tracbus.ModelTransaction) error) ([]tracbus.Event, error) {
	tid, err := m.journal.Update(ctx, tracbus.Actor{Author: "tracbustest"}, f)
	if err == nil {
		err = m.journal.Wait(ctx, tid)
	}
	if err != nil || tid == 0 {
		return nil, err
	}
	var of []tracbus.Event
	for _, e := range m.after(0) {
		if e.About().TID == tid {
			of = append(of, e)
		}
	}
	return of, nil
}

// edit returns how a model is made that gives a resource a text: by a user who saw what the
// transaction itself is going to report of it, or else the latest event.
func (m *modelCheck) edit(r tracbus.Resource, text string) func(*tracbus.ModelTransaction) tracbus.Model {
	return func(tx *tracbus.ModelTransaction) tracbus.Model {
		if e, ok := tx.Pending(r); ok {
			if seen, err := tx.Realm(r.Realm).Event(e); err == nil {
				return m.config.Edit(seen, text)
			}
		}
		return m.config.Edit(m.seen(r), text)
	}
}

// create makes a new resource; the zero one if that fails, which was said.
func (m *modelCheck) create(ctx context.Context) tracbus.Resource {
	m.t.Helper()
	m.n++
	n := m.n
	events, err := m.save(ctx, func(*tracbus.ModelTransaction) tracbus.Model { return m.config.Create(n) })
	var created tracbus.Event
	for _, e := range events {
		if e.Kind() == tracbus.KindCreated {
			created = e
		}
	}
	if err != nil || created == nil || created.Resource().ID == "" {
		m.broken(promiseCreates, "Save of a new resource: the error was %v, and %d events were delivered: %s", err, len(events), listed(events))
		return tracbus.Resource{}
	}
	return created.Resource()
}

// field returns what an event says of the field.
func (m *modelCheck) field(e tracbus.Event) (now, was any, changed bool) {
	made, _, err := kept(e)
	if err != nil {
		return nil, nil, false
	}
	_, inNew := made.New[m.config.Field]
	was, inOld := made.Old[m.config.Field]
	return made.NewState()[m.config.Field], was, inNew || inOld
}

// listed shows events in short.
func listed(events []tracbus.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%s of %s", e.Kind(), e.Resource()))
	}
	return strings.Join(all, ", ")
}

// stored compares the tables with what an event says.
func (m *modelCheck) stored(ctx context.Context, p promise, r tracbus.Resource, now any) {
	m.t.Helper()
	if m.config.Read == nil {
		return
	}
	text, err := m.config.Read(ctx, m.db, r)
	if err != nil {
		m.broken(p, "%s: Read: %v", r, err)
	} else if said, _ := now.(string); said != text {
		m.broken(p, "%s: the event says that the field %q is %q, and the tables have %q", r, m.config.Field, fmt.Sprint(now), text)
	}
}

// dump returns the rows of the tables, in an order of its own.
func (m *modelCheck) dump(ctx context.Context) (all []string, err error) {
	for _, table := range m.config.Tables {
		rows, err := m.db.QueryContext(ctx, "SELECT * FROM "+table)
		if err != nil {
			return nil, err
		}
		columns, err := rows.Columns()
		if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		values, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				return nil, errors.Join(err, rows.Close())
			}
			all = append(all, fmt.Sprintf("%s %q", table, values))
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return all, nil
}

// same says what is different in the tables since they were dumped.
func (m *modelCheck) same(ctx context.Context, p promise, before []string, what string) {
	m.t.Helper()
	now, err := m.dump(ctx)
	if err != nil {
		m.broken(p, "%s: tables: %v", what, err)
		return
	}
	for _, row := range now {
		if !slices.Contains(before, row) {
			m.broken(p, "%s: the tables have the new row %.300s", what, row)
			return
		}
	}
	if len(now) != len(before) {
		m.broken(p, "%s: the tables have %d rows, and had %d", what, len(now), len(before))
	}
}
