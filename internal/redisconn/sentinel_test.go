package redisconn_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// TestListenBySentinel: the loop follows a failover in which the old master lives on,
// and stays when nobody can be asked any more; with a client of the library and with
// one that the application made.
func TestListenBySentinel(t *testing.T) {
	for name, newClient := range map[string]func(*redis.FailoverOptions) *redis.Client{
		"own": ownClient, "lent": redis.NewFailoverClient,
	} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			g := testserver.Sentinel(t, testserver.SentinelOptions{})
			client := newClient(&redis.FailoverOptions{MasterName: g.MasterName, SentinelAddrs: g.Addrs()})
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

// ownClient makes a client as the library does.
func ownClient(o *redis.FailoverOptions) *redis.Client {
	o.Dialer = redisconn.Dialer{Timeout: 5 * time.Second}.Func()
	return redisconn.NewSentinelClient(o)
}

// onlyKnows returns a client of one Sentinel, so that go-redis asks that one first.
func onlyKnows(t *testing.T, g *testserver.SentinelGroup, newClient func(*redis.FailoverOptions) *redis.Client) *redis.Client {
	client := newClient(&redis.FailoverOptions{
		MasterName: g.MasterName, SentinelAddrs: g.Addrs()[:1],
		DialTimeout: time.Second, ReadTimeout: 500 * time.Millisecond, // of the one that the application makes
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// caller is a connection for commands, which is made when it is used.
func caller(t *testing.T, client *redis.Client) (at func() string) {
	line := redisconn.NewLine(redisconn.NewRouter(client), redisconn.Settings{})
	t.Cleanup(line.Close)
	return func() string {
		if conn := line.Conn(); conn != nil {
			return conn.Place().Addr
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := line.Connect(ctx, "k"); err != nil {
			return err.Error()
		}
		return line.Conn().Place().Addr
	}
}

// TestListenWhileASentinelStands: the Sentinel that was asked first stands still when
// the master dies. The others name the new one.
func TestListenWhileASentinelStands(t *testing.T) {
	for name, newClient := range map[string]func(*redis.FailoverOptions) *redis.Client{
		"own": ownClient, "lent": redis.NewFailoverClient,
	} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			g := testserver.Sentinel(t, testserver.SentinelOptions{})
			client := onlyKnows(t, g, newClient)
			l, at := listen(t, client, redisconn.ListenConfig{}), caller(t, client)
			old := g.Master()
			assert.Equal(t, old.Addr(), at())
			g.Sentinels[0].Stop()
			t.Cleanup(g.Sentinels[0].Continue)
			old.Kill()
			testkit.Until(t, "the others have a new master", func() bool { m := g.Master(); return m != nil && m != old })
			took := time.Now()
			l.again(1)
			t.Logf("subscribed again %v after the Sentinels agreed", time.Since(took))
			testkit.Until(t, "a caller is there, too", func() bool { return at() == g.Master().Addr() })
			l.hears(g.Master(), "at the new master")
		})
	}
}

// TestListenWhileASentinelIsAloneWithTheOldMaster: it names the old one as long as the
// others cannot tell it, and clients reach both sides.
func TestListenWhileASentinelIsAloneWithTheOldMaster(t *testing.T) {
	testkit.NoLeaks(t)
	g := testserver.Sentinel(t, testserver.SentinelOptions{Proxied: true})
	client := onlyKnows(t, g, ownClient)
	l, at := listen(t, client, redisconn.ListenConfig{}), caller(t, client)
	old := g.Master()
	assert.Equal(t, old.Announced(), at())
	g.IsolateBoth(old, g.Sentinels[0], true)
	t.Cleanup(g.Heal)
	testkit.Until(t, "the others have a new master", func() bool { m := g.Master(); return m != nil && m != old })
	now := g.Master()
	l.again(1)
	assert.Equal(t, []string{"the server is at " + now.Announced() + " now, and not at " + old.Announced()}, l.losses())
	testkit.Until(t, "a caller is there, too", func() bool { return at() == now.Announced() })
	l.hears(now, "at the new master")

	named, err := g.Sentinels[0].Admin().Do(t.Context(), "sentinel", "get-master-addr-by-name", g.MasterName).StringSlice()
	require.NoError(t, err)
	assert.Equal(t, old.Announced(), net.JoinHostPort(named[0], named[1]), "it still names the old one")
}
