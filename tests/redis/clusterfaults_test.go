package redis_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// clusterFaults happen to a cluster, one after the other.
var clusterFaults = []struct {
	fault
	begin func(t *testing.T, c *testserver.RedisCluster) (end func())
}{
	{fault{name: "CLUSTERDOWN", says: []saying{{appends, "CLUSTERDOWN"}, {reads, "CLUSTERDOWN"}}}, func(t *testing.T, c *testserver.RedisCluster) func() {
		slot := testserver.Slot(stream) ^ 1 // another one: a cluster serves all or none
		each := func(args ...any) {
			for _, s := range c.Primaries() {
				_ = s.Admin().Do(context.Background(), args...).Err()
			}
		}
		each("cluster", "delslots", slot)
		return func() { each("cluster", "addslots", slot) }
	}},
	{fault{name: "ASK: the slot moves, and its keys have moved already", may: roles}, func(t *testing.T, c *testserver.RedisCluster) func() {
		m := c.Migrate(stream, other(c, stream))
		m.Keys()
		return m.End
	}},
	{fault{name: "TRYAGAIN: one of its keys has moved", may: roles}, func(t *testing.T, c *testserver.RedisCluster) func() {
		from, to := c.Owner(stream), other(c, stream)
		m := c.Migrate(stream, to)
		keys, err := from.Admin().ClusterGetKeysInSlot(context.Background(), testserver.Slot(stream), 10).Result()
		require.NoError(t, err)
		require.Len(t, keys, 2)
		m.Move(keys[:1]...)
		return m.End
	}},
	{fault{name: "MOVED: the slot is elsewhere", may: roles}, func(t *testing.T, c *testserver.RedisCluster) func() {
		c.MoveSlot(stream, other(c, stream))
		return func() {}
	}},
	{fault{name: "all nodes stand still", says: []saying{
		{publishes, "Redis is away"}, {appends, "Redis is away"}, {journal, "do not wake each other"}, {hears, "not connected to Redis"}, {reads, "not connected to Redis"},
	}, may: roles}, func(t *testing.T, c *testserver.RedisCluster) func() {
		return stopAll(c.Nodes)
	}},
	{fault{name: "FAILOVER", may: roles}, func(t *testing.T, c *testserver.RedisCluster) func() {
		c.Failover(c.Replica(c.Owner(stream)))
		return func() {}
	}},
}

// other returns a primary that does not have a key.
func other(c *testserver.RedisCluster, key string) *testserver.RedisServer {
	owner := c.Owner(key)
	for _, s := range c.Primaries() {
		if s != owner {
			return s
		}
	}
	return nil
}

// TestRedisErrorsOfClusters has the same as TestRedisErrors happen in a cluster.
func TestRedisErrorsOfClusters(t *testing.T) {
	testkit.NoLeaks(t)
	s := clusterSite(t, nil)
	for _, f := range clusterFaults {
		t.Run(f.name, func(t *testing.T) {
			s.cluster.Ready()
			s.on(t, "flushall")
			sc := &scene{config: s.config}
			sc.everybody(t)
			sc.works()
			f.happens(t, sc.rig, f.begin(t, s.cluster))
		})
	}
}
