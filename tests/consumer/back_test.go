package consumer_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestRedisIsBack: how soon a durable publisher goes on is for the publisher to say,
// and an outage has one line when it begins and one when it ends. The pause of other
// listeners is longer than any test.
func TestRedisIsBack(t *testing.T) {
	for name, away := range map[string]struct {
		begin, end func(t *testing.T, s *testserver.RedisServer)
	}{
		"killed": {
			func(_ *testing.T, s *testserver.RedisServer) { s.Kill() },
			func(_ *testing.T, s *testserver.RedisServer) { s.Restart() }, // empty: it is reset
		},
		"silent": {
			func(_ *testing.T, s *testserver.RedisServer) { s.Stop() },
			func(_ *testing.T, s *testserver.RedisServer) { s.Continue() },
		},
		"without memory": {
			func(t *testing.T, s *testserver.RedisServer) { configure(t, s, "maxmemory", "1") },
			func(t *testing.T, s *testserver.RedisServer) { configure(t, s, "maxmemory", "0") },
		},
		"a replica": {
			func(t *testing.T, s *testserver.RedisServer) { replicate(t, s, "127.0.0.1", "1") },
			func(t *testing.T, s *testserver.RedisServer) { replicate(t, s, "no", "one") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			s, server, log := testdatabase.New(t, "sqlite"), testserver.Redis(t, testserver.RedisOptions{}), new(testkit.LogRecorder)
			publisher := tracbus.NewPublisher(testkit.HastyClient(t, server.Addr()), tracbus.PublisherConfig{MaxBackoff: 20 * time.Millisecond, Logger: slog.New(log)})
			defer publisher.Close()
			var all *tracbus.Registration
			d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
				Journal: tracbus.JournalConfig{Logger: slog.New(log)},
				Before: func(b *tracbus.Bus) {
					all = b.All(tracbus.DurableConfig{Backoff: 10 * testkit.Patience}.Durable("redis"), publisher)
				},
			})
			d.Say(t, "before", 1)
			require.NoError(t, all.Wait(testkit.Within(t)))
			assert.NoError(t, publisher.Stats().LastError, "a Redis that knows nothing yet is no error")

			away.begin(t, server)
			d.Say(t, "meanwhile", 1)
			testkit.Until(t, "it was tried again and again", func() bool { return all.Status().Retried > 5 })
			assert.True(t, publisher.Stats().Disconnected)
			assert.Error(t, publisher.Stats().LastError)
			assert.NotEmpty(t, d.Consumer(t, "redis").Err)
			away.end(t, server)
			require.NoError(t, all.Wait(testkit.Within(t)))
			assert.False(t, publisher.Stats().Disconnected)
			assert.Len(t, log.With("Redis is away"), 1)
			assert.Len(t, log.With("Redis is back"), 1)
			assert.Empty(t, log.With("tries again until it can", "is called again until it succeeds", "succeeds again", "gives up"))
			testkit.Until(t, "it does not fail any more", func() bool { return d.Consumer(t, "redis").Err == "" })
		})
	}
}

func configure(t *testing.T, s *testserver.RedisServer, name, value string) {
	t.Helper()
	require.NoError(t, testkit.PatientClient(t, s.Addr()).ConfigSet(testkit.Within(t), name, value).Err())
}

func replicate(t *testing.T, s *testserver.RedisServer, host, port string) {
	t.Helper()
	require.NoError(t, testkit.PatientClient(t, s.Addr()).Do(testkit.Within(t), "replicaof", host, port).Err())
}
