package bench_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// namesUnder measures what durable consumers in the process cost a writer.
func namesUnder(t *testing.T, dialect string) *contest.Contest {
	s := durableServer(t, dialect)
	return &contest.Contest{
		About: "One writer commits as fast as it can, in a process with durable consumers, each of which is called with each change. " +
			"“no consumer” is a process that follows the journal and has none.",
		At: []int{1, 10, 50}, AtWhat: "consumers", Units: []string{"commits/s"}, Against: "no consumer", Plot: dialect == "postgresql",
		Ways: []contest.Way{
			consumers(t, s, "no consumer", func(int) int { return 0 }),
			consumers(t, s, "durable consumers", func(n int) int { return n }),
		},
	}
}

func consumers(t *testing.T, s *testdatabase.Server, name string, count func(at int) int) contest.Way {
	jobs := map[int]func(ctx context.Context) error{}
	var handled, expected atomic.Int64
	return contest.Way{Name: name, Run: func(ctx context.Context, at int, long time.Duration) ([]float64, error) {
		if jobs[at] == nil {
			k, bus := newTracker(t, s), tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("bench")
			pool(k.db, 10)
			for n := range count(at) {
				tracbus.On(bus, tracbus.Durable(fmt.Sprint("name", n)), func(context.Context, tracbus.TicketChanged) error {
					handled.Add(1)
					return nil
				})
			}
			j := k.open(t, bus, tracbus.JournalConfig{})
			run(t, j)
			commit, names := k.recording(j), int64(count(at))
			jobs[at] = func(ctx context.Context) error {
				err := commit(ctx)
				if err == nil {
					expected.Add(names)
				}
				return err
			}
		}
		figures, err := rate(ctx, 1, long, jobs[at])
		for err == nil && handled.Load() < expected.Load() { // else the next way would bear the load of this one
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		return figures, err
	}}
}
