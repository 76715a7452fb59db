package bench_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// costs counts what a change costs the database.
func costs(t *testing.T, dialect string) *contest.Contest {
	s := durableServer(t, dialect)
	units := []string{"bytes on disk"}
	if dialect == "postgresql" { // other drivers prepare a statement first, or send none
		units = append(units, "statements")
	}
	return &contest.Contest{
		About: "Edits are committed one by one, each after the one before was handled. Bytes are what the table and its indexes have grown by for a " +
			"change, over some thousand of them. Statements, on PostgreSQL, are all that the process sends but for BEGIN and COMMIT.",
		Units: units,
		Ways: []contest.Way{
			costOfOutbox(t, s), costOfJournal(t, s, "Record", false), costOfJournal(t, s, "Record, and a durable consumer of the process", true),
		},
	}
}

// counted opens a tracker's database anew, so that its statements are counted.
func (k *tracker) counted(t *testing.T, s *testdatabase.Server) *atomic.Int64 {
	var n atomic.Int64
	k.db = s.Hooked(t, k.dsn, func(_ context.Context, query string) error {
		if !strings.HasPrefix(query, "BEGIN") && !strings.HasPrefix(query, "COMMIT") {
			n.Add(1)
		}
		return nil
	})
	pool(k.db, 4)
	return &n
}

// size returns how many bytes a table and its indexes have.
func (k *tracker) size(ctx context.Context, table string) (bytes float64, err error) {
	query := map[tracbus.Dialect]string{
		tracbus.PostgreSQL: "SELECT pg_total_relation_size('" + table + "')",
		tracbus.MySQL: "SELECT data_length + index_length FROM information_schema.tables WHERE table_schema = database() AND table_name = '" +
			table + "'",
		tracbus.SQLite: "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)",
	}[k.dialect]
	if k.dialect == tracbus.MySQL {
		if _, err := k.db.ExecContext(ctx, "ANALYZE TABLE "+table); err != nil {
			return 0, err
		}
	}
	err = k.db.QueryRowContext(ctx, query).Scan(&bytes)
	return bytes, err
}

// costing is a way that counts while it commits.
func costing(name, table string, k *tracker, n *atomic.Int64, commit func(ctx context.Context) error) contest.Way {
	return contest.Way{Name: name, Run: func(ctx context.Context, _ int, long time.Duration) ([]float64, error) {
		changes := 20 * max(1, int(long.Milliseconds())/10) // 2,000 in a second's turn
		before, err := k.size(ctx, table)
		if err != nil {
			return nil, err
		}
		began := n.Load()
		for range changes {
			if err := commit(ctx); err != nil {
				return nil, err
			}
		}
		statements := float64(n.Load()-began) / float64(changes)
		after, err := k.size(ctx, table)
		figures := []float64{(after - before) / float64(changes), statements}
		if k.dialect != tracbus.PostgreSQL {
			figures = figures[:1]
		}
		return figures, err
	}}
}

func costOfOutbox(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	insert := k.makeOutbox(t)
	n := k.counted(t, s)
	return costing("outbox by hand", "outbox", k, n, func(ctx context.Context) error {
		return k.edit(ctx, func(tx transaction, e edit, before string) error {
			_, err := tx.ExecContext(ctx, insert, string(e.payload(before)))
			return err
		})
	})
}

func costOfJournal(t *testing.T, s *testdatabase.Server, name string, durable bool) contest.Way {
	k := newTracker(t, s)
	n := k.counted(t, s)
	bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("bench")
	handled := make(chan struct{}, 1)
	if durable {
		tracbus.On(bus, tracbus.Durable("name"), func(context.Context, tracbus.TicketChanged) error {
			handled <- struct{}{}
			return nil
		})
	}
	j := k.open(t, bus, tracbus.JournalConfig{})
	if durable {
		run(t, j)
	}
	commit := k.recording(j)
	return costing(name, "journal_change", k, n, func(ctx context.Context) error {
		if err := commit(ctx); err != nil || !durable {
			return err
		}
		select {
		case <-handled:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}
