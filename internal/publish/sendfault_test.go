package publish

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/testserver"
)

// What was done before a refusal is remembered, and the repetition goes on
// exactly there.
func TestSpanStopsAtAForbiddenChannel(t *testing.T) {
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			r := newSendRig(t, config, testserver.RedisOptions{Users: []testserver.RedisUser{
				{Name: "narrow", Password: "x", Rules: "~* +@all &trac.test.ticket.changed.1-* &trac.test.ticket.changed.2-0 &trac.test.ticket.changed.2-1"},
			}}, &redis.Options{Username: "narrow", Password: "x"})
			events, names := transactions(1, 4, 3)
			r.mustReset(0)
			for range 3 {
				err := r.send(0, 4, events)
				assert.ErrorContains(t, err, "publish: tid 2, seq 2 on trac.test.ticket.changed.2-2: ")
				assert.Equal(t, "1", r.offset()["tid"])
				assert.Equal(t, at(2).CommitID, r.offset()["next"])
				assert.Equal(t, "1", r.offset()["seq"])
			}
			assert.Equal(t, names[:5], r.heard())
			require.NoError(t, r.client.Do(r.ctx(), "acl", "setuser", "narrow", "allchannels").Err())
			require.NoError(t, r.send(1, 4, events[3:]), "read again from where Redis is")
			assert.Equal(t, names[5:], r.heard())
			if config.StreamKey != "" {
				assert.Equal(t, names, r.entries())
			}
			assert.Equal(t, uint64(12), r.publisher.Stats().Published)
		})
	}
}

// Redis without memory refuses the call before it published anything.
func TestSpanWhenRedisIsOutOfMemory(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		events, names := transactions(1, 3, 1)
		r.mustReset(0)
		require.NoError(t, r.send(0, 1, events[:1]))
		require.NoError(t, r.client.ConfigSet(r.ctx(), "maxmemory", "1").Err())
		for range 2 {
			assert.ErrorContains(t, r.send(1, 3, events[1:]), "OOM")
		}
		assert.Equal(t, names[:1], r.heard())
		require.NoError(t, r.client.ConfigSet(r.ctx(), "maxmemory", "0").Err())
		require.NoError(t, r.send(1, 3, events[1:]))
		assert.Equal(t, names[1:], r.heard())
		assert.False(t, r.publisher.Stats().Disconnected)
	})
}

// A replica refuses it likewise, although it would publish.
func TestSpanOnAReadOnlyReplica(t *testing.T) {
	r := newSendRig(t, Config{}, testserver.RedisOptions{}, nil)
	events, names := transactions(1, 1, 1)
	r.mustReset(0)
	require.NoError(t, r.client.Do(r.ctx(), "replicaof", "127.0.0.1", "1").Err())
	assert.ErrorContains(t, r.send(0, 1, events), "READONLY")
	require.NoError(t, r.client.Do(r.ctx(), "replicaof", "no", "one").Err())
	assert.Empty(t, r.heard())
	require.NoError(t, r.send(0, 1, events))
	assert.Equal(t, names, r.heard())
}

// Somebody else's keys of another type are errors, not places.
func TestSpanWhenAKeyIsOfAnotherType(t *testing.T) {
	r := newSendRig(t, Config{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	events, names := transactions(1, 2, 1)
	require.NoError(t, r.client.Set(r.ctx(), r.state, "x", 0).Err())
	assert.ErrorContains(t, r.send(0, 1, events[:1]), "WRONGTYPE")
	require.NoError(t, r.client.Del(r.ctx(), r.state).Err())
	r.mustReset(0)
	require.NoError(t, r.client.Set(r.ctx(), "changes", "x", 0).Err())
	assert.ErrorContains(t, r.send(0, 2, events), "WRONGTYPE")
	assert.Empty(t, r.heard())
	require.NoError(t, r.client.Del(r.ctx(), "changes").Err())
	require.NoError(t, r.send(0, 2, events))
	assert.Equal(t, names, r.heard())
	assert.Equal(t, names, r.entries())
}

// A state that somebody else wrote to is an error for the consumer: Redis is there.
func TestSpanWhenTheStateIsDamaged(t *testing.T) {
	r := newSendRig(t, Config{}, testserver.RedisOptions{}, nil)
	events, names := transactions(1, 1, 1)
	r.mustReset(0)
	require.NoError(t, r.client.HSet(r.ctx(), r.state, "tid", "x").Err())
	err := r.send(0, 1, events)
	assert.ErrorContains(t, err, "expected numbers for tid and generation")
	assert.False(t, errors.As(err, new(*consumer.Away)), "else the consumer says nothing")
	assert.False(t, r.publisher.Stats().Disconnected)
	assert.ErrorContains(t, r.publisher.Stats().LastError, "state in Redis")
	require.NoError(t, r.client.HSet(r.ctx(), r.state, "tid", "0").Err())
	require.NoError(t, r.send(0, 1, events))
	assert.Equal(t, names, r.heard())
}

// An event that cannot be encoded blocks, and what is before it goes out.
func TestSpanBlocksAtWhatCannotBeEncoded(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		events, names := transactions(1, 3, 2)
		bad := events[3]
		bad.fails = errors.New("no such thing")
		good := events[3]
		events[3] = bad
		r.mustReset(0)
		for range 2 {
			assert.EqualError(t, r.send(0, 3, events), "publish: tid 2, seq 1 on trac.test.ticket.changed.2-1: no such thing")
		}
		assert.Equal(t, names[:3], r.heard())
		assert.Zero(t, r.publisher.Stats().Rejected)
		events[3] = good
		require.NoError(t, r.send(0, 3, events))
		assert.Equal(t, names[3:], r.heard())
	})
}

