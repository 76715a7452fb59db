package tracbustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tracbustest/internal/compare"
	"github.com/tracbus/tracbus/tracbustest/internal/hostile"
)

// check runs the cases, of which each leaves the resource with a text that it knows.
func (m *modelCheck) check(ctx context.Context) {
	m.t.Helper()
	r, other, third := m.create(ctx), m.create(ctx), m.create(ctx)
	if r.ID == "" || other.ID == "" || third.ID == "" {
		return // it was said
	}
	for _, f := range []func(context.Context, tracbus.Resource){m.once, m.nothing, m.twice, m.conflict, m.rolledBack, m.savepoints, m.texts, m.ended} {
		f(ctx, r)
	}
	m.undone(ctx, third) // whose version may be a new one, of which no event tells
	m.othersDoNotWait(ctx, r, other)
	m.together(ctx, r, other)
	m.history(ctx, r, other)
	m.deleted(ctx, other)
}

// set gives the resource a text. It returns false if that fails, which was said.
func (m *modelCheck) set(ctx context.Context, p promise, r tracbus.Resource, text string) bool {
	m.t.Helper()
	if _, err := m.save(ctx, m.edit(r, text)); err != nil {
		m.broken(p, "%s: Save of an edit to %q: %v", r, text, err)
		return false
	}
	return true
}

// one returns the only event of a resource.
func (m *modelCheck) one(p promise, r tracbus.Resource, events []tracbus.Event, err error) tracbus.Event {
	m.t.Helper()
	var of []tracbus.Event
	for _, e := range events {
		if e.Resource() == r {
			of = append(of, e)
		}
	}
	if err != nil || len(of) != 1 {
		m.broken(p, "%s: the error was %v, and %d events were delivered, expected one: %s", r, err, len(of), listed(events))
		return nil
	}
	return of[0]
}

func (m *modelCheck) once(ctx context.Context, r tracbus.Resource) {
	m.t.Helper()
	before, _, _ := m.field(m.seen(r))
	for _, text := range []string{"one", "two"} {
		events, err := m.save(ctx, m.edit(r, text))
		e := m.one(promiseTrueOld, r, events, err)
		if e == nil {
			return
		}
		now, was, changed := m.field(e)
		if d := compare.Difference(before, was); !changed || d != "" && !(before == nil && was == "") {
			m.broken(promiseTrueOld, "%s, to %q: the entry has %q in Old, and before it was %q", called(e), text, fmt.Sprint(was), fmt.Sprint(before))
		}
		m.stored(ctx, promiseTrueOld, r, now)
		before = now
	}
}

func (m *modelCheck) nothing(ctx context.Context, r tracbus.Resource) {
	m.t.Helper()
	if !m.set(ctx, promiseNothing, r, "the same") {
		return
	}
	before, err := m.dump(ctx)
	if err != nil {
		m.broken(promiseNothing, "tables: %v", err)
		return
	}
	events, err := m.save(ctx, m.edit(r, "the same"))
	if err != nil || len(events) > 0 {
		m.broken(promiseNothing, "%s: Save of the text that it has: the error was %v, and delivered was: %s", r, err, listed(events))
		return
	}
	m.same(ctx, promiseNothing, before, "Save of the text that it has")
}

func (m *modelCheck) undone(ctx context.Context, r tracbus.Resource) {
	m.t.Helper()
	if !m.set(ctx, promiseUndone, r, "as before") {
		return
	}
	events, err := m.save(ctx, m.edit(r, "for a moment"), m.edit(r, "as before"))
	if err != nil {
		m.broken(promiseUndone, "%s: %v", r, err)
	}
	for _, e := range events {
		if now, was, changed := m.field(e); e.Resource() == r && changed {
			m.broken(promiseUndone, "%s says that the field %q was %q and is %q", called(e), m.config.Field, fmt.Sprint(was), fmt.Sprint(now))
		}
	}
	m.stored(ctx, promiseUndone, r, "as before")
}

