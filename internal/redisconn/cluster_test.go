package redisconn_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

func clusterClient(t *testing.T, c *testserver.RedisCluster) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// TestListenInACluster: the loop is where publishers without a stream publish, also
// after that has moved.
func TestListenInACluster(t *testing.T) {
	testkit.NoLeaks(t)
	c := testserver.Cluster(t, testserver.ClusterOptions{})
	l := listen(t, clusterClient(t, c), redisconn.ListenConfig{})
	first := c.Owner(redisconn.AnyKey)
	assert.EqualValues(t, 1, subscribers(t, first))

	var other *testserver.RedisServer
	for _, s := range c.Primaries() {
		if s != first {
			other = s
		}
	}
	c.MoveSlot(redisconn.AnyKey, other)
	l.again(1)
	assert.EqualValues(t, 1, subscribers(t, other))
	assert.Equal(t, []string{"the server is at " + other.Addr() + " now, and not at " + first.Addr()}, l.losses())
	l.hears(other, "after the slot moved")

	for i, fail := range []func(*testserver.RedisServer){
		(*testserver.RedisServer).Kill,
		(*testserver.RedisServer).Stop,
	} {
		owner := c.Owner(redisconn.AnyKey)
		fail(owner)
		testkit.Until(t, "another node has the slot", func() bool { now := c.Owner(redisconn.AnyKey); return now != nil && now != owner })
		took := time.Now()
		l.again(2 + i)
		t.Logf("subscribed again %v after the failover", time.Since(took))
		assert.EqualValues(t, 1, subscribers(t, c.Owner(redisconn.AnyKey)))
		l.hears(c.Owner(redisconn.AnyKey), "after failover "+strconv.Itoa(i))
		owner.Restart() // there is a replica again
		c.Ready()
	}
}

// TestListenBetweenNodes publishes at a node where the loop is not, while the
// connections between nodes are cut: what is missing has an Again after it.
func TestListenBetweenNodes(t *testing.T) {
	testkit.NoLeaks(t)
	c := testserver.Cluster(t, testserver.ClusterOptions{Nodes: testserver.RedisOptions{Args: []string{"--enable-debug-command", "yes"}}})
	l := listen(t, clusterClient(t, c), redisconn.ListenConfig{Links: true})
	owner := c.Owner(redisconn.AnyKey)
	var other *testserver.RedisServer
	for _, s := range c.Primaries() {
		if s != owner {
			other = s
		}
	}
	ctx := context.Background()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	sent := 0
	for ; sent < 1500; sent++ {
		<-tick.C
		require.NoError(t, other.Admin().Publish(ctx, "c.x", strconv.Itoa(sent)).Err())
		if sent%150 == 75 {
			require.NoError(t, other.Admin().Do(ctx, "debug", "clusterlink", "kill", "all", c.ID(owner)).Err())
		}
	}
	testkit.Until(t, "the last one gets through, and the loop says what did not", func() bool {
		require.NoError(t, other.Admin().Publish(ctx, "c.x", strconv.Itoa(sent)).Err())
		sent++
		return len(unsaid(l.taken(), sent)) == 0
	})
	missed := sent
	for _, s := range l.taken() {
		if s.Message != nil {
			missed--
		}
	}
	t.Logf("%d of %d messages were lost between nodes, and the loop said so", missed, sent)
	assert.Positive(t, missed, "nothing was lost: the test shows nothing")
	assert.Empty(t, l.losses())
}

// unsaid returns the messages that are missing without an Again after the next one
// that was heard.
func unsaid(steps []redisconn.Step, sent int) (missing []int) {
	next := 0
	for _, s := range steps {
		switch {
		case isAgain(s):
			missing = nil
		case s.Message != nil:
			n, err := strconv.Atoi(s.Message.Payload)
			if err != nil {
				continue
			}
			for ; next < n; next++ {
				missing = append(missing, next)
			}
			next = n + 1
		}
	}
	for ; next < sent-1; next++ { // the last one may be on its way
		missing = append(missing, next)
	}
	return missing
}

// TestListenWithoutTheRightToSeeLinks says so once, and goes on.
func TestListenWithoutTheRightToSeeLinks(t *testing.T) {
	testkit.NoLeaks(t)
	c := testserver.Cluster(t, testserver.ClusterOptions{Nodes: testserver.RedisOptions{
		Users: []testserver.RedisUser{{Name: "reader", Password: "r", Rules: "resetchannels &c.* +psubscribe +ping +cluster|slots"}},
	}})
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Username: "reader", Password: "r"})
	t.Cleanup(func() { _ = client.Close() })
	l := listen(t, client, redisconn.ListenConfig{Links: true})
	l.hears(c.Owner(redisconn.AnyKey), "first")
	require.NoError(t, c.Owner(redisconn.AnyKey).Admin().ClientKillByFilter(context.Background(), "TYPE", "pubsub").Err())
	l.again(1)
	l.hears(c.Owner(redisconn.AnyKey), "second")
	said := 0
	for _, s := range l.taken() {
		if s.Unwatched != nil {
			said++
			assert.ErrorContains(t, s.Unwatched, "cluster|links")
		}
	}
	assert.Equal(t, 1, said)
}

// TestListenWhenTheRightToSeeLinksIsTaken: it says so while the subscription lasts.
func TestListenWhenTheRightToSeeLinksIsTaken(t *testing.T) {
	testkit.NoLeaks(t)
	const rules = "resetchannels &c.* +psubscribe +ping +cluster|slots"
	c := testserver.Cluster(t, testserver.ClusterOptions{Nodes: testserver.RedisOptions{
		Users: []testserver.RedisUser{{Name: "reader", Password: "r", Rules: rules + " +cluster|links"}},
	}})
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Username: "reader", Password: "r"})
	t.Cleanup(func() { _ = client.Close() })
	l := listen(t, client, redisconn.ListenConfig{Links: true})
	require.NoError(t, c.Owner(redisconn.AnyKey).Admin().ACLSetUser(t.Context(), "reader", "-cluster|links").Err())
	l.until("it says what it cannot see", func(steps []redisconn.Step) bool {
		return slices.ContainsFunc(steps, func(s redisconn.Step) bool { return s.Unwatched != nil })
	})
	l.hears(c.Owner(redisconn.AnyKey), "in the same subscription")
	assert.Empty(t, l.losses())
}
