package bench_test

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// growth measures what a journal's size costs.
func growth(t *testing.T, dialect string) *contest.Contest {
	s := largeServer(t, dialect)
	sizes := map[int]*grown{}
	way := func(name string, job func(g *grown, ctx context.Context) error) contest.Way {
		return contest.Way{Name: name, Run: func(ctx context.Context, at int, long time.Duration) ([]float64, error) {
			g := sizes[at]
			if g == nil {
				g = &grown{tracker: newTracker(t, s)}
				pool(g.db, 4)
				g.journal = g.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{})
				g.commit = g.recording(g.journal)
				if err := g.fill(ctx, g.journal, int64(at)); err != nil {
					return nil, err
				}
				if err := g.mark(ctx); err != nil {
					return nil, err
				}
				sizes[at] = g
			}
			return g.measure(ctx, long, job)
		}}
	}
	about := "Journals of a server, which the database has filled to so many changes, take turns. “commit” is an edit by one writer, “Since” reads the next 100 " +
		"changes from anywhere, “History” reads a ticket's 100 changes, which are spread over the last tenth of the journal, “open” is OpenJournal, and Close, " +
		"“Prune” deletes the first 1,000. The last column is how many times as long it takes at the last size as at the first."
	switch dialect {
	case "postgresql":
		about += " The server writes with its default durability, but has shared_buffers=1GB and max_wal_size=4GB, as one that is set up for a large journal."
	case "mysql":
		about += " The server writes with its default durability, but has innodb_buffer_pool_size=2G and innodb_log_file_size=512M, as one that is set up for a large journal."
	}
	var notes []string
	if dialect == "postgresql" {
		notes = append(notes, "The first Prune of a journal that was never pruned counts what it keeps, and takes longer by that. It falls in the turn "+
			"that is not counted.")
	}
	return &contest.Contest{
		About: about, Notes: notes,
		At: []int{10_000, 100_000, 1_000_000, 3_000_000}, AtWhat: "changes", Units: []string{" µs"}, Grows: true, Plot: dialect == "postgresql", Log: true,
		Ways: []contest.Way{
			way("commit", func(g *grown, ctx context.Context) error { return g.commit(ctx) }),
			way("Since, 100 changes", (*grown).since),
			way("History, 100 changes", (*grown).history),
			way("open", (*grown).reopen),
			way("Status", func(g *grown, ctx context.Context) error { _, err := g.journal.Status(ctx); return err }),
			way("Prune of 1,000", (*grown).prune),
		},
	}
}

// largeServer is one with memory for what is read, as it has that is set up for a large
// journal.
func largeServer(t *testing.T, dialect string) *testdatabase.Server {
	switch dialect {
	case "postgresql":
		options := testserver.PostgresOptions{Durable: true, Args: []string{"-c", "shared_buffers=1GB", "-c", "max_wal_size=4GB"}}
		return &testdatabase.Server{Dialect: dialect, Driver: "pgx", Postgres: testserver.Postgres(t, options)}
	case "mysql":
		options := testserver.MariaDBOptions{Durable: true, Args: []string{"--innodb-buffer-pool-size=2G", "--innodb-log-file-size=512M"}}
		return &testdatabase.Server{Dialect: dialect, Driver: "mysql", MariaDB: testserver.MariaDB(t, options)}
	}
	return testdatabase.New(t, dialect)
}

// grown is a tracker whose journal has a size.
type grown struct {
	*tracker
	journal *tracbus.Journal
	commit  func(ctx context.Context) error
	began   time.Time // a call, if what prepares it is no part of it
}

// measure returns how many microseconds a job takes.
func (g *grown) measure(ctx context.Context, long time.Duration, job func(g *grown, ctx context.Context) error) ([]float64, error) {
	began, n := time.Now(), 0
	g.began = time.Time{}
	for n == 0 || time.Since(began) < long && g.began.IsZero() {
		if err := job(g, ctx); err != nil {
			return nil, err
		}
		n++
	}
	if !g.began.IsZero() {
		began = g.began
	}
	return []float64{float64(time.Since(began).Microseconds()) / float64(n)}, nil
}

func (g *grown) since(ctx context.Context) error {
	first, last, err := g.ends(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, err := range g.journal.Since(ctx, first+mathrand.Int64N(max(1, last-first-100))) {
		if err != nil {
			return err
		}
		if n++; n == 100 {
			break
		}
	}
	return nil
}

// marked is a ticket that has 100 changes.
const marked = "1000001"

// mark makes it of changes of others, far enough from the first ones that none is pruned.
func (g *grown) mark(ctx context.Context) error {
	first, last, err := g.ends(ctx)
	apart := (last - first + 1) / 1000
	for i := range int64(100) {
		if err != nil {
			return err
		}
		_, err = g.db.ExecContext(ctx, g.bind("UPDATE journal_change SET id = ? WHERE tid = ?"), marked, last-i*apart)
	}
	return err
}

func (g *grown) history(ctx context.Context) error {
	n := 0
	for _, err := range g.journal.History(ctx, tracbus.Resource{Realm: tracbus.RealmTicket, ID: marked}) {
		if err != nil {
			return err
		}
		n++
	}
	if n != 100 {
		return fmt.Errorf("a history of %d changes, expected 100", n)
	}
	return nil
}

func (g *grown) reopen(ctx context.Context) error {
	bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("bench")
	j, err := tracbus.OpenJournal(ctx, g.db, bus, tracbus.JournalConfig{Dialect: g.dialect, Logger: testkit.Quiet})
	if err != nil {
		return err
	}
	return errors.Join(j.Close(ctx), bus.Close(ctx))
}

func (g *grown) prune(ctx context.Context) error {
	var have int64
	if err := g.db.QueryRowContext(ctx, "SELECT count(*) FROM journal_change").Scan(&have); err != nil {
		return err
	}
	g.began = time.Now() // counting is no part of it, and one call is enough: each makes the journal shorter
	_, err := g.journal.Prune(ctx, tracbus.Retention{KeepLast: max(1, have-1000)})
	return err
}
