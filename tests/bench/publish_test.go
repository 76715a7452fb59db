package bench_test

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
)

// usual is a change as it is in most trackers: some 500 bytes on the wire.
func usual(id int64) tracbus.TicketChanged {
	at := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	return tracbus.TicketChanged{
		Change: tracbus.Change{Env: "test", Author: "joe", Time: at, Comment: strings.Repeat("It will be done in the milestone after this one. ", 5)},
		ID:     id,
		Values: tracbus.Fields{
			"summary": "The pages of the manual do not print", "reporter": "jane", "owner": "joe", "type": "defect",
			"status": "assigned", "priority": "major", "milestone": "milestone2", "component": "manual", "version": "1.0",
			"resolution": "", "keywords": "print css", "cc": "jane@example.org", "time": at, "changetime": at,
			"description": strings.Repeat("It is empty. ", 8),
		},
		Old: tracbus.Fields{"milestone": "milestone1", "owner": "", "status": "new"},
		New: tracbus.Fields{"milestone": "milestone2", "owner": "joe", "status": "assigned"},
	}
}

// median of an odd number of figures.
func median(figures []float64) float64 {
	slices.Sort(figures)
	return figures[len(figures)/2]
}

// BenchmarkDispatch measures what one more listener costs. Its figure counts
// all: queueing, waking, calling.
func BenchmarkDispatch(b *testing.B) {
	for _, listeners := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("listeners=%d", listeners), func(b *testing.B) {
			bus := tracbus.BusConfig{QueueSize: 8192}.NewBus("test")
			for range listeners {
				tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error { return nil })
			}
			var e tracbus.Event = tracbus.TicketChanged{ID: 1, Change: tracbus.Change{Time: time.Unix(0, 0).UTC()}}
			b.ReportAllocs()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			n := 0
			for b.Loop() {
				if err := bus.Notify(e); err != nil {
					b.Fatal(err)
				}
				if n++; n%4096 == 0 {
					_ = bus.Wait(b.Context()) // so that nothing is dropped
				}
			}
			_ = bus.Wait(b.Context())
			runtime.ReadMemStats(&after)
			for _, s := range bus.Status() {
				require.Equal(b, uint64(n), s.Delivered)
			}
			told := float64(n * listeners)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/told, "ns/listener")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/told, "allocs/listener")
			require.NoError(b, bus.Close(b.Context()))
		})
	}
}

// publishing is a way to publish n messages; it returns when all are answered.
type publishing func(n int)

// ours goes the whole way: Notify, queue, encode, pipeline.
func ours(b *testing.B, client *redis.Client, config tracbus.PublisherConfig, events []tracbus.Event) publishing {
	bus := tracbus.BusConfig{QueueSize: 1 << 20}.NewBus("test")
	publisher := tracbus.NewPublisher(client, config)
	bus.All(tracbus.Primary, publisher)
	b.Cleanup(func() {
		require.NoError(b, bus.Close(context.Background()))
		publisher.Close()
	})
	return func(n int) {
		before := publisher.Stats().Published
		for i := range n {
			if err := bus.Notify(events[i%len(events)]); err != nil {
				b.Fatal(err)
			}
		}
		require.NoError(b, bus.Wait(b.Context()))
		require.Equal(b, uint64(n), publisher.Stats().Published-before)
	}
}

// direct leaves the bus out: events wait already, as they do when Redis is what
// limits.
func direct(b *testing.B, client *redis.Client, config tracbus.PublisherConfig, events []tracbus.Event) publishing {
	publisher := tracbus.NewPublisher(client, config)
	b.Cleanup(publisher.Close)
	return func(n int) {
		before := publisher.Stats().Published
		for i := 0; i < n; i += len(events) {
			require.NoError(b, publisher.HandleBatch(b.Context(), events[:min(len(events), n-i)]))
		}
		require.Equal(b, uint64(n), publisher.Stats().Published-before)
	}
}

