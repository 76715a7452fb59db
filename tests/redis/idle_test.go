package redis_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// idle are faults of connections on which nothing happens.
var idle = []fault{
	{name: "timeout 1", begin: func(t *testing.T, s *scene) func() {
		end := s.set(t, "timeout", 1, 0)
		s.idles(t, publishes, appends)
		return end
	}},
	{name: "HAProxy with timeouts of 2 s", before: func(t *testing.T, s *scene) { s.patience(t, 2*time.Second) },
		begin: func(t *testing.T, s *scene) func() {
			s.idles(t, publishes, appends)
			return func() {}
		}, says: []saying{{journal, "do not wake each other … closed the connection"}}},
	{name: "HAProxy with timeouts of 2 s, and PingAfter is longer", before: func(t *testing.T, s *scene) {
		s.patience(t, 2*time.Second)
		s.pingAfter = time.Hour
	}, begin: func(t *testing.T, s *scene) func() {
		s.idles(t, publishes, appends, hears, reads)
		return func() {}
	}, says: []saying{{journal, "do not wake each other … closed the connection"}, {hears, "closed the connection"}, {reads, "closed the connection"}}},
}

// idles waits until all connections that some roles have now were closed, while they
// say nothing.
func (s *scene) idles(t *testing.T, who ...string) {
	t.Helper()
	those := func() (ids []string) {
		for _, role := range who {
			ids = append(ids, s.connections(t, role)...)
		}
		return ids
	}
	before := those()
	require.GreaterOrEqual(t, len(before), len(who))
	testkit.Until(t, "somebody closes the connections", func() bool {
		now := those()
		return !slices.ContainsFunc(before, func(id string) bool { return slices.Contains(now, id) })
	})
}

// patience has the address lead through a HAProxy that ends connections which are
// silent for a time.
func (s *scene) patience(t *testing.T, idle time.Duration) {
	t.Helper()
	s.config.Addr = testserver.HAProxy(t, testserver.HAProxyOptions{Targets: []string{s.front.Addr()}, Idle: idle}).Addr()
}
