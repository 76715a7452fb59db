package bench_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// BenchmarkRelay measures how many changes per second go from a journal to Redis:
// by a publisher under Durable, with and without a stream, and by a plain loop that
// reads the same rows, makes the same messages and sends each batch of PUBLISH in
// one round trip. The loop neither notes how far it came nor could go on after a
// crash.
func BenchmarkRelay(b *testing.B) {
	const changes = 20_000
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		b.Run(dialect, func(b *testing.B) {
			t := newBenchTracker(b, durableReadServer(b, dialect), tracbus.JournalConfig{})
			t.first(b)
			t.multiply(b, 1, changes)
			rdb := redis.NewClient(&redis.Options{Addr: testserver.Redis(b, testserver.RedisOptions{}).Addr()})
			b.Cleanup(func() { _ = rdb.Close() })
			b.Run(fmt.Sprintf("changes=%d", changes), func(b *testing.B) {
				var once, stream, plain []float64
				for b.Loop() {
					once = append(once, changes/relayAll(b, t, rdb, "").Seconds())
					stream = append(stream, changes/relayAll(b, t, rdb, "bench"+rand.Text()).Seconds())
					plain = append(plain, changes/publishPlainly(b, t, rdb, changes).Seconds())
				}
				b.ReportMetric(0, "ns/op")
				reportMedian(b, once, "once-changes/s")
				reportMedian(b, stream, "stream-changes/s")
				reportMedian(b, plain, "plain-changes/s")
				reportRatio(b, once, plain, "once/plain")
				reportRatio(b, stream, plain, "stream/plain")
			})
		})
	}
}

// durableReadServer is a server that keeps what it says it does.
func durableReadServer(b *testing.B, dialect string) *testdatabase.Server {
	if dialect == "sqlite" {
		return testdatabase.New(b, dialect)
	}
	return durableServer(b, dialect)
}

// relayAll relays a whole journal under a new name: Redis would know one that was
// used before.
func relayAll(b *testing.B, t *benchTracker, rdb *redis.Client, stream string) time.Duration {
	name := rand.Text()
	bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("bench")
	publisher := tracbus.NewPublisher(rdb, tracbus.PublisherConfig{StreamKey: stream, Logger: testkit.Quiet})
	all := bus.All(tracbus.DurableConfig{FromOldest: true}.Durable(name), publisher)
	j := openBenchJournal(b, t, bus, tracbus.JournalConfig{Logger: testkit.Quiet})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- j.Run(ctx) }()
	for publisher.Stats().Published < 20_000 { // Wait asks the database, and not all the time
		pause(b, time.Millisecond)
	}
	took := time.Since(began)
	require.NoError(b, all.Wait(b.Context()))
	cancel()
	require.NoError(b, <-ended)
	require.NoError(b, j.DropConsumer(b.Context(), name))
	require.EqualValues(b, 20_000, publisher.Stats().Published)
	return took
}

// publishPlainly does by hand what can be done by hand.
func publishPlainly(b *testing.B, t *benchTracker, rdb *redis.Client, changes int64) time.Duration {
	const batch = 256
	began := time.Now()
	sent := int64(0)
	for last := int64(0); last < changes; {
		rows, err := t.db.QueryContext(b.Context(), t.text(`SELECT j.tid, j.seq, j.id, j.`+t.quoted("change")+`, j.time, j.author, j.ipnr, j.authenticated,
			j.comment, j.parts, j.state, h.field, h.old_type, h.old_value, h.new_type, h.new_value
			FROM ticket_journal j LEFT JOIN ticket_history h ON h.tid = j.tid AND h.seq = j.seq AND h.tid > ? AND h.tid <= ?
			WHERE j.tid > ? AND j.tid <= ? ORDER BY j.tid, j.seq`), last, last+batch, last, last+batch)
		require.NoError(b, err)
		pipe := rdb.Pipeline()
		var message plainMessage
		send := func() {
			if message.tid == 0 {
				return
			}
			payload, err := json.Marshal(message)
			require.NoError(b, err)
			pipe.Publish(b.Context(), "trac.bench.ticket.changed."+strconv.FormatInt(message.ID, 10), payload)
			sent++
		}
		for rows.Next() {
			var tid, made, parts int64
			var seq, authenticated int
			var id, kind, author, ipnr, comment, state, field string
			var oldType, oldValue, newType, newValue *string
			require.NoError(b, rows.Scan(&tid, &seq, &id, &kind, &made, &author, &ipnr, &authenticated, &comment, &parts, &state,
				&field, &oldType, &oldValue, &newType, &newValue))
			if tid != message.tid {
				send()
				number, err := strconv.ParseInt(id, 10, 64)
				require.NoError(b, err)
				message = plainMessage{tid: tid, ID: number, Author: author, Comment: comment, New: map[string]any{}, Old: map[string]any{}}
			}
			message.New[field], message.Old[field] = plainValue(newType, newValue), plainValue(oldType, oldValue)
		}
		require.NoError(b, rows.Err())
		send()
		last += batch
		_, err = pipe.Exec(b.Context())
		require.NoError(b, err)
	}
	took := time.Since(began)
	require.Equal(b, changes, sent)
	return took
}

