package bench_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// followerEnv has this program be a process that follows a journal.
const followerEnv = "TRACBUS_BENCH_FOLLOWER"

// followersOf measures what processes that follow the journal cost a writer.
func followersOf(t *testing.T, dialect string) *contest.Contest {
	s := durableServer(t, dialect)
	addr := testserver.Redis(t, testserver.RedisOptions{}).Addr()
	return &contest.Contest{
		About: "One writer commits as fast as it can, while other processes follow its journal, each with a listener. " +
			"Redis wakes them. “one process” is the least that a tracker of several processes has.",
		At: []int{1, 2, 4, 8}, AtWhat: "processes", Units: []string{"commits/s"}, Against: "one process", Plot: dialect == "postgresql",
		Ways: []contest.Way{
			followers(t, s, addr, "one process", func(int) int { return 1 }),
			followers(t, s, addr, "more processes", func(n int) int { return n }),
		},
	}
}

// followers starts the processes when they are wanted. They follow until the test ends:
// a process that is not written for sleeps.
func followers(t *testing.T, s *testdatabase.Server, redisAddr, name string, count func(at int) int) contest.Way {
	jobs := map[int]func(ctx context.Context) error{}
	return contest.Way{Name: name, Run: func(ctx context.Context, at int, long time.Duration) ([]float64, error) {
		if jobs[at] == nil {
			client := redis.NewClient(&redis.Options{Addr: redisAddr})
			t.Cleanup(func() { _ = client.Close() })
			k := newTracker(t, s)
			pool(k.db, 6)
			j := k.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{Waker: tracbus.NewRedisWaker(client)})
			for range count(at) {
				follower(t, follow{Dialect: s.Dialect, Driver: s.Driver, DSN: k.dsn, Redis: redisAddr})
			}
			run(t, j)
			jobs[at] = k.recording(j)
		}
		return rate(ctx, 1, long, jobs[at])
	}}
}

// follow is what such a process is told.
type follow struct {
	Dialect, Driver, DSN, Redis string
	Publishes                   bool // all changes, from the oldest on, as a durable consumer
}

// follower starts a process, and waits until it follows.
func follower(t *testing.T, f follow) (pid int) {
	orders, err := json.Marshal(f)
	require.NoError(t, err)
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(program, "-test.run=^TestReport$", "-test.timeout=5h")
	cmd.Env = append(os.Environ(), followerEnv+"="+string(orders))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // which ends with this process, however that ends
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := bufio.NewReader(stdout)
	t.Cleanup(func() {
		_ = stdin.Close()
		_, _ = said.WriteTo(new(strings.Builder))
		require.NoError(t, cmd.Wait())
	})
	line, err := said.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "following\n", line)
	return cmd.Process.Pid
}

// runFollower is such a process. It ends with its standard input.
func runFollower(t *testing.T, orders string) {
	var f follow
	require.NoError(t, json.Unmarshal([]byte(orders), &f))
	s := testdatabase.Server{Dialect: f.Dialect, Driver: f.Driver}
	client := redis.NewClient(&redis.Options{Addr: f.Redis})
	defer client.Close()
	bus := tracbus.NewBus("bench")
	tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error { return nil })
	if f.Publishes {
		p := tracbus.NewPublisher(client, tracbus.PublisherConfig{Logger: testkit.Quiet})
		defer p.Close()
		bus.All(tracbus.DurableConfig{FromOldest: true}.Durable("redis"), p)
	}
	db := s.Open(t, f.DSN)
	pool(db, 6)
	j, err := tracbus.OpenJournal(t.Context(), db, bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(f.Dialect), Logger: testkit.Quiet, Waker: tracbus.NewRedisWaker(client)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		cancel()
	}()
	fmt.Println("following")
	require.NoError(t, j.Run(ctx))
	require.NoError(t, j.Close(t.Context()))
	require.NoError(t, bus.Close(t.Context()))
}
