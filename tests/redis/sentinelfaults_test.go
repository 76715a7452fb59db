package redis_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// sentinelFaults happen to a group with Sentinels, one after the other.
var sentinelFaults = []struct {
	fault
	begin func(t *testing.T, g *testserver.SentinelGroup, hangUp func()) (end func())
}{
	{fault{name: "all Sentinels stand still, and nothing else happens"}, func(t *testing.T, g *testserver.SentinelGroup, _ func()) func() {
		return stopAll(g.Sentinels)
	}},
	{fault{name: "all Sentinels are gone, and connections break", says: brokenThen("connect", "")}, func(t *testing.T, g *testserver.SentinelGroup, hangUp func()) func() {
		for _, s := range g.Sentinels {
			s.Kill()
		}
		hangUp()
		return func() {
			for _, s := range g.Sentinels {
				s.Restart()
			}
		}
	}},
	{fault{name: "Sentinels do not know the name", says: brokenThen("tracmaster … expected in master_name", "expected in master_name")}, func(t *testing.T, g *testserver.SentinelGroup, hangUp func()) func() {
		host, port, err := net.SplitHostPort(g.Master().Announced())
		require.NoError(t, err)
		each := func(args ...any) {
			for _, s := range g.Sentinels {
				require.NoError(t, s.Admin().Do(context.Background(), args...).Err(), fmt.Sprint(args...))
			}
		}
		each("sentinel", "remove", g.MasterName)
		hangUp()
		return func() {
			each("sentinel", "monitor", g.MasterName, host, port, 2)
			each("sentinel", "set", g.MasterName, "auth-user", "testserver", "auth-pass", "testserver", "down-after-milliseconds", 1000)
		}
	}},
	{fault{name: "the Sentinels' user has another password", says: brokenThen("WRONGPASS … expected the Sentinels' own in options sentinel_username", "expected the Sentinels' own")}, func(t *testing.T, g *testserver.SentinelGroup, hangUp func()) func() {
		to := func(password string) {
			for _, s := range g.Sentinels {
				require.NoError(t, s.Admin().ACLSetUser(context.Background(), "asks", "resetpass", ">"+password).Err())
				_ = s.Admin().Do(context.Background(), "client", "kill", "user", "asks").Err()
			}
		}
		to("tell-nobody-new")
		hangUp()
		return func() { to(passwordOf("asks")) }
	}},
}

// brokenThen is that everybody says that his connection broke, and the durable
// publisher, who says nothing as long as he can connect again, why he cannot. Loops
// say both, if somebody answers why.
func brokenThen(words, answer string) []saying {
	const broke = "closed the connection"
	says := []saying{{publishes, broke}, {appends, words}, {journal, broke}, {hears, broke}, {reads, broke}}
	if answer != "" {
		says = append(says, saying{hears, answer}, saying{reads, answer})
	}
	return says
}

func stopAll(servers []*testserver.RedisServer) (end func()) {
	for _, s := range servers {
		s.Stop()
	}
	return func() {
		for _, s := range servers {
			s.Continue()
		}
	}
}

// TestRedisErrorsOfSentinels has the same as TestRedisErrors happen with Sentinels.
func TestRedisErrorsOfSentinels(t *testing.T) {
	testkit.NoLeaks(t)
	s := sentinelSite(t, nil)
	for _, f := range sentinelFaults {
		t.Run(f.name, func(t *testing.T) {
			s.on(t, "flushall")
			sc := &scene{config: s.config}
			sc.everybody(t)
			sc.works()
			f.happens(t, sc.rig, f.begin(t, s.group, func() { s.hangUp(t) }))
		})
	}
}

// hangUp ends the connections of everybody with a role.
func (s *site) hangUp(t *testing.T) {
	t.Helper()
	for _, server := range s.servers {
		for _, r := range rights {
			require.NoError(t, server.Admin().Do(context.Background(), "client", "kill", "user", r.role).Err())
		}
	}
}