// Redis hangs up on what is too long for it: that is said, and what is before
// it goes out.
func TestSpanBlocksAtWhatIsTooLong(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		require.NoError(t, r.client.ConfigSet(r.ctx(), "proto-max-bulk-len", "1mb").Err())
		events, names := transactions(1, 3, 1)
		long := events[1]
		long.payload = fmt.Sprintf(`{"a":"%01500000d"}`, 0)
		events[1] = long
		r.mustReset(0)
		for range 2 {
			assert.ErrorContains(t, r.send(0, 3, events), "publish: tid 2, seq 0 on trac.test.ticket.changed.2-0: a message of 15000")
			assert.Equal(t, "1", r.offset()["tid"])
		}
		require.NoError(t, r.client.ConfigSet(r.ctx(), "proto-max-bulk-len", "512mb").Err())
		require.NoError(t, r.send(0, 3, events))
		assert.Equal(t, names, r.heard())
	})
}

// One try, within the context or the client's timeouts, whichever ends first.
func TestSpanTriesOnceWithinItsTime(t *testing.T) {
	for name, tc := range map[string]struct {
		o    redis.Options
		ctx  time.Duration
		most time.Duration
	}{
		"the client's":  {redis.Options{ReadTimeout: 100 * time.Millisecond, WriteTimeout: 100 * time.Millisecond}, time.Minute, 5 * time.Second},
		"the context's": {redis.Options{ReadTimeout: -1, WriteTimeout: -1}, 100 * time.Millisecond, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSendRig(t, Config{}, testserver.RedisOptions{}, &tc.o)
			events, names := transactions(1, 1, 1)
			r.mustReset(0)
			dials := r.tap.Dials.Load() // a second try would need another connection
			r.server.Stop()
			began := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), tc.ctx)
			defer cancel()
			err := r.publisher.Send(ctx, r.span(0, 1), events)
			require.Error(t, err)
			assert.Less(t, time.Since(began), tc.most)
			assert.Equal(t, dials, r.tap.Dials.Load())
			assert.True(t, r.publisher.Stats().Disconnected)
			r.server.Continue()
			require.NoError(t, r.send(0, 1, events))
			assert.Equal(t, names, r.heard())
			assert.False(t, r.publisher.Stats().Disconnected)
		})
	}
}

// Wherever a connection breaks, the repetition publishes what is missing only.
func TestSpanWhenConnectionsAreCutAtAnyByte(t *testing.T) {
	r := newSendRig(t, Config{StreamKey: "changes"}, testserver.RedisOptions{}, nil)
	proxy := testserver.Proxy(t, r.server.Addr())
	r.publisher = newPublisher(t, r.connect(&redis.Options{Addr: proxy.Addr(), PoolSize: 1}), r.publisher.script.config)
	r.mustReset(0)
	var all []string
	var tid int64
	for cut := int64(1); cut < 2000; cut += 61 {
		events, names := transactions(tid+1, tid+3, 2)
		proxy.CutAfter(cut)
		for try := 0; ; try++ {
			require.Less(t, try, 20)
			if err := r.send(tid, tid+3, events); err == nil {
				break
			}
		}
		tid += 3
		all = append(all, names...)
	}
	assert.Equal(t, all, r.heard())
	assert.Equal(t, all, r.entries())
}
