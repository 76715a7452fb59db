package bench_test

import (
	"context"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
)

// growth measures what a journal's size costs.
func growth(t *testing.T, dialect string) *contest.Contest {
	g := &grown{tracker: newTracker(t, durableServer(t, dialect))}
	pool(g.db, 4)
	g.journal = g.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{})
	return &contest.Contest{
		About: "One journal, which the database fills to so many changes. “commit” is an edit by one writer, “Since” reads the next 100 " +
			"changes from anywhere, “Prune” deletes the first 1,000. The last column is how many times as long it takes at the last size as at the first.",
		At: []int{10_000, 100_000, 1_000_000, 3_000_000}, AtWhat: "changes", Units: []string{" µs"}, Grows: true, Plot: true, Log: true,
		Ways: []contest.Way{
			g.way("commit", g.recording(g.journal)),
			g.way("Since, 100 changes", g.since),
			g.way("Status", func(ctx context.Context) error { _, err := g.journal.Status(ctx); return err }),
			g.way("Prune of 1,000", g.prune),
		},
	}
}

// grown is a tracker whose journal grows, and loses its first changes.
type grown struct {
	*tracker
	journal *tracbus.Journal
	began   time.Time // a call of Prune
}

// way measures how long a job takes at a size.
func (g *grown) way(name string, job func(ctx context.Context) error) contest.Way {
	return contest.Way{Name: name, Run: func(ctx context.Context, at int, long time.Duration) ([]float64, error) {
		if err := g.fill(ctx, g.journal, int64(at)); err != nil {
			return nil, err
		}
		began, n := time.Now(), 0
		for n == 0 || time.Since(began) < long && n < 10_000 {
			if err := job(ctx); err != nil {
				return nil, err
			}
			n++
			if name == "Prune of 1,000" {
				break // each makes the journal shorter
			}
		}
		if name == "Prune of 1,000" {
			began = g.began
		}
		return []float64{float64(time.Since(began).Microseconds()) / float64(n)}, nil
	}}
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

func (g *grown) prune(ctx context.Context) error {
	var have int64
	if err := g.db.QueryRowContext(ctx, "SELECT count(*) FROM journal_change").Scan(&have); err != nil {
		return err
	}
	g.began = time.Now() // counting is no part of it
	_, err := g.journal.Prune(ctx, tracbus.Retention{KeepLast: max(1, have-1000)})
	return err
}
