package redisconn_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// TestListenBySentinel: the loop follows a failover in which the old master lives on,
// and stays when nobody can be asked any more; with a client of the library and with
// one that the application made.
func TestListenBySentinel(t *testing.T) {
	for name, dialer := range map[string]func(*testserver.SentinelGroup) *redis.FailoverOptions{
		"own": func(g *testserver.SentinelGroup) *redis.FailoverOptions {
			return &redis.FailoverOptions{Dialer: redisconn.Dialer{Sentinels: g.Addrs()}.Func()}
		},
		"lent": func(*testserver.SentinelGroup) *redis.FailoverOptions { return &redis.FailoverOptions{} },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			g := testserver.Sentinel(t, testserver.SentinelOptions{})
			o := dialer(g)
			o.MasterName, o.SentinelAddrs = g.MasterName, g.Addrs()
			client := redis.NewFailoverClient(o)
			t.Cleanup(func() { _ = client.Close() })
			l := listen(t, client, redisconn.ListenConfig{})
			old := g.Master()
			now := g.Failover()
			took := time.Now()
			l.again(1)
			t.Logf("subscribed again %v after the Sentinels agreed", time.Since(took))
			assert.Equal(t, []string{"the server is at " + now.Addr() + " now, and not at " + old.Addr()}, l.losses())
			assert.EqualValues(t, 1, subscribers(t, now))
			for _, s := range g.Sentinels {
				s.Kill()
			}
			l.hears(now, "without Sentinels")
			// A look that nobody answers ends nothing.
			quiet, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			<-quiet.Done()
			l.hears(now, "still without Sentinels")
			assert.Len(t, l.losses(), 1)
		})
	}
}

// A Sentinel takes a subscription, and would be silent for ever.
func TestListenAtASentinel(t *testing.T) {
	g := testserver.Sentinel(t, testserver.SentinelOptions{})
	client := redis.NewClient(&redis.Options{Addr: g.Addrs()[0]})
	t.Cleanup(func() { _ = client.Close() })
	for step := range redisconn.Listen(testkit.Within(t), client, redisconn.ListenConfig{Patterns: []string{"c.*"}, PingAfter: time.Minute, MaxBackoff: time.Second}) {
		assert.ErrorContains(t, step.Lost, "the server is a Sentinel: expected it in sentinel_addrs")
		break
	}
	line := redisconn.NewLine(redisconn.NewRouter(client), redisconn.Settings{})
	_, err := line.Connect(testkit.Within(t), redisconn.AnyKey)
	assert.ErrorContains(t, err, "the server is a Sentinel")
}
