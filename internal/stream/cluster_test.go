package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/stream"
	"github.com/tracbus/tracbus/internal/stream/streamtest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// TestStreamThatMoves follows a stream whose slot goes to another node of a cluster:
// while that lasts, after it, and after a failover. Nothing is missing, nothing twice,
// and no error is said of it where the nodes say where to go.
func TestStreamThatMoves(t *testing.T) {
	testkit.NoLeaks(t)
	c := testserver.Cluster(t, testserver.ClusterOptions{})
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { _ = client.Close() })
	writer := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { _ = writer.Close() })
	last, before := int64(0), "0-0"
	add := func(n int) (tids []int64) {
		for range n {
			last++
			args := streamtest.Entry(0, last, 0, before, "m")
			testkit.Until(t, "the entry is appended", func() bool {
				err := writer.XAdd(context.Background(), args).Err()
				return err == nil || redis.HasErrorPrefix(err, "The ID specified in XADD is equal or smaller")
			})
			before, tids = args.ID, append(tids, last)
		}
		return tids
	}
	add(1)
	l := read(t, client, stream.Config{PingAfter: 5 * time.Second, MaxBackoff: 200 * time.Millisecond}, "1-0", forever)
	l.Takes(0, add(10)...)

	from := c.Owner(streamtest.Key)
	var to *testserver.RedisServer
	for _, s := range c.Primaries() {
		if s != from {
			to = s
		}
	}
	m := c.Migrate(streamtest.Key, to)
	l.Takes(0, add(5)...) // it is still there
	m.Keys()
	begun := time.Now()
	l.Takes(0, add(5)...) // it is there already, and asked for
	t.Logf("followed ASK within %v", time.Since(begun))
	m.End()
	begun = time.Now()
	l.Takes(0, add(5)...)
	t.Logf("followed the slot within %v", time.Since(begun))

	c.MoveSlot(streamtest.Key, from)
	begun = time.Now()
	more := add(5)
	for i := 0; i < len(more); { // it waits in a read that Redis ends, or finds out first
		s := l.Next()
		if s.Err != nil {
			require.False(t, s.Refused, "%v", s)
			continue
		}
		require.Equal(t, streamtest.ID(0, more[i], 0), s.String())
		i++
	}
	t.Logf("followed it back within %v", time.Since(begun))
}

// TestStreamAtANodeOfACluster: a client that is not for a cluster is told so, and does not
// follow.
func TestStreamAtANodeOfACluster(t *testing.T) {
	testkit.NoLeaks(t)
	c := testserver.Cluster(t, testserver.ClusterOptions{})
	for _, node := range c.Primaries() {
		if node == c.Owner(streamtest.Key) {
			continue
		}
		client := redis.NewClient(&redis.Options{Addr: node.Addr()})
		t.Cleanup(func() { _ = client.Close() })
		l := read(t, client, stream.Config{PingAfter: 5 * time.Second}, "0", forever)
		require.ErrorContains(t, l.Next().Err, "expected cluster_addrs")
	}
}
