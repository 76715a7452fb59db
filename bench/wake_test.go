package bench_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// polled is the way without anything that wakes.
const polled = "nothing wakes"

// waking measures what it costs writers that processes wake each other.
func waking(t *testing.T) *contest.Contest {
	s := durableServer(t, "postgresql")
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t, testserver.RedisOptions{}).Addr()})
	t.Cleanup(func() { _ = client.Close() })
	return &contest.Contest{
		About: "Writers of one process commit as fast as they can, and another journal of the database follows, with a listener, as another " +
			"process would. Both wake each other, or poll. Turns are many and short, and spreads are those of the middle half of them.",
		At: []int{32}, AtWhat: "writers", Units: []string{"commits/s"}, Against: polled, Half: true,
		Ways: []contest.Way{
			woken(t, s, polled, func(*tracker) tracbus.JournalConfig { return tracbus.JournalConfig{} }),
			woken(t, s, "LISTEN and NOTIFY", func(k *tracker) tracbus.JournalConfig { return tracbus.JournalConfig{Waker: k.waker(t)} }),
			woken(t, s, "Redis", func(*tracker) tracbus.JournalConfig {
				return tracbus.JournalConfig{Waker: tracbus.NewRedisWaker(client)}
			}),
		},
	}
}

func woken(t *testing.T, s *testdatabase.Server, name string, wakes func(*tracker) tracbus.JournalConfig) contest.Way {
	k := newTracker(t, s)
	config := wakes(k)
	there := tracbus.NewBus("bench")
	tracbus.On(there, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error { return nil })
	run(t, k.open(t, there, config))
	here := k.open(t, tracbus.NewBus("bench"), config)
	run(t, here)
	commit := k.recording(here)
	return contest.Way{Name: name, Run: func(ctx context.Context, writers int, long time.Duration) ([]float64, error) {
		pool(k.db, writers+4) // both journals, and what calls, have their own
		return rate(ctx, writers, long, commit)
	}}
}
