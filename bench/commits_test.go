package bench_test

import (
	"context"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

var writers = []int{1, 8, 32}

// commits compares a journaled commit with one to an outbox that a programmer writes.
func commits(t *testing.T, dialect string) *contest.Contest {
	s := durableServer(t, dialect)
	c := &contest.Contest{
		About: "A writer reads one of 1,000 tickets, changes it, and commits. Beside the ticket, “outbox” inserts one row with the " +
			"whole message into a table, by hand: nothing orders these rows, or brings them anywhere.",
		At: writers, AtWhat: "writers", Units: []string{"commits/s"}, Against: "outbox", Plot: dialect == "postgresql",
		Ways: []contest.Way{outbox(t, s), record(t, s, false), record(t, s, true), state(t, s), with(t, s)},
	}
	if dialect == "postgresql" {
		c.Ways = append(c.Ways, native(t, s, "a pgx.Tx, CommitWith", false), native(t, s, "the same, begun together with a statement", true))
	}
	c.Ways = append(c.Ways, limits(t, s)...)
	c.Ways = append(c.Ways, peers(t, s)...)
	return c
}

// committing is a way that stores an edit in a transaction which job commits.
func committing(name string, k *tracker, job func(ctx context.Context) error) contest.Way {
	return contest.Way{Name: name, Run: func(ctx context.Context, writers int, long time.Duration) ([]float64, error) {
		pool(k.db, writers)
		return rate(ctx, writers, long, job)
	}}
}

// outbox is by hand.
func outbox(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	insert := k.makeOutbox(t)
	return committing("outbox", k, func(ctx context.Context) error {
		return k.edit(ctx, func(tx transaction, e edit, before string) error {
			_, err := tx.ExecContext(ctx, insert, string(e.payload(before)))
			return err
		})
	})
}

// makeOutbox makes an outbox, and returns the statement that inserts into it.
func (k *tracker) makeOutbox(t *testing.T) (insert string) {
	k.exec(t, map[tracbus.Dialect]string{
		tracbus.SQLite:     "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT NOT NULL)",
		tracbus.PostgreSQL: "CREATE TABLE outbox (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload TEXT NOT NULL)",
		tracbus.MySQL:      "CREATE TABLE outbox (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, payload LONGTEXT NOT NULL)",
	}[k.dialect])
	return k.bind("INSERT INTO outbox (payload) VALUES (?)")
}

// edit stores an edit, and what more does, in a transaction.
func (k *tracker) edit(ctx context.Context, more func(tx transaction, e edit, before string) error) error {
	tx, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	e := anyEdit()
	before, err := k.write(ctx, tx, e)
	if err == nil {
		err = more(tx, e, before)
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}

// state is a journal that is told what the ticket is now, and finds out what happened.
func state(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	j := k.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{})
	return committing("Record of a State", k, func(ctx context.Context) error {
		_, err := j.Update(ctx, joe, func(tx *tracbus.ModelTransaction) error {
			e := anyEdit()
			before, err := k.write(ctx, tx.SQL(), e)
			if err != nil {
				return err
			}
			told := e.event(before)
			return tx.Record(ctx, tracbus.State{Of: told.Resource(), Values: told.Values, Change: told.Change})
		})
		return err
	})
}

// with is a journal whose rows are committed with a transaction of the application's.
func with(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	j := k.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{})
	return committing("CommitWith", k, func(ctx context.Context) error {
		tx, err := k.begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		e := anyEdit()
		before, err := k.write(ctx, tx, e)
		if err == nil {
			_, err = j.CommitWith(ctx, tx, joe, tx.Commit, e.event(before))
		}
		return err
	})
}

// record is a journal that is told what happened; followed says whether a listener is
// told of it meanwhile.
func record(t *testing.T, s *testdatabase.Server, followed bool) contest.Way {
	k, bus, name := newTracker(t, s), tracbus.NewBus("bench"), "Record"
	if followed {
		name = "Record, with Run and a listener"
		tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error { return nil })
	}
	j := k.open(t, bus, tracbus.JournalConfig{})
	if followed {
		run(t, j)
	}
	return contest.Way{Name: name, Run: func(ctx context.Context, writers int, long time.Duration) ([]float64, error) {
		pool(k.db, writers+2) // Run has its own
		return rate(ctx, writers, long, k.recording(j))
	}}
}
