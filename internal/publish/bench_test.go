package publish

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/testserver"
)

// A round trip of each way, with one message and with some, that somebody hears or
// nobody does.
func BenchmarkRoundTrip(b *testing.B) {
	for name, trip := range roundTrips(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				trip()
			}
		})
	}
}

// What is used for one round trip is used again for the next, as far as go-redis lets.
func TestAllocationsOfARoundTrip(t *testing.T) {
	for name, trip := range roundTrips(t) {
		most := 34.0 // of the script: 29 or 30, and more when races are detected
		switch {
		case strings.HasPrefix(name, "pipeline,messages=1,"):
			most = 12 // 4, or 11 if it asks for the server's role, too
		case strings.HasPrefix(name, "pipeline,messages=20,"):
			most = 45 // 23 or 30
		}
		least := testing.AllocsPerRun(200, trip)
		for try := 1; try < 5 && least > most; try++ { // lookouts allocate beside it, more the longer it takes
			least = min(least, testing.AllocsPerRun(200, trip))
		}
		assert.LessOrEqual(t, least, most, name)
	}
}

// roundTrips returns functions, each of which makes one.
func roundTrips(t testing.TB) map[string]func() {
	trips := map[string]func(){}
	for _, heard := range []bool{true, false} {
		client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t, testserver.RedisOptions{}).Addr()})
		t.Cleanup(func() { _ = client.Close() })
		if heard {
			hear(t, client.Options().Addr)
		}
		for _, n := range []int{1, 20} {
			publisher := newPublisher(t, client, Config{})
			events, _ := transactions(1, int64(n), 1)
			trips[fmt.Sprintf("pipeline,messages=%d,heard=%v", n, heard)] = func() {
				if err := publisher.Publish(context.Background(), events); err != nil {
					t.Fatal(err)
				}
			}
		}
		for way, config := range configs {
			publisher := newPublisher(t, client, config)
			tid := int64(0)
			span := func() consumer.Span {
				return consumer.Span{Journal: "uuid" + way, Consumer: "redis", From: at(tid), To: at(tid + 1)}
			}
			reset := consumer.Span{Journal: "uuid" + way, Consumer: "redis", Reset: &consumer.Reset{Expect: consumer.Offset{Empty: true, Generation: -1}}}
			require.NoError(t, publisher.Send(context.Background(), reset, nil))
			event := make([]event, 1)
			trips[fmt.Sprintf("script with %s,heard=%v", way, heard)] = func() {
				s := span()
				tid++
				event[0] = eventAt(at(tid), 0)
				if err := publisher.Send(context.Background(), s, event); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return trips
}

// hear subscribes to all channels, and allocates nothing for a message.
func hear(t testing.TB, addr string) {
	ears, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	var hearing sync.WaitGroup
	t.Cleanup(func() {
		_ = ears.Close()
		hearing.Wait()
	})
	_, err = io.WriteString(ears, "PSUBSCRIBE *\r\n")
	require.NoError(t, err)
	_, err = io.ReadFull(ears, make([]byte, len("*3\r\n")))
	require.NoError(t, err)
	hearing.Go(func() { _, _ = io.Copy(io.Discard, ears) })
}
