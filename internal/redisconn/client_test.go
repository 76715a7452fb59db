package redisconn

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer cluster.Close()
	for _, good := range []redis.UniversalClient{client, cluster} {
		assert.NoError(t, Check(good))
	}
	for _, none := range []redis.UniversalClient{nil, (*redis.Client)(nil), (*redis.ClusterClient)(nil)} {
		assert.EqualError(t, Check(none), "needs a Redis client, got nil")
	}
	assert.EqualError(t, Check(ring), "needs a *redis.Client or *redis.ClusterClient, got *redis.Ring")
}

func TestNoRetryAndIsReply(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	require.NoError(t, client.Set(t.Context(), "k", "v", 0).Err())

	alone := redis.NewStringCmd(t.Context(), "get", "k")
	require.True(t, NoRetry(alone).NoRetry())
	require.NoError(t, client.Process(t.Context(), NoRetry(alone)))
	assert.Equal(t, "v", alone.Val())

	pipe := client.Pipeline()
	wrong, right := redis.NewIntCmd(t.Context(), "incr", "k"), redis.NewStringCmd(t.Context(), "get", "k")
	_ = pipe.Process(t.Context(), NoRetry(wrong))
	_ = pipe.Process(t.Context(), NoRetry(right))
	_, err := pipe.Exec(t.Context())
	assert.Equal(t, "v", right.Val())
	for _, err := range []error{err, wrong.Err(), fmt.Errorf("wrapped: %w", err)} {
		assert.True(t, IsReply(err), "%v", err)
		assert.True(t, IsReply(err, "NOPERM", "ERR "), "%v", err)
		assert.False(t, IsReply(err, "NOPERM"), "%v", err)
	}
	assert.False(t, IsReply(nil))
	assert.False(t, IsReply(errors.New("ERR by somebody else")))
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for try, want := range []time.Duration{25, 50, 100, 200, 300, 300} {
			begun := time.Now()
			assert.True(t, Pause(t.Context(), try, 300*time.Millisecond))
			assert.Equal(t, want*time.Millisecond, time.Since(begun))
		}
		assert.True(t, Pause(t.Context(), 1<<40, time.Hour), "the pause does not overflow")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		assert.False(t, Pause(ctx, 10, time.Hour))
		assert.Equal(t, time.Second, time.Since(begun))
	})
}
