package bench_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// costs counts what a change costs the database.
func costs(t *testing.T, dialect string) *contest.Contest {
	s := durableServer(t, dialect)
	about := "Edits are committed one by one. Bytes are what the table and its indexes have grown by for a change, over some thousand of them: each of " +
		"a ticket with fifteen fields, of which three change, and with a comment of 13 characters. The outbox stores the same values as one text."
	units := []string{"bytes on disk"}
	ways := []contest.Way{sizeOfOutbox(t, s), sizeOfJournal(t, s)}
	if dialect == "postgresql" { // other drivers prepare a statement first, or send none
		about += " Statements are all that the process sends for a change, BEGIN and COMMIT among them, from the one until what it has is stored: " +
			"a TicketEdit sets the milestone of one of Trac's tickets, with a comment. With a durable consumer, it is waited until that has handled " +
			"the change and its cursor is stored."
		units = append(units, "statements")
		ways = append(ways, statementsOfOutbox(t, s), statementsOfRecord(t, s), statementsOfTicketEdit(t, s, false), statementsOfTicketEdit(t, s, true))
	}
	return &contest.Contest{About: about, Units: units, Ways: ways}
}

// size returns how many bytes a table and its indexes have.
func (k *tracker) size(ctx context.Context, table string) (bytes float64, err error) {
	query := map[tracbus.Dialect]string{
		tracbus.PostgreSQL: "SELECT pg_total_relation_size('" + table + "')",
		tracbus.MySQL: "SELECT data_length + index_length FROM information_schema.tables WHERE table_schema = database() AND table_name = '" +
			table + "'",
		tracbus.SQLite: "SELECT sum(pgsize) FROM dbstat WHERE name LIKE '" + table + "%'",
	}[k.dialect]
	if k.dialect == tracbus.MySQL {
		if _, err := k.db.ExecContext(ctx, "ANALYZE TABLE "+table); err != nil {
			return 0, err
		}
	}
	err = k.db.QueryRowContext(ctx, query).Scan(&bytes)
	return bytes, err
}

// shortComment is as long as that of the changes whose bytes were counted before.
const shortComment = "It was empty."

// full is the event of an edit with all fields.
func (e edit) full(before string) tracbus.TicketChanged {
	event := ticket(e.id)
	event.Change = tracbus.Change{Comment: shortComment}
	event.Values["milestone"], event.New["milestone"], event.Old["milestone"] = e.milestone, e.milestone, before
	return event
}

// growing is a way that looks how much a table grows. A turn commits so many that the steps
// in which a database takes room are small against it.
func growing(name, table string, k *tracker, commit func(ctx context.Context) error) contest.Way {
	return contest.Way{Name: name, Run: func(ctx context.Context, _ int, long time.Duration) ([]float64, error) {
		changes := 200 * max(1, int(long.Milliseconds())/10) // 20,000 in a second's turn
		before, err := k.size(ctx, table)
		if err != nil {
			return nil, err
		}
		for range changes {
			if err := commit(ctx); err != nil {
				return nil, err
			}
		}
		after, err := k.size(ctx, table)
		figures := []float64{(after - before) / float64(changes), contest.None}
		if k.dialect != tracbus.PostgreSQL {
			figures = figures[:1]
		}
		return figures, err
	}}
}

func sizeOfOutbox(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	insert := k.makeOutbox(t)
	return growing("a row of an outbox", "outbox", k, func(ctx context.Context) error {
		return k.edit(ctx, func(tx transaction, e edit, before string) error {
			event := e.full(before)
			text, err := json.Marshal(map[string]any{
				"id": e.id, "author": joe.Author, "comment": shortComment, "time": time.Now().UnixMicro(), "values": event.Values, "old": event.Old, "new": event.New,
			})
			if err == nil {
				_, err = tx.ExecContext(ctx, insert, string(text))
			}
			return err
		})
	})
}

func sizeOfJournal(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	j := k.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{})
	return growing("a change of the journal", "journal_change", k, func(ctx context.Context) error {
		_, err := j.Update(ctx, joe, func(tx *tracbus.ModelTransaction) error {
			e := anyEdit()
			before, err := k.write(ctx, tx.SQL(), e)
			if err != nil {
				return err
			}
			return tx.Record(ctx, e.full(before))
		})
		return err
	})
}

// counting is a way that counts the statements of a commit.
func counting(name string, n *atomic.Int64, commit func(ctx context.Context) error) contest.Way {
	return contest.Way{Name: name, Run: func(ctx context.Context, _ int, long time.Duration) ([]float64, error) {
		changes := 5 * max(1, int(long.Milliseconds())/10) // 500 in a second's turn
		began := n.Load()
		for range changes {
			if err := commit(ctx); err != nil {
				return nil, err
			}
		}
		return []float64{contest.None, float64(n.Load()-began) / float64(changes)}, nil
	}}
}

// counted opens a tracker's database again, so that its statements are counted.
func (k *tracker) counted(t *testing.T, s *testdatabase.Server) *atomic.Int64 {
	var n atomic.Int64
	k.db = s.Hooked(t, k.dsn, func(context.Context, string) error {
		n.Add(1)
		return nil
	})
	pool(k.db, 4)
	return &n
}

func statementsOfOutbox(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	insert := k.makeOutbox(t)
	n := k.counted(t, s)
	return counting("outbox by hand", n, func(ctx context.Context) error {
		n.Add(2) // BEGIN and COMMIT are calls of the driver
		return k.edit(ctx, func(tx transaction, e edit, before string) error {
			_, err := tx.ExecContext(ctx, insert, string(e.payload(before)))
			return err
		})
	})
}

func statementsOfRecord(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	n := k.counted(t, s)
	return counting("Record", n, k.recording(k.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{})))
}

func statementsOfTicketEdit(t *testing.T, s *testdatabase.Server, durable bool) contest.Way {
	name, k := "TicketEdit", newTrac(t, s)
	watch := k.db
	n := k.counted(t, s)
	bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("bench")
	if durable {
		name = "TicketEdit, and a durable consumer of the process"
		tracbus.On(bus, tracbus.Durable("name"), func(context.Context, tracbus.TicketChanged) error { return nil })
	}
	j := k.open(t, bus, tracbus.JournalConfig{Realms: []tracbus.JournalRealm{trac.Tickets{}}})
	if durable {
		run(t, j)
	}
	return counting(name, n, func(ctx context.Context) error {
		e := anyEdit()
		tid, err := j.Update(ctx, joe, func(tx *tracbus.ModelTransaction) error {
			return tx.Save(ctx, trac.TicketEdit{ID: e.id, Set: tracbus.Fields{"milestone": e.milestone}, Comment: comment})
		})
		for stored := int64(0); err == nil && durable && stored < tid; { // by statements that do not count
			if err = watch.QueryRowContext(ctx, "SELECT max(tid) FROM journal_consumer").Scan(&stored); err == nil && stored < tid {
				err = idle(ctx, time.Millisecond)
			}
		}
		return err
	})
}
