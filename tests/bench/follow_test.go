package bench_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// BenchmarkFollow measures what following costs those who commit: a saturating writer
// whose process follows with one listener, or with other processes, as far as journals
// and pools of their own make them, against one that nobody follows. They are woken
// through Redis.
func BenchmarkFollow(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		b.Run(dialect, func(b *testing.B) {
			server := durableReadServer(b, dialect)
			rdb := redis.NewClient(&redis.Options{Addr: testserver.Redis(b, testserver.RedisOptions{}).Addr()})
			b.Cleanup(func() { _ = rdb.Close() })
			ways := []benchWay{followedWay(b, newBenchTracker(b, server, tracbus.JournalConfig{}), "alone")}
			for _, processes := range []int{1, 2, 8} {
				t := newBenchTracker(b, server, tracbus.JournalConfig{})
				for i := range processes {
					j := followBench(b, t, rdb)
					if i == 0 {
						t.journal = j
					}
				}
				ways = append(ways, followedWay(b, t, fmt.Sprint("followed", processes)))
			}
			for _, writers := range []int{1, 8} {
				b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { benchmarkWays(b, ways, writers) })
			}
		})
	}
}

func followedWay(b *testing.B, t *benchTracker, name string) benchWay {
	return benchWay{name, t, func(ctx context.Context, m benchEdit) error {
		_, err := t.update(ctx, m)
		return err
	}}
}

// followBench makes a process that follows a tracker's journal, with one listener.
func followBench(b *testing.B, t *benchTracker, rdb *redis.Client) *tracbus.Journal {
	pool := *t
	pool.db = t.reopen()
	bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("test")
	tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error { return nil })
	j := openBenchJournal(b, &pool, bus, tracbus.JournalConfig{Logger: testkit.Quiet, WakeRedis: rdb})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		require.NoError(b, <-ended)
	})
	return j
}
