package bench_test

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// publishing measures how many messages a second go to Redis.
func publishing(t *testing.T, all bool) *contest.Contest {
	config := tracbus.PublisherConfig{FullNewValues: all}
	server := testserver.Redis(t, testserver.RedisOptions{})
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	var events []tracbus.Event
	for id := range 1000 {
		events = append(events, ticket(int64(id+1)))
	}
	var messages []ready
	for _, e := range events {
		channel, payload, err := config.Encode(e)
		require.NoError(t, err)
		messages = append(messages, ready{channel, payload})
	}
	c := &contest.Contest{
		About: fmt.Sprintf("Messages of %d bytes, of a ticket with fifteen fields, to a Redis where nobody hears them. The publisher makes them "+
			"of events; pipelines by hand send bytes that are ready, and get no stream, no order after an error and no count of what was lost.", len(messages[0].payload)),
		Units: []string{"messages/s"}, Against: "a pipeline of 256 by hand",
		Ways: []contest.Way{
			pipeline(client, messages, 256), pipeline(client, messages, 64),
			publisher(t, client, config, events), fromNotify(t, client, config, events), rueidisMulti(t, server.Addr(), messages),
		},
	}
	if tool, err := exec.LookPath("redis-benchmark"); err == nil {
		c.Ways = append(c.Ways, redisBenchmark(tool, server.Port(), messages[0]))
	}
	return c
}

type ready struct{ channel, payload string }

// sending is a way that sends batches until its time is over.
func sending(name string, size int, send func(ctx context.Context, from int) error) contest.Way {
	return contest.Way{Name: name, Run: func(ctx context.Context, _ int, long time.Duration) ([]float64, error) {
		began, n := time.Now(), 0
		for n == 0 || time.Since(began) < long {
			if err := send(ctx, n); err != nil {
				return nil, err
			}
			n += size
		}
		return []float64{float64(n) / time.Since(began).Seconds()}, nil
	}}
}

func pipeline(client *redis.Client, messages []ready, size int) contest.Way {
	return sending(fmt.Sprintf("a pipeline of %d by hand", size), size, func(ctx context.Context, from int) error {
		pipe := client.Pipeline()
		for i := range size {
			m := messages[(from+i)%len(messages)]
			pipe.Publish(ctx, m.channel, m.payload)
		}
		_, err := pipe.Exec(ctx)
		return err
	})
}

func publisher(t *testing.T, client *redis.Client, config tracbus.PublisherConfig, events []tracbus.Event) contest.Way {
	config.Logger = testkit.Quiet
	p := tracbus.NewPublisher(client, config)
	t.Cleanup(p.Close)
	return sending("a publisher, of events that wait", len(events), func(ctx context.Context, _ int) error { return p.HandleBatch(ctx, events) })
}

func fromNotify(t *testing.T, client *redis.Client, config tracbus.PublisherConfig, events []tracbus.Event) contest.Way {
	bus := tracbus.BusConfig{QueueSize: 2 * len(events), Logger: testkit.Quiet}.NewBus("bench")
	config.Logger = testkit.Quiet
	p := tracbus.NewPublisher(client, config)
	bus.All(tracbus.Primary, p)
	t.Cleanup(func() {
		require.NoError(t, bus.Close(context.Background()))
		p.Close()
	})
	return sending("from Notify on", len(events), func(ctx context.Context, _ int) error {
		for _, e := range events {
			if err := bus.Notify(e); err != nil {
				return err
			}
		}
		return bus.Wait(ctx)
	})
}

func rueidisMulti(t *testing.T, addr string, messages []ready) contest.Way {
	const size = 256
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return sending("rueidis, DoMulti of 256", size, func(ctx context.Context, from int) error {
		commands := make(rueidis.Commands, size)
		for i := range commands {
			m := messages[(from+i)%len(messages)]
			commands[i] = client.B().Publish().Channel(m.channel).Message(m.payload).Build()
		}
		for _, r := range client.DoMulti(ctx, commands...) {
			if err := r.Error(); err != nil {
				return err
			}
		}
		return nil
	})
}

var perSecond = regexp.MustCompile(`([\d.]+) requests per second`)

// redisBenchmark is Redis's own program, over one connection.
func redisBenchmark(tool string, port int, m ready) contest.Way {
	return contest.Way{Name: "limit: redis-benchmark -c 1 -P 64", Run: func(ctx context.Context, _ int, long time.Duration) ([]float64, error) {
		n := max(1000, int(long.Seconds()*500_000))
		out, err := exec.CommandContext(ctx, tool, "-p", strconv.Itoa(port), "-c", "1", "-P", "64", "-n", strconv.Itoa(n), "publish", m.channel, m.payload).Output()
		if err != nil {
			return nil, err
		}
		found := perSecond.FindSubmatch(out)
		if found == nil {
			return nil, fmt.Errorf("redis-benchmark says %q", out)
		}
		rate, err := strconv.ParseFloat(string(found[1]), 64)
		return []float64{rate}, err
	}}
}
