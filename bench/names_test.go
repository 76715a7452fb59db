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

// namesUnder measures what durable consumers in the process cost a writer, and whether they
// keep up with it.
func namesUnder(t *testing.T, dialect string) *contest.Contest {
	s := durableServer(t, dialect)
	return &contest.Contest{
		About: "One writer commits as fast as it can, in a process with durable consumers, each of which is called with each change. " +
			"“no consumer” is a process that follows the journal and has none. commits/s are counted until the writer stops. What the " +
			"consumers have not handled by then is “behind”: so many changes for each of them, on average. They catch up before the next turn: " +
			"“handled/s by each” is the number of changes, divided by the time from the first commit until all have handled the last one.",
		At: []int{1, 10, 50}, AtWhat: "consumers", Units: []string{"commits/s", "changes handled/s by each", "changes behind"}, Against: "no consumer",
		Plot: dialect == "postgresql",
		Ways: []contest.Way{
			consumers(t, s, "no consumer", func(int) int { return 0 }),
			consumers(t, s, "durable consumers", func(n int) int { return n }),
		},
	}
}

// consumed is a process with durable consumers.
type consumed struct {
	commit             func(ctx context.Context) error
	names              int64
	committed, handled atomic.Int64 // by the writer, and by all consumers
}

func consumers(t *testing.T, s *testdatabase.Server, name string, count func(at int) int) contest.Way {
	processes := map[int]*consumed{}
	return contest.Way{Name: name, Run: func(ctx context.Context, at int, long time.Duration) ([]float64, error) {
		p := processes[at]
		if p == nil {
			p = consume(t, s, count(at))
			processes[at] = p
		}
		return p.measure(ctx, long)
	}}
}

func consume(t *testing.T, s *testdatabase.Server, names int) *consumed {
	k, bus := newTracker(t, s), tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("bench")
	pool(k.db, 10)
	p := &consumed{names: int64(names)}
	for n := range names {
		last := int64(0)
		tracbus.On(bus, tracbus.Durable(fmt.Sprint("name", n)), func(_ context.Context, e tracbus.TicketChanged) error {
			if e.TID > last { // what is told again was handled before
				last = e.TID
				p.handled.Add(1)
			}
			return nil
		})
	}
	j := k.open(t, bus, tracbus.JournalConfig{})
	run(t, j)
	commit := k.recording(j)
	p.commit = func(ctx context.Context) error {
		err := commit(ctx)
		if err == nil {
			p.committed.Add(1)
		}
		return err
	}
	return p
}

// measure commits, and waits until all is handled: else the next way would bear the load of
// this one.
func (p *consumed) measure(ctx context.Context, long time.Duration) ([]float64, error) {
	began, before := time.Now(), p.committed.Load()
	commits, err := rate(ctx, 1, long, p.commit)
	if err != nil || p.names == 0 {
		return append(commits, contest.None, contest.None), err
	}
	left := func() int64 { return p.committed.Load()*p.names - p.handled.Load() }
	behind := float64(left()) / float64(p.names)
	for left() > 0 {
		if err := idle(ctx, time.Millisecond); err != nil {
			return nil, err
		}
	}
	handled := float64(p.committed.Load()-before) / time.Since(began).Seconds()
	return append(commits, handled, behind), nil
}
