package tracbus

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
	"github.com/tracbus/tracbus/internal/publish"
	"github.com/tracbus/tracbus/internal/testserver"
)

// An entry has what a message lacks, in fields that redis-cli shows.
func TestStreamEntry(t *testing.T) {
	r := newChainRig(t, PublisherConfig{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	made := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	change := Change{
		Env: "test", TID: 7, CommitID: at(7).CommitID, Seq: 2, Time: made,
		Author: "joe", IPNR: "10.0.0.1", Authenticated: true, Comment: "Done.",
	}
	e := TicketChanged{
		Change: change, ID: 5,
		New: Fields{"due": made, "status": "closed", "begun": nil}, Old: Fields{"due": nil, "status": "new", "begun": made},
	}
	deleted := WikiPageDeleted{Change: Change{Env: "test", TID: 8, CommitID: at(8).CommitID}, Page: WikiPage{Name: "Start"}}
	r.mustBegin(6)
	require.NoError(t, r.hand(6, 7, []Event{e}))
	require.NoError(t, r.hand(7, 8, []Event{deleted}))

	entries, err := r.client.XRange(r.ctx(), "changes", "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, entries, 2)
	channel, payload, err := PublisherConfig{}.Encode(e)
	require.NoError(t, err)
	assert.Equal(t, "7-2", entries[0].ID)
	appended, err := strconv.ParseInt(entries[0].Values["at"].(string), 10, 64)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), time.UnixMilli(appended), time.Minute)
	delete(entries[0].Values, "at")
	assert.Equal(t, map[string]any{
		"channel": channel, "payload": payload, "mark": "mark7", "time": strconv.FormatInt(made.UnixMicro(), 10),
		"author": "joe", "ipnr": "10.0.0.1", "authenticated": "1", "comment": "Done.",
		"types": `{"due":"time"}`, "old_types": `{"begun":"time"}`, "before": "0-0",
	}, entries[0].Values)
	assert.Equal(t, "8-0", entries[1].ID)
	assert.Equal(t, "7-2", entries[1].Values["before"])
	assert.Equal(t, "", entries[1].Values["time"], "not known")
	assert.Equal(t, "0", entries[1].Values["authenticated"])
	assert.NotContains(t, entries[1].Values, "types")
	assert.NotContains(t, entries[1].Values, "old_types")
}

// A new branch has higher ids than all before, and its first entry says that
// none is before it. A publisher that does not know of it finds out.
func TestStreamOfANewBranch(t *testing.T) {
	r := newChainRig(t, PublisherConfig{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	other := NewPublisher(r.own, *r.publisher.codec.config)
	events, names := transactions(1, 4, 1)
	r.mustBegin(0)
	require.NoError(t, r.hand(0, 2, events[:2]))
	require.NoError(t, other.handleChained(r.ctx(), r.chain(2, 3), events[2:3]))
	require.NoError(t, r.begin(1, 5, consumer.Offset{At: at(3)}), "the history went back")
	require.NoError(t, other.handleChained(r.ctx(), r.chain(1, 3), events[1:3]))
	require.NoError(t, other.handleChained(r.ctx(), r.chain(3, 4), events[3:]))
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
	r := newChainRig(t, PublisherConfig{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	events, names := transactions(1, 2, 1)
	foreign := func() {
		require.NoError(t, r.client.XAdd(r.ctx(), &redis.XAddArgs{Stream: "changes", ID: "1407374883553290-0", Values: []string{"channel", "x"}}).Err())
	}
	foreign()
	wantElsewhere(t, r.hand(0, 2, events), consumer.Offset{Empty: true, Generation: 5})
	require.NoError(t, r.client.Del(r.ctx(), "changes").Err())
	r.mustBegin(0)
	foreign()
	err := r.hand(0, 2, events)
	assert.ErrorContains(t, err, `publish: tid 1, seq 0 on trac.test.ticket.changed.1-0: `)
	assert.ErrorContains(t, err, `somebody else appended to "changes", which must belong to this journal and consumer alone; deleting "tracbus:{changes}:uuid:redis:place" makes it go on after that`)
	assert.Empty(t, r.heard())
	require.NoError(t, r.client.Del(r.ctx(), r.state).Err())
	wantElsewhere(t, r.hand(0, 2, events), consumer.Offset{Empty: true, Generation: 5})
	require.NoError(t, r.begin(0, 6, consumer.Offset{Empty: true, Generation: 5}))
	require.NoError(t, r.hand(0, 2, events))
	assert.Equal(t, append([]string{"x"}, names...), r.entries())
}

func TestStreamIsCapped(t *testing.T) {
	r := newChainRig(t, PublisherConfig{StreamKey: "changes", StreamMaxLen: 50}, testserver.RedisOptions{}, nil)
	r.mustBegin(0)
	for tid := int64(0); tid < 1000; tid += 10 {
		events, _ := transactions(tid+1, tid+10, 1)
		require.NoError(t, r.hand(tid, tid+10, events))
	}
	length, err := r.client.XLen(r.ctx(), "changes").Result()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, length, int64(50))
	assert.Less(t, length, int64(50+10+100), "Redis trims by nodes of 100 entries")
}

// Entries that are too old go when something is published, a bounded number at
// a time.
func TestStreamIsTrimmedByAge(t *testing.T) {
	r := newChainRig(t, PublisherConfig{StreamKey: "changes", StreamMaxAge: time.Hour}, testserver.RedisOptions{}, nil)
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
	r.mustBegin(0)
	length := func() int64 { return r.client.XLen(r.ctx(), "changes").Val() }
	first := length()
	events, names := transactions(1, 1, 1)
	require.NoError(t, r.hand(0, 1, events))
	assert.Less(t, length(), first)
	assert.Greater(t, length(), int64(500), "not all in one call")
	for tid := int64(1); tid <= 3; tid++ {
		require.NoError(t, r.hand(tid, tid+1, nil))
	}
	assert.Equal(t, append([]string{young}, names...), r.entries())
}

// Consumer groups work with plain commands.
func TestStreamWithAConsumerGroup(t *testing.T) {
	r := newChainRig(t, PublisherConfig{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	do := func(args ...any) any {
		t.Helper()
		v, err := r.client.Do(r.ctx(), args...).Result()
		require.NoError(t, err)
		return v
	}
	do("xgroup", "create", "changes", "mail", "$", "mkstream")
	events, _ := transactions(1, 3, 1)
	r.mustBegin(0)
	require.NoError(t, r.hand(0, 2, events[:2]))
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
	require.NoError(t, r.hand(2, 3, events[2:]))
	assert.Equal(t, []string{"3-0"}, read("a"))
	pending, err := r.client.XPending(r.ctx(), "changes", "mail").Result()
	require.NoError(t, err)
	assert.Equal(t, map[string]int64{"a": 1, "b": 1}, pending.Consumers)
}

// The rights that the documentation names are enough, and none is too much.
func TestRightsUnderOnce(t *testing.T) {
	const channels = "resetchannels &trac.* +evalsha +eval +publish +hmget +hset +time"
	for _, tc := range []struct {
		name   string
		config PublisherConfig
		rules  string
	}{
		{"channels", PublisherConfig{}, "~tracbus:* " + channels},
		{"stream", PublisherConfig{StreamKey: "changes", StreamMaxAge: time.Hour}, "~tracbus:* ~changes " + channels + " +xadd +xtrim +xinfo|stream +xrange +xlen"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newChainRig(t, tc.config, testserver.RedisOptions{Users: []testserver.RedisUser{{Name: "trac", Password: "x", Rules: tc.rules}}},
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
				if err := r.hand(0, 3, events); !errors.As(err, &empty) {
					return fmt.Errorf("to an empty Redis: %w", err)
				}
				if err := r.begin(tid, 0, consumer.Offset{Empty: true, Generation: -1}); err != nil {
					return err
				}
				if tc.config.StreamKey != "" { // an old entry, so that there is something to trim
					if err := r.client.XAdd(r.ctx(), &redis.XAddArgs{Stream: "changes", ID: "0-1", Values: []string{"at", "1"}}).Err(); err != nil {
						return err
					}
				}
				if err := r.hand(0, 2, events[:2]); err != nil {
					return err
				}
				return r.hand(2, 3, events[2:])
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
		require.NoError(t, PublisherConfig{StreamKey: key}.checkStream(), key)
		want, err := client.ClusterKeySlot(t.Context(), key).Result()
		require.NoError(t, err)
		got, err := client.ClusterKeySlot(t.Context(), publish.StateKey(key, "uuid", "redis")).Result()
		require.NoError(t, err)
		assert.Equal(t, want, got, key)
	}
	for _, key := range []string{"a}b", "{}x", "x{}", "}{", "}{a", "{}{a}"} {
		assert.ErrorContains(t, PublisherConfig{StreamKey: key}.checkStream(), "expected a key without }", key)
	}
	assert.PanicsWithValue(t, `tracbus: PublisherConfig with StreamKey "a}b": expected a key without }, or with braces around a part of it, as in {trac}:changes`,
		func() { NewPublisher(client, PublisherConfig{StreamKey: "a}b"}) })
	assert.PanicsWithValue(t, "tracbus: PublisherConfig with StreamMaxLen -1 and StreamMaxAge 0s: expected none below zero, and no age below a millisecond",
		func() { NewPublisher(client, PublisherConfig{StreamKey: "a", StreamMaxLen: -1}) })
	assert.PanicsWithValue(t, "tracbus: PublisherConfig with StreamMaxLen or StreamMaxAge: expected a StreamKey too",
		func() { NewPublisher(client, PublisherConfig{StreamMaxAge: time.Hour}) })
}

// On a cluster the script goes to the node of its keys.
func TestChainOnACluster(t *testing.T) {
	for name, config := range chainConfigs {
		t.Run(name, func(t *testing.T) {
			server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--cluster-enabled", "yes"}})
			r := &chainRig{t: t, server: server, state: publish.StateKey(config.StreamKey, "uuid", "redis")}
			r.client = r.connect(&redis.Options{})
			require.NoError(t, r.client.ClusterAddSlotsRange(r.ctx(), 0, 16383).Err())
			for !strings.Contains(r.client.ClusterInfo(r.ctx()).Val(), "cluster_state:ok") {
				require.NoError(t, r.ctx().Err())
			}
			_, port, err := net.SplitHostPort(server.Addr())
			require.NoError(t, err)
			cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:" + port}})
			defer func() { _ = cluster.Close() }()
			r.publisher = NewPublisher(cluster, config)
			r.listen()
			events, names := transactions(1, 4, 1)
			r.mustBegin(0)
			require.NoError(t, r.hand(0, 2, events[:2]))
			// A context that ends before the client's own timeouts takes another way.
			patient := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:" + port}, ReadTimeout: time.Hour})
			defer func() { _ = patient.Close() }()
			r.publisher = NewPublisher(patient, config)
			require.NoError(t, r.hand(2, 4, events[2:]))
			assert.Equal(t, names, r.heard())
		})
	}
}

func TestStreamNeedsOnce(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = client.Close() }()
	bus := NewBus("test")
	defer func() { require.NoError(t, bus.Close(t.Context())) }()
	p := NewPublisher(client, PublisherConfig{StreamKey: "changes"})
	for _, scope := range []Scope{Primary, Everywhere} {
		assert.PanicsWithValue(t, "tracbus: registering *tracbus.Publisher under "+scope.String()+
			`: PublisherConfig.StreamKey is "changes": a stream is only appended to under Durable, which knows what is in it already`,
			func() { bus.All(scope, p) })
	}
}

// The in-process Redis of examples and tests runs the script too.
func TestChainOnMiniredis(t *testing.T) {
	for name, config := range chainConfigs {
		t.Run(name, func(t *testing.T) {
			r := &chainRig{t: t, state: publish.StateKey(config.StreamKey, "uuid", "redis")}
			r.client = r.connect(&redis.Options{Addr: miniredis.RunT(t).Addr()})
			r.publisher = NewPublisher(r.client, config)
			r.listen()
			events, names := transactions(1, 4, 2)
			r.mustBegin(0)
			require.NoError(t, r.hand(0, 2, events[:4]))
			require.NoError(t, r.hand(0, 2, events[:4]))
			require.NoError(t, r.hand(2, 4, events[4:]))
			wantElsewhere(t, r.hand(0, 2, events[:4]), consumer.Offset{At: at(4)})
			assert.Equal(t, names, r.heard())
		})
	}
}