func (m *modelCheck) twice(ctx context.Context, r tracbus.Resource) {
	m.t.Helper()
	if !m.set(ctx, promiseTwice, r, "first") {
		return
	}
	events, err := m.save(ctx, m.edit(r, "second"), m.edit(r, "third"))
	if e := m.one(promiseTwice, r, events, err); e != nil {
		if now, was, _ := m.field(e); now != "third" || was != "first" {
			m.broken(promiseTwice, "%s says that the field %q was %q and is %q, expected \"first\" and \"third\"", called(e), m.config.Field, fmt.Sprint(was), fmt.Sprint(now))
		}
		m.stored(ctx, promiseTwice, r, "third")
	}
}

func (m *modelCheck) conflict(ctx context.Context, r tracbus.Resource) {
	m.t.Helper()
	if !m.config.Conflicts {
		return
	}
	seen := m.seen(r)
	if !m.set(ctx, promiseConflict, r, "of the faster one") {
		return
	}
	before, err := m.dump(ctx)
	if err != nil {
		m.broken(promiseConflict, "tables: %v", err)
	}
	events, err := m.save(ctx, func(*tracbus.ModelTransaction) tracbus.Model { return m.config.Edit(seen, "of the slower one") })
	if !errors.Is(err, tracbus.ErrConflict) {
		m.broken(promiseConflict, "%s: the edit was made from tid %d, and tid %d is the latest; the error was %v, and delivered was: %s",
			r, seen.About().TID, m.seen(r).About().TID, err, listed(events))
	}
	m.same(ctx, promiseConflict, before, "after the conflict")
}

func (m *modelCheck) rolledBack(ctx context.Context, r tracbus.Resource) {
	m.t.Helper()
	if !m.set(ctx, promiseRollback, r, "before") {
		return
	}
	before, err := m.dump(ctx)
	if err != nil {
		m.broken(promiseRollback, "tables: %v", err)
		return
	}
	n := m.delivered()
	if _, err = m.update(ctx, func(tx *tracbus.ModelTransaction) error {
		return errors.Join(guarded(func() error { return tx.Save(ctx, m.edit(r, "rolled back")(tx)) }), errOnPurpose)
	}); !errors.Is(err, errOnPurpose) || !errors.Is(err, tracbus.ErrNotCommitted) {
		m.broken(promiseRollback, "%s: the function of Update failed, and its error was %v", r, err)
	}
	m.same(ctx, promiseRollback, before, "after a rollback")
	if !m.set(ctx, promiseRollback, r, "after") { // what comes before it would have come by now
		return
	}
	if events := m.after(n); len(events) > 1 {
		m.broken(promiseRollback, "%s: after a rollback and a change, delivered was: %s", r, listed(events))
	}
}

// savepoints edits the resource after a savepoint that is rolled back to, and after one that
// is released.
func (m *modelCheck) savepoints(ctx context.Context, r tracbus.Resource) {
	m.t.Helper()
	if !m.set(ctx, promiseNested, r, "before all") {
		return
	}
	for _, c := range []struct{ end, want string }{
		{"ROLLBACK TO SAVEPOINT tracbustest_inner", "kept"},
		{"RELEASE SAVEPOINT tracbustest_inner", "nested"},
	} {
		before, _, _ := m.field(m.seen(r))
		events, err := m.update(ctx, func(tx *tracbus.ModelTransaction) error {
			save := func(text string) error {
				return guarded(func() error { return tx.Save(ctx, m.edit(r, text)(tx)) })
			}
			exec := func(statement string) error { _, err := tx.SQL().ExecContext(ctx, statement); return err }
			for _, step := range []func() error{
				func() error { return save("kept") },
				func() error { return exec("SAVEPOINT tracbustest_inner") },
				func() error { return save("nested") },
				func() error { return exec(c.end) },
			} {
				if err := step(); err != nil {
					return err
				}
			}
			return nil
		})
		e := m.one(promiseNested, r, events, err)
		if e == nil {
			return
		}
		if now, was, _ := m.field(e); now != c.want || was != before {
			m.broken(promiseNested, "after %s, %s says that the field %q was %q and is %q; expected %q and %q", c.end, called(e), m.config.Field, fmt.Sprint(was), fmt.Sprint(now), fmt.Sprint(before), c.want)
		}
		m.stored(ctx, promiseNested, r, c.want)
		if !m.set(ctx, promiseNested, r, "between") {
			return
		}
	}
}

