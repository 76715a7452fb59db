package tracbus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/publish"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testserver"
)

// chainedTicket is a change as it is in most trackers: some 500 bytes on the
// wire.
func chainedTicket(tid int64) Event {
	made := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	return TicketChanged{
		Change: Change{
			Env: "test", TID: tid, CommitID: fmt.Sprintf("%032x", tid), Author: "joe", IPNR: "10.0.0.1", Time: made,
			Comment: strings.Repeat("It will be done in the milestone after this one. ", 5),
		},
		ID: tid%1000 + 1,
		Values: Fields{
			"summary": "The pages of the manual do not print", "reporter": "jane", "owner": "joe", "type": "defect",
			"status": "assigned", "priority": "major", "milestone": "milestone2", "component": "manual", "version": "1.0",
			"resolution": "", "keywords": "print css", "cc": "jane@example.org", "time": made, "changetime": made,
			"description": strings.Repeat("It is empty. ", 8),
		},
		Old: Fields{"milestone": "milestone1", "owner": "", "status": "new"},
		New: Fields{"milestone": "milestone2", "owner": "joe", "status": "assigned"},
	}
}

// BenchmarkChained measures messages per second in batches of 256, each a
// transaction of its own, as a share of what a hand-written pipeline of PUBLISH
// of ready-made bytes reaches. The ways take turns, so that the machine's moods
// meet all of them.
func BenchmarkChained(b *testing.B) {
	const batch, batches = 256, 80
	server := testserver.Redis(b, testserver.RedisOptions{})
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	b.Cleanup(func() { _ = client.Close() })
	events := make([]Event, batch*batches)
	messages := make([][2]string, len(events))
	for i := range events {
		events[i] = chainedTicket(int64(i + 1))
		channel, payload, err := PublisherConfig{}.Encode(events[i])
		require.NoError(b, err)
		messages[i] = [2]string{channel, payload}
	}
	chainedBy := func(config PublisherConfig, batch int) func() {
		p := NewPublisher(client, config)
		return func() {
			key := publish.StateKey(config.StreamKey, false, "uuid", "redis")
			require.NoError(b, client.Del(b.Context(), key, "changes").Err())
			c := consumer.Span{Journal: "uuid", Consumer: "redis", Reset: &consumer.Reset{Expect: consumer.Offset{Empty: true, Generation: -1}}}
			for i := 0; i < len(events); i += batch {
				c.To, _ = codec{}.Place(events[i+batch-1])
				require.NoError(b, p.sendSpan(context.Background(), c, events[i:i+batch]))
				c.From, c.Reset = c.To, nil
			}
			require.NotEqual(b, store.Place{}, c.From)
		}
	}
	ways := []struct {
		name string
		run  func()
	}{
		{"channels", chainedBy(PublisherConfig{}, batch)},
		{"channels1024", chainedBy(PublisherConfig{}, 4*batch)},
		{"stream", chainedBy(PublisherConfig{StreamKey: "changes", StreamMaxAge: time.Hour}, batch)},
		{"stream1024", chainedBy(PublisherConfig{StreamKey: "changes", StreamMaxAge: time.Hour}, 4*batch)},
		{"pipeline", func() {
			for i := 0; i < len(messages); i += batch {
				pipe := client.Pipeline()
				for _, m := range messages[i : i+batch] {
					pipe.Publish(b.Context(), m[0], m[1])
				}
				_, err := pipe.Exec(b.Context())
				require.NoError(b, err)
			}
		}},
		{"pipeline+xadd", func() {
			require.NoError(b, client.Del(b.Context(), "changes").Err())
			for i := 0; i < len(messages); i += batch {
				pipe := client.Pipeline()
				for j, m := range messages[i : i+batch] {
					pipe.XAdd(b.Context(), &redis.XAddArgs{Stream: "changes", ID: fmt.Sprintf("%d-0", i+j+1), MaxLen: 100_000, Approx: true,
						Values: []string{"channel", m[0], "payload", m[1], "mark", "0123456789abcdef0123456789abcdef"}})
					pipe.Publish(b.Context(), m[0], m[1])
				}
				_, err := pipe.Exec(b.Context())
				require.NoError(b, err)
			}
		}},
	}
	took := map[string][]float64{}
	for b.Loop() {
		for _, way := range ways {
			began := time.Now()
			way.run()
			took[way.name] = append(took[way.name], float64(len(events))/time.Since(began).Seconds())
		}
	}
	middle := func(f []float64) float64 {
		f = slices.Sorted(slices.Values(f))
		return f[len(f)/2]
	}
	share := func(ours, other string) float64 {
		var all []float64
		for i := range took[ours] {
			all = append(all, took[ours][i]/took[other][i])
		}
		return middle(all)
	}
	b.ReportMetric(0, "ns/op") // a turn of all ways says nothing
	for name, rates := range took {
		b.ReportMetric(middle(rates), name+"-msg/s")
	}
	b.ReportMetric(share("channels", "pipeline"), "channels/pipeline")
	b.ReportMetric(share("channels1024", "pipeline"), "channels1024/pipeline")
	b.ReportMetric(share("stream", "pipeline"), "stream/pipeline")
	b.ReportMetric(share("stream", "pipeline+xadd"), "stream/pipeline+xadd")
	b.ReportMetric(share("stream1024", "pipeline+xadd"), "stream1024/pipeline+xadd")
}