// plainMessage is a ticket's change as a payload has it.
type plainMessage struct {
	tid     int64
	New     map[string]any `json:"new_values"`
	Old     map[string]any `json:"old_values"`
	Author  string         `json:"author"`
	Comment string         `json:"comment"`
	ID      int64          `json:"id"`
}

// plainValue reads the types of value that the benchmark's entries have.
func plainValue(kind, text *string) any {
	if kind == nil || text == nil {
		return nil
	}
	if *kind == "time" {
		if micros, err := strconv.ParseInt(*text, 10, 64); err == nil {
			return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.000000-07:00")
		}
	}
	return *text
}

// BenchmarkRelayDelay measures how long after its commit a change reaches a
// subscriber at low load: the relay is in another process, as far as a journal of
// its own makes one, and woken through Redis.
func BenchmarkRelayDelay(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		b.Run(dialect, func(b *testing.B) {
			t := newBenchTracker(b, durableReadServer(b, dialect), tracbus.JournalConfig{})
			rdb := redis.NewClient(&redis.Options{Addr: testserver.Redis(b, testserver.RedisOptions{}).Addr()})
			b.Cleanup(func() { _ = rdb.Close() })
			ctx, cancel := context.WithCancel(b.Context())
			run := func(bus *tracbus.Bus) *tracbus.Journal {
				j := openBenchJournal(b, t, bus, tracbus.JournalConfig{Logger: testkit.Quiet, WakeRedis: rdb})
				ended := make(chan error, 1)
				go func() { ended <- j.Run(ctx) }()
				b.Cleanup(func() { cancel(); <-ended })
				return j
			}
			relay := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("bench")
			all := relay.All(tracbus.Durable("redis"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{StreamKey: "bench", Logger: testkit.Quiet}))
			run(relay)
			t.journal = run(tracbus.NewBus("bench"))
			messages := rdb.PSubscribe(ctx, "trac.*")
			defer messages.Close()
			_, err := messages.Receive(ctx)
			require.NoError(b, err)
			receive := func(comment string) time.Time {
				for m := range messages.Channel() {
					if strings.Contains(m.Payload, comment) {
						return time.Now()
					}
				}
				b.Fatal("the subscription ended")
				return time.Time{}
			}
			_, err = t.update(ctx, benchEdit{t, 1, "milestone0.1", "the first"})
			require.NoError(b, err)
			receive("the first") // the name is taken by now
			require.NoError(b, all.Wait(ctx))

			b.Run("delay", func(b *testing.B) {
				var delays []float64
				change := func() {
					pause(b, 20*time.Millisecond)
					n := len(delays)
					comment := fmt.Sprintf("change %d of %p", n, b)
					_, err := t.update(ctx, benchEdit{t, 1, fmt.Sprint("milestone", n%7), comment})
					committed := time.Now()
					require.NoError(b, err)
					delays = append(delays, max(0, receive(comment).Sub(committed).Seconds()*1000))
				}
				for b.Loop() {
					change()
				}
				for len(delays) < 100 {
					change()
				}
				slices.Sort(delays)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(delays[len(delays)/2], "median-ms")
				b.ReportMetric(delays[len(delays)*99/100], "p99-ms")
			})
		})
	}
}

// pause lets time pass, so that the load is low.
func pause(b *testing.B, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.Context().Done():
	}
}
