package bench_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testserver"
)

// memory measures what a process takes of it.
func memory(t *testing.T) *contest.Contest {
	s := durableServer(t, "postgresql")
	server := testserver.Redis(t, testserver.RedisOptions{})
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	return &contest.Contest{
		About: "The most memory that a process has had until then, as Linux counts it (VmHWM), all of the program included: a process that " +
			"follows a journal on PostgreSQL and is idle, and one that publishes a backlog of a million changes on Redis.",
		Units: []string{"MB"},
		Ways: []contest.Way{
			residents(t, "a process that is idle", func(ctx context.Context, k *tracker, long time.Duration) (int, error) {
				pid := follower(t, follow{Dialect: s.Dialect, Driver: s.Driver, DSN: k.dsn, Redis: server.Addr()})
				return pid, idle(ctx, long)
			}, newTracker(t, s)),
			residents(t, "a process with a backlog of a million", func(ctx context.Context, k *tracker, long time.Duration) (int, error) {
				j := k.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{})
				want := backlog(long, 1_000_000)
				if err := k.fill(ctx, j, want); err != nil {
					return 0, err
				}
				pid := follower(t, follow{Dialect: s.Dialect, Driver: s.Driver, DSN: k.dsn, Redis: server.Addr(), Publishes: true})
				for {
					status, err := j.Status(ctx)
					if err != nil {
						return 0, err
					}
					if len(status.Consumers) == 1 && status.Consumers[0].Lag == 0 {
						return pid, nil
					}
					if err := idle(ctx, 100*time.Millisecond); err != nil {
						return 0, err
					}
				}
			}, newTracker(t, s)),
		},
	}
}

// residents is a way that starts a process, once, and says how much memory it has had.
func residents(t *testing.T, name string, start func(ctx context.Context, k *tracker, long time.Duration) (pid int, err error), k *tracker) contest.Way {
	t.Helper()
	started := 0
	return contest.Way{Name: name, Run: func(ctx context.Context, _ int, long time.Duration) ([]float64, error) {
		if long < time.Second && os.Getenv(reportEnv) != "" {
			return []float64{0}, nil // the turn that does not count
		}
		if started == 0 {
			pid, err := start(ctx, k, long)
			if err != nil {
				return nil, err
			}
			started = pid
		}
		mb, err := peak(started)
		return []float64{mb}, err
	}}
}

// idle waits.
func idle(ctx context.Context, long time.Duration) error {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// peak reads how many MB a process has had at most.
func peak(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(kb), " kB"), 64)
			return n / 1000, err
		}
	}
	return 0, fmt.Errorf("process %d: expected a line VmHWM in its status", pid)
}