// byHand is what a Go programmer writes who has the bytes already.
func byHand(b *testing.B, client *redis.Client, size int, config tracbus.PublisherConfig, events []tracbus.Event) publishing {
	type message struct {
		channel string
		payload []byte
	}
	var messages []message
	for _, e := range events {
		channel, payload, err := config.Encode(e)
		require.NoError(b, err)
		messages = append(messages, message{channel, []byte(payload)})
	}
	return func(n int) {
		for i := 0; i < n; i += size {
			pipe := client.Pipeline()
			for j := i; j < min(i+size, n); j++ {
				m := messages[j%len(messages)]
				pipe.Publish(b.Context(), m.channel, m.payload)
			}
			if _, err := pipe.Exec(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

var perSecond = regexp.MustCompile(`([\d.]+) requests per second`)

// BenchmarkPublish measures messages per second, ours as a share of what a
// hand-written pipeline of ready-made bytes and Redis's own benchmark reach.
// "publisher" is given events that wait, "bus" also takes and queues them. The
// ways take turns, so that the machine's moods meet all of them.
func BenchmarkPublish(b *testing.B) {
	server := testserver.Redis(b, testserver.RedisOptions{})
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	b.Cleanup(func() { _ = client.Close() })
	var events []tracbus.Event
	for id := range 1000 {
		events = append(events, usual(int64(id+1)))
	}
	for _, form := range []struct {
		name   string
		config tracbus.PublisherConfig
	}{
		{"new_values=changed", tracbus.PublisherConfig{}},
		{"new_values=all", tracbus.PublisherConfig{FullNewValues: true}},
	} {
		b.Run(form.name, func(b *testing.B) { benchmarkPublish(b, server, client, form.config, events) })
	}
}

func benchmarkPublish(b *testing.B, server *testserver.RedisServer, client *redis.Client, config tracbus.PublisherConfig, events []tracbus.Event) {
	channel, payload, err := config.Encode(events[0])
	require.NoError(b, err)
	const n = 20_000
	ways := []struct {
		name string
		run  publishing
	}{
		{"publisher", direct(b, client, config, events)},
		{"bus", ours(b, client, config, events)},
		{"pipeline64", byHand(b, client, 64, config, events)},
		{"pipeline256", byHand(b, client, 256, config, events)},
	}
	rates := map[string][]float64{}
	for b.Loop() {
		for _, way := range ways {
			began := time.Now()
			way.run(n)
			rates[way.name] = append(rates[way.name], n/time.Since(began).Seconds())
		}
		if tool, err := exec.LookPath("redis-benchmark"); err == nil {
			rates["redis-benchmark"] = append(rates["redis-benchmark"], redisBenchmark(b, tool, server.Port(), n, channel, payload))
		}
	}
	b.ReportMetric(0, "ns/op") // a turn of all ways says nothing
	b.ReportMetric(float64(len(payload)), "bytes/msg")
	for name, figures := range rates {
		b.ReportMetric(median(slices.Clone(figures)), name+"-msg/s")
	}
	for _, ours := range []string{"publisher", "bus"} {
		for _, other := range []string{"pipeline64", "pipeline256", "redis-benchmark"} {
			var shares []float64
			for i, rate := range rates[other] {
				shares = append(shares, rates[ours][i]/rate)
			}
			if shares != nil {
				b.ReportMetric(median(shares), ours+"/"+other)
			}
		}
	}
}

func redisBenchmark(b *testing.B, tool string, port, n int, channel, payload string) float64 {
	out, err := exec.CommandContext(b.Context(), tool, "-p", strconv.Itoa(port), "-c", "1", "-P", "64",
		"-n", strconv.Itoa(n), "publish", channel, payload).Output()
	require.NoError(b, err)
	found := perSecond.FindSubmatch(out)
	require.NotNil(b, found, "%s", out)
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	require.NoError(b, err)
	return rate
}
