package publish

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/testserver"
)

// A new branch has higher ids than all before, and its first entry says that
// none is before it. A publisher that does not know of it is told.
func TestStreamOfANewBranch(t *testing.T) {
	r := newSendRig(t, Config{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	other := newPublisher(t, r.own, r.publisher.script.config)
	events, names := transactions(1, 4, 1)
	r.mustReset(0)
	require.NoError(t, r.send(0, 2, events[:2]))
	require.NoError(t, other.Send(r.ctx(), r.span(2, 3), events[2:3]))
	require.NoError(t, r.reset(1, 5, consumer.Offset{At: at(3)}), "the history went back")
	late := r.span(1, 3)
	late.Generation = 0
	var e *consumer.Mismatch
	require.ErrorAs(t, other.Send(r.ctx(), late, events[1:3]), &e)
	assert.Equal(t, &consumer.Mismatch{Offset: consumer.Offset{Generation: 5}, OtherGeneration: true}, e)
	require.NoError(t, other.Send(r.ctx(), r.span(1, 3), events[1:3]))
	require.NoError(t, other.Send(r.ctx(), r.span(3, 4), events[3:]))
	assert.Equal(t, append(names[:3:3], names[1:]...), r.entries())
	entries, err := r.client.XRange(r.ctx(), "changes", "-", "+").Result()
	require.NoError(t, err)
	var ids, before []string
	for _, e := range entries {
		ids, before = append(ids, e.ID), append(before, e.Values["before"].(string))
	}
	assert.Equal(t, []string{"1-0", "2-0", "3-0", "1407374883553282-0", "1407374883553283-0", "1407374883553284-0"}, ids)
	assert.Equal(t, []string{"0-0", "1-0", "2-0", "0-0", "1407374883553282-0", "1407374883553283-0"}, before)
}

// A stream outlives its state: its ids say which branches there were. What
// somebody else appends is said, and how to go on.
func TestStreamThatIsNotEmpty(t *testing.T) {
	r := newSendRig(t, Config{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	events, names := transactions(1, 2, 1)
	foreign := func() {
		require.NoError(t, r.client.XAdd(r.ctx(), &redis.XAddArgs{Stream: "changes", ID: "1407374883553290-0", Values: []string{"channel", "x"}}).Err())
	}
	foreign()
	wantMismatch(t, r.send(0, 2, events), consumer.Offset{Empty: true, Generation: 5})
	require.NoError(t, r.client.Del(r.ctx(), "changes").Err())
	r.mustReset(0)
	foreign()
	err := r.send(0, 2, events)
	assert.ErrorContains(t, err, `publish: tid 1, seq 0 on trac.test.ticket.changed.1-0: `)
	assert.ErrorContains(t, err, `somebody else appended to "changes", which must belong to this journal and consumer alone; deleting "tracbus:{changes}:uuid:redis:place" makes it go on after that`)
	assert.Empty(t, r.heard())
	require.NoError(t, r.client.Del(r.ctx(), r.state).Err())
	wantMismatch(t, r.send(0, 2, events), consumer.Offset{Empty: true, Generation: 5})
	require.NoError(t, r.reset(0, 6, consumer.Offset{Empty: true, Generation: 5}))
	require.NoError(t, r.send(0, 2, events))
	assert.Equal(t, append([]string{"x"}, names...), r.entries())
}

func TestStreamIsCapped(t *testing.T) {
	r := newSendRig(t, Config{StreamKey: "changes", StreamMaxLen: 50}, testserver.RedisOptions{}, nil)
	r.mustReset(0)
	for tid := int64(0); tid < 1000; tid += 10 {
		events, _ := transactions(tid+1, tid+10, 1)
		require.NoError(t, r.send(tid, tid+10, events))
	}
	length, err := r.client.XLen(r.ctx(), "changes").Result()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, length, int64(50))
	assert.Less(t, length, int64(50+10+100), "Redis trims by nodes of 100 entries")
}

// Entries that are too old go when something is published, a bounded number at
// a time.
func TestStreamIsTrimmedByAge(t *testing.T) {
	r := newSendRig(t, Config{StreamKey: "changes", StreamMaxAge: time.Hour}, testserver.RedisOptions{}, nil)
	old := strconv.FormatInt(time.Now().Add(-61*time.Minute).UnixMilli(), 10)
	young := strconv.FormatInt(time.Now().Add(-59*time.Minute).UnixMilli(), 10)
	add := func(id int, appended string) {
		require.NoError(t, r.client.XAdd(r.ctx(), &redis.XAddArgs{
			Stream: "changes", ID: fmt.Sprintf("0-%d", id), Values: []string{"channel", appended, "at", appended},
		}).Err())
	}
	for id := range 2500 {
		add(id+1, old)
	}
	add(2501, young)
	r.mustReset(0)
	length := func() int64 { return r.client.XLen(r.ctx(), "changes").Val() }
	first := length()
	events, names := transactions(1, 1, 1)
	require.NoError(t, r.send(0, 1, events))
	assert.Less(t, length(), first)
	assert.Greater(t, length(), int64(500), "not all in one call")
	for tid := int64(1); tid <= 3; tid++ {
		require.NoError(t, r.send(tid, tid+1, nil))
	}
	assert.Equal(t, append([]string{young}, names...), r.entries())
}

// Consumer groups work with plain commands.
func TestStreamWithAConsumerGroup(t *testing.T) {
	r := newSendRig(t, Config{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	do := func(args ...any) any {
		t.Helper()
		v, err := r.client.Do(r.ctx(), args...).Result()
		require.NoError(t, err)
		return v
	}
	do("xgroup", "create", "changes", "mail", "$", "mkstream")
	events, _ := transactions(1, 3, 1)
	r.mustReset(0)
	require.NoError(t, r.send(0, 2, events[:2]))
	read := func(consumer string) (ids []string) {
		t.Helper()
		found, err := r.client.XReadGroup(r.ctx(), &redis.XReadGroupArgs{Group: "mail", Consumer: consumer, Streams: []string{"changes", ">"}, Count: 1, Block: -1}).Result()
		require.NoError(t, err)
		for _, e := range found[0].Messages {
			ids = append(ids, e.ID)
		}
		return ids
	}
	assert.Equal(t, []string{"1-0"}, read("a"))
	assert.Equal(t, []string{"2-0"}, read("b"))
	assert.Equal(t, int64(1), do("xack", "changes", "mail", "1-0"))
	require.NoError(t, r.send(2, 3, events[2:]))
	assert.Equal(t, []string{"3-0"}, read("a"))
	pending, err := r.client.XPending(r.ctx(), "changes", "mail").Result()
	require.NoError(t, err)
	assert.Equal(t, map[string]int64{"a": 1, "b": 1}, pending.Consumers)
}

// The rights that the documentation names are enough, and none is too much.
func TestRightsUnderDurable(t *testing.T) {
	const channels = "resetchannels &trac.* +evalsha +eval +publish +hmget +hset +time"
	for _, tc := range []struct {
		name   string
		config Config
		rules  string
	}{
		{"channels", Config{}, "~tracbus:* " + channels},
		{"stream", Config{StreamKey: "changes", StreamMaxAge: time.Hour}, "~tracbus:* ~changes " + channels + " +xadd +xtrim +xinfo|stream +xrange +xlen"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newSendRig(t, tc.config, testserver.RedisOptions{Users: []testserver.RedisUser{{Name: "trac", Password: "x", Rules: tc.rules}}},
				&redis.Options{Username: "trac", Password: "x", DisableIdentity: true})
			events, names := transactions(1, 3, 1)
			var tid int64
			whole := func() error {
				if err := r.client.ScriptFlush(r.ctx()).Err(); err != nil {
					return err
				}
				if err := r.client.Del(r.ctx(), r.state, "changes").Err(); err != nil {
					return err
				}
				var empty *consumer.Mismatch
				if err := r.send(0, 3, events); !errors.As(err, &empty) {
					return fmt.Errorf("to an empty Redis: %w", err)
				}
				if err := r.reset(tid, 0, consumer.Offset{Empty: true, Generation: -1}); err != nil {
					return err
				}
				if tc.config.StreamKey != "" { // an old entry, so that there is something to trim
					if err := r.client.XAdd(r.ctx(), &redis.XAddArgs{Stream: "changes", ID: "0-1", Values: []string{"at", "1"}}).Err(); err != nil {
						return err
					}
				}
				if err := r.send(0, 2, events[:2]); err != nil {
					return err
				}
				return r.send(2, 3, events[2:])
			}
			require.NoError(t, whole())
			assert.Equal(t, names, r.heard())
			for _, right := range strings.Fields(tc.rules) {
				if right[0] != '+' {
					continue
				}
				require.NoError(t, r.client.Do(r.ctx(), "acl", "setuser", "trac", "-"+right[1:]).Err())
				assert.Error(t, whole(), "without %s", right)
				require.NoError(t, r.client.Do(r.ctx(), "acl", "setuser", "trac", right).Err())
			}
		})
	}
}

// The state lies in the stream's slot, wherever that is.
func TestStateKeyIsInTheStreamsSlot(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--cluster-enabled", "yes"}})
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()
	for _, key := range []string{"changes", "{trac}:changes", "a{b", "{a{b}c", "x{y}{z}", "a{{b}}", "tracbus:{x}", "with space", "ä{ö}"} {
		require.True(t, IsStreamKey(key), key)
		want, err := client.ClusterKeySlot(t.Context(), key).Result()
		require.NoError(t, err)
		got, err := client.ClusterKeySlot(t.Context(), StateKey(key, false, "uuid", "redis")).Result()
		require.NoError(t, err)
		assert.Equal(t, want, got, key)
	}
	for _, key := range []string{"a}b", "{}x", "x{}", "}{", "}{a", "{}{a}"} {
		assert.False(t, IsStreamKey(key), key)
	}
}

// On a cluster the script goes to the node of its keys.
func TestSpanOnACluster(t *testing.T) {
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--cluster-enabled", "yes"}})
			r := &sendRig{t: t, server: server, state: StateKey(config.StreamKey, true, "uuid", "redis")}
			r.client = r.connect(&redis.Options{})
			require.NoError(t, r.client.ClusterAddSlotsRange(r.ctx(), 0, 16383).Err())
			for !strings.Contains(r.client.ClusterInfo(r.ctx()).Val(), "cluster_state:ok") {
				require.NoError(t, r.ctx().Err())
			}
			_, port, err := net.SplitHostPort(server.Addr())
			require.NoError(t, err)
			cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:" + port}})
			defer func() { _ = cluster.Close() }()
			r.publisher = newPublisher(t, cluster, config)
			r.listen()
			events, names := transactions(1, 4, 1)
			r.mustReset(0)
			require.NoError(t, r.send(0, 2, events[:2]))
			// A context that ends before the client's own timeouts takes another way.
			patient := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:" + port}, ReadTimeout: time.Hour})
			defer func() { _ = patient.Close() }()
			r.publisher = newPublisher(t, patient, config)
			require.NoError(t, r.send(2, 4, events[2:]))
			assert.Equal(t, names, r.heard())
		})
	}
}

// The in-process Redis of examples and tests runs the script too.
func TestSpanOnMiniredis(t *testing.T) {
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			r := &sendRig{t: t, state: StateKey(config.StreamKey, false, "uuid", "redis")}
			r.client = r.connect(&redis.Options{Addr: miniredis.RunT(t).Addr()})
			r.publisher = newPublisher(t, r.client, config)
			r.listen()
			events, names := transactions(1, 4, 2)
			r.mustReset(0)
			require.NoError(t, r.send(0, 2, events[:4]))
			require.NoError(t, r.send(0, 2, events[:4]))
			require.NoError(t, r.send(2, 4, events[4:]))
			wantMismatch(t, r.send(0, 2, events[:4]), consumer.Offset{At: at(4)})
			assert.Equal(t, names, r.heard())
		})
	}
}
