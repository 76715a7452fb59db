package publish

import (
	"context"
	"fmt"
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
	most := map[string]float64{
		"pipeline,messages=1,heard=true":   4,
		"pipeline,messages=20,heard=true":  23,
		"pipeline,messages=1,heard=false":  11, // it asks for the server's role, too
		"pipeline,messages=20,heard=false": 30,
		"script with channels,heard=true":  30,
		"script with stream,heard=true":    31,
		"script with channels,heard=false": 30,
		"script with stream,heard=false":   31,
	}
	for name, trip := range roundTrips(t) {
		// Others allocate now and then: who watches the connection, and the server's
		// answers that come in two pieces.
		got := testing.AllocsPerRun(500, trip)
		assert.LessOrEqual(t, got, most[name], name)
	}
}

// roundTrips returns functions, each of which makes one.
func roundTrips(t testing.TB) map[string]func() {
	trips := map[string]func(){}
	for _, heard := range []bool{true, false} {
		client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t, testserver.RedisOptions{}).Addr()})
		t.Cleanup(func() { _ = client.Close() })
		if heard {
			ears := client.PSubscribe(context.Background(), "*")
			t.Cleanup(func() { _ = ears.Close() })
			_, err := ears.Receive(context.Background())
			require.NoError(t, err)
			ears.Channel()
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
