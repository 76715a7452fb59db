package redisconn_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// moving is a client whose address leads where a test says.
func moving(t *testing.T, o *redis.Options, to string) (client *redis.Client, move func(addrs ...string), dials *atomic.Int64) {
	var targets atomic.Pointer[[]string]
	dials = new(atomic.Int64)
	move = func(addrs ...string) { targets.Store(&addrs) }
	move(to)
	o.Addr = "192.0.2.1:6379"
	o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
		all := *targets.Load()
		return new(net.Dialer).DialContext(ctx, "tcp", all[int(dials.Add(1))%len(all)])
	}
	client = redis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	return client, move, dials
}

// TestListenAtAnAddressThatMoves: a new connection leads to another server, and what
// exists is not broken.
func TestListenAtAnAddressThatMoves(t *testing.T) {
	testkit.NoLeaks(t)
	options := testserver.RedisOptions{Users: []testserver.RedisUser{
		{Name: "some", Password: "p", Rules: "&c.* +psubscribe +ping"},
		{Name: "more", Password: "p", Rules: "&c.* +psubscribe +ping +info"},
	}}
	one, two := testserver.Redis(t, options), testserver.Redis(t, options)
	for range 20 { // so that a number of a connection tells nothing
		c := two.Admin().Conn()
		require.NoError(t, c.Ping(t.Context()).Err())
		_ = c.Close()
	}
	client, move, _ := moving(t, &redis.Options{Username: "more", Password: "p"}, one.Addr())
	l := listen(t, client, redisconn.ListenConfig{})
	move(two.Addr())
	begun := time.Now()
	l.again(1)
	t.Logf("left after %v", time.Since(begun))
	l.hears(two, "at the other one")
	require.Len(t, l.losses(), 1)
	assert.Contains(t, l.losses()[0], two.Addr())
}

// TestListenWithoutTheRightToSeeTheServer says, once, that a move may go unnoticed, and
// does not fill Redis's log with what it may not ask.
func TestListenWithoutTheRightToSeeTheServer(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{Users: []testserver.RedisUser{
		{Name: "some", Password: "p", Rules: "&c.* +psubscribe +ping"},
		{Name: "more", Password: "p", Rules: "&c.* +psubscribe +ping +info"},
	}})
	unwatched := func(l *listening) (said []error) {
		for _, s := range l.taken() {
			if s.Unwatched != nil {
				said = append(said, s.Unwatched)
			}
		}
		return said
	}
	client, _, dials := moving(t, &redis.Options{Username: "some", Password: "p"}, server.Addr())
	l := listen(t, client, redisconn.ListenConfig{Links: true})
	l.hears(server, "first")
	require.NoError(t, server.Admin().ClientKillByFilter(context.Background(), "USER", "some").Err())
	l.again(1)
	testkit.Until(t, "the loop has looked", func() bool { return dials.Load() >= 5 })
	l.hears(server, "second")
	require.Len(t, unwatched(l), 1)
	assert.ErrorContains(t, unwatched(l)[0], "expected the right +info: NOPERM")
	log, err := server.Admin().Do(context.Background(), "acl", "log").Slice()
	require.NoError(t, err)
	for _, entry := range log {
		assert.LessOrEqual(t, entry.(map[any]any)["count"], int64(4), "two for each connection")
	}

	more, _, _ := moving(t, &redis.Options{Username: "more", Password: "p"}, server.Addr())
	m := listen(t, more, redisconn.ListenConfig{Links: true})
	m.hears(server, "third")
	assert.Empty(t, unwatched(m))
	wakes := listen(t, client, redisconn.ListenConfig{})
	wakes.hears(server, "fourth")
	assert.Empty(t, unwatched(wakes), "who does not care is not told")
}

// TestListenAtAnAddressOfSeveralServers: a balancer in front of several replicas, or
// a name with several addresses, is no reason to go to and fro.
func TestListenAtAnAddressOfSeveralServers(t *testing.T) {
	testkit.NoLeaks(t)
	primary := testserver.Redis(t, testserver.RedisOptions{})
	var replicas []*testserver.RedisServer
	for range 2 {
		r := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--replicaof", "127.0.0.1 " + strconv.Itoa(primary.Port())}})
		testkit.Until(t, "the replica has all", func() bool {
			info, err := r.Admin().Info(context.Background(), "replication").Result()
			return err == nil && strings.Contains(info, "master_link_status:up")
		})
		replicas = append(replicas, r)
	}
	client, move, dials := moving(t, &redis.Options{}, replicas[0].Addr())
	move(replicas[0].Addr(), replicas[1].Addr())
	l := listen(t, client, redisconn.ListenConfig{})
	other, move2, dials2 := moving(t, &redis.Options{}, primary.Addr())
	m := listen(t, other, redisconn.ListenConfig{})
	alone := testserver.Redis(t, testserver.RedisOptions{})
	move2(primary.Addr(), alone.Addr()) // in turns, which makes no sense
	testkit.Until(t, "the loops have looked twice", func() bool { return dials.Load() >= 3 && dials2.Load() >= 5 })
	l.hears(primary, "through the primary")
	assert.Empty(t, l.losses())
	assert.Empty(t, m.losses())
}

// TestListenAtAServerThatBecomesAReplica: what it was told before may be lost.
func TestListenAtAServerThatBecomesAReplica(t *testing.T) {
	testkit.NoLeaks(t)
	one, two := testserver.Redis(t, testserver.RedisOptions{}), testserver.Redis(t, testserver.RedisOptions{})
	client := testkit.PatientClient(t, one.Addr())
	l := listen(t, client, redisconn.ListenConfig{})
	require.NoError(t, one.Admin().ReplicaOf(t.Context(), "127.0.0.1", strconv.Itoa(two.Port())).Err())
	l.again(1)
	assert.Equal(t, []string{one.Addr() + " was a primary, and is a replica of " + two.Addr() + " now"}, l.losses())
	testkit.Until(t, "messages reach it through the other one", func() bool {
		require.NoError(t, two.Admin().Publish(context.Background(), "c.x", "y").Err())
		for _, s := range l.taken() {
			if s.Message != nil {
				return true
			}
		}
		return false
	})
}
