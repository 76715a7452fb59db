package publish

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// clusterRig publishes to a cluster.
type clusterRig struct {
	*sendRig
	cluster *testserver.RedisCluster
	all     *redis.ClusterClient
}

func newClusterRig(t *testing.T, config Config) *clusterRig {
	t.Helper()
	testkit.NoLeaks(t)
	c := testserver.Cluster(t, testserver.ClusterOptions{})
	r := &clusterRig{cluster: c, sendRig: &sendRig{t: t, state: StateKey(config.StreamKey, true, "uuid", "redis")}}
	r.all = redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ReadTimeout: time.Second})
	t.Cleanup(func() { _ = r.all.Close() })
	r.publisher = newPublisher(t, r.all, config)
	return r
}

// hearAt listens at a node.
func (r *clusterRig) hearAt(s *testserver.RedisServer) {
	r.t.Helper()
	r.server, r.client = s, s.Admin()
	r.listen()
}

// other returns a primary that does not have a key.
func (r *clusterRig) other(key string) *testserver.RedisServer {
	for _, s := range r.cluster.Primaries() {
		if s != r.cluster.Owner(key) {
			return s
		}
	}
	return nil
}

// send1 sends one transaction.
func (r *clusterRig) send1(tid int64) error {
	events, _ := transactions(tid, tid, 2)
	return r.send(tid-1, tid, events)
}

// Whatever part of its keys has moved, a call is made where they are, or waits a moment
// for them.
func TestSpanWhileTheSlotMigrates(t *testing.T) {
	r := newClusterRig(t, Config{StreamKey: "changes"})
	r.mustReset(0)
	tid := int64(0)
	next := func() {
		t.Helper()
		tid++
		require.NoError(t, r.send1(tid))
	}
	next()
	// The slot goes to and fro in steps.
	for range 2 {
		m := r.cluster.Migrate("changes", r.other("changes"))
		next() // here: nothing has moved
		m.Keys()
		for range 3 {
			next() // there, after an ASKING; a script that it does not know
		}
		require.NoError(t, r.cluster.Owner("changes").Admin().ScriptFlush(r.ctx()).Err())
		next()
		m.End()
		next() // MOVED
	}
	// The slot goes to and fro while somebody sends.
	var moving sync.WaitGroup
	moved := make(chan struct{})
	moving.Go(func() {
		defer close(moved)
		for range 4 {
			r.cluster.MoveSlot("changes", r.other("changes"))
		}
	})
	for ended := false; !ended; {
		next()
		select {
		case <-moved:
			ended = true
		default:
		}
	}
	moving.Wait()
	next()
	_, want := transactions(1, tid, 2)
	r.client = r.cluster.Owner("changes").Admin()
	assert.Equal(t, want, r.entries())
	t.Logf("%d calls", tid)
}

// One of two keys is under way: the call waits for the other one.
func TestSpanWhileOneKeyIsUnderWay(t *testing.T) {
	r := newClusterRig(t, Config{StreamKey: "changes"})
	r.mustReset(0)
	require.NoError(t, r.send1(1))
	m := r.cluster.Migrate("changes", r.other("changes"))
	owner, to := r.cluster.Owner("changes").Admin(), r.other("changes")
	host, port, _ := strings.Cut(to.Addr(), ":")
	require.NoError(t, owner.Do(r.ctx(), "migrate", host, port, r.state, 0, 5000).Err())
	sent := make(chan error)
	go func() { sent <- r.send1(2) }()
	testkit.Until(t, "it is told to try again", func() bool {
		return strings.Contains(owner.Info(context.Background(), "errorstats").Val(), "errorstat_TRYAGAIN")
	})
	m.Keys()
	require.NoError(t, <-sent)
	m.End()
	require.NoError(t, r.send1(3))
}

// Without a stream, both ways publish at the node where subscribers are.
func TestPublishedWhereSubscribersAre(t *testing.T) {
	r := newClusterRig(t, Config{})
	owner := r.cluster.Owner(redisconn.AnyKey)
	r.hearAt(owner)
	r.mustReset(0)
	events, names := transactions(1, 3, 1)
	require.NoError(t, r.send(0, 3, events))
	assert.Equal(t, names, r.heard())
	require.NoError(t, r.publisher.Publish(r.ctx(), events))
	assert.Equal(t, names, r.heard())
	for _, s := range r.cluster.Nodes {
		published := strings.Contains(s.Admin().Info(r.ctx(), "commandstats").Val(), "cmdstat_publish:")
		assert.Equal(t, s == owner, published, s.Addr())
	}
	assert.Zero(t, r.publisher.Stats().NoReceivers, "the owner has one")
	_ = r.ears.Close()
	require.NoError(t, r.publisher.Publish(r.ctx(), events))
	assert.Zero(t, r.publisher.Stats().NoReceivers, "the owner knows of none, others may have some")
}

// A primary dies or stands, and its replica takes its place. How long that took is
// printed.
func TestPublisherWhenAPrimaryIsLost(t *testing.T) {
	for name, lose := range map[string]func(*testserver.RedisServer){
		"killed": (*testserver.RedisServer).Kill, "stands": (*testserver.RedisServer).Stop,
	} {
		for _, durable := range []bool{true, false} {
			t.Run(map[bool]string{true: "durable, ", false: "primary, "}[durable]+name, func(t *testing.T) {
				r := newClusterRig(t, Config{})
				events, names := transactions(1, 1, 3)
				old := r.cluster.Owner(redisconn.AnyKey)
				replica := r.cluster.Replica(old)
				require.NotNil(t, replica)
				r.hearAt(replica) // which stays its subscribers' when it becomes a primary
				if durable {
					r.mustReset(0)
				} else {
					require.NoError(t, r.publisher.Publish(r.ctx(), events))
					for range events { // the nodes of Redis 8 take a while to pass them on
						_, err := r.ears.ReceiveMessage(r.ctx())
						require.NoError(t, err)
					}
				}
				lose(old)
				began := time.Now()
				ctx := testkit.Within(t)
				sent := make(chan error, 1)
				go func() {
					if !durable {
						sent <- r.publisher.Publish(ctx, events)
						return
					}
					err := r.publisher.Send(ctx, r.span(0, 1), events)
					for err != nil && redisconn.Pause(ctx, 3, time.Second) {
						err = r.publisher.Send(ctx, r.span(0, 1), events)
					}
					sent <- err
				}()
				testkit.Until(t, "the replica is a primary", func() bool {
					return strings.Contains(replica.Admin().Info(context.Background(), "replication").Val(), "role:master")
				})
				failover := time.Since(began)
				require.NoError(t, <-sent)
				t.Logf("failover of Redis %v, published %v after it", failover.Round(time.Millisecond), (time.Since(began) - failover).Round(time.Millisecond))
				assert.Equal(t, names, r.heard())
			})
		}
	}
}