func (m *modelCheck) texts(ctx context.Context, r tracbus.Resource) {
	m.t.Helper()
	for _, text := range hostile.Texts {
		events, err := m.save(ctx, m.edit(r, text))
		switch {
		case errors.As(err, new(*panicked)) || isSyntax(err):
			m.broken(promiseAnyText, "%s: Save of an edit to %q: %v", r, text, err)
		case err != nil:
			m.t.Logf("model: refused, which is no failure: an edit to %q: %v", text, err)
		default:
			for _, e := range events {
				if e.Resource() == r {
					now, _, _ := m.field(e)
					m.stored(ctx, promiseAnyText, r, now)
				}
			}
		}
	}
}

// isSyntax says whether a database did not understand a statement.
func isSyntax(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "syntax") || strings.Contains(err.Error(), "unrecognized token"))
}

// ended saves under a context that ends when the model looks at it.
func (m *modelCheck) ended(ctx context.Context, r tracbus.Resource) {
	m.t.Helper()
	before, err := m.dump(ctx)
	if err != nil {
		m.broken(promiseEnds, "tables: %v", err)
		return
	}
	returned := make(chan error, 1)
	go func() {
		over, cancel := context.WithCancel(ctx)
		defer cancel()
		_, err := m.update(ctx, func(tx *tracbus.ModelTransaction) error {
			model := m.edit(r, "in a context that has ended")(tx)
			cancel()
			return errors.Join(guarded(func() error { return tx.Save(over, model) }), errOnPurpose)
		})
		returned <- err
	}()
	select {
	case err := <-returned:
		if errors.As(err, new(*panicked)) {
			m.broken(promiseEnds, "%s: %v", r, err)
		}
	case <-time.After(soon):
		m.broken(promiseEnds, "%s: Save has not returned %v after its context had ended", r, soon)
		<-returned
	}
	m.same(ctx, promiseEnds, before, "after a context had ended")
}

// soon is how long something may take on a busy machine that takes no time.
const soon = 10 * time.Second

func (m *modelCheck) deleted(ctx context.Context, r tracbus.Resource) {
	m.t.Helper()
	if m.config.Delete == nil {
		return
	}
	seen := m.seen(r)
	before, _, _ := m.field(seen)
	events, err := m.update(ctx, func(tx *tracbus.ModelTransaction) error {
		return guarded(func() error { return tx.Delete(ctx, m.config.Delete(seen)) })
	})
	e := m.one(promiseDeletes, r, events, err)
	if e == nil {
		return
	}
	now, _, _ := m.field(e)
	if e.Kind() != tracbus.KindDeleted || compare.Difference(before, now) != "" {
		m.broken(promiseDeletes, "%s is of the kind %q, and has %q in the field %q; before it was %q", called(e), e.Kind(), fmt.Sprint(now), m.config.Field, fmt.Sprint(before))
	}
	events, err = m.save(ctx, func(*tracbus.ModelTransaction) tracbus.Model { return m.config.Edit(seen, "after it was deleted") })
	switch {
	case errors.Is(err, tracbus.ErrNotFound) || errors.Is(err, tracbus.ErrConflict):
	case err == nil && len(events) > 0 && events[0].Kind() == tracbus.KindCreated:
	default:
		m.broken(promiseDeletes, "an edit of %s after it was deleted: the error was %v, and delivered was: %s", r, err, listed(events))
	}
}
