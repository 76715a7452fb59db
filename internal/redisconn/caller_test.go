package redisconn_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// A caller goes to where subscribers go, while the server before is still there.
func TestCallerFollows(t *testing.T) {
	testkit.NoLeaks(t)
	one, two := testserver.Redis(t, testserver.RedisOptions{}), testserver.Redis(t, testserver.RedisOptions{})
	client, move, dials := moving(t, &redis.Options{}, one.Addr())
	caller := redisconn.NewCaller(client)
	t.Cleanup(caller.Close)
	call := func() bool {
		heard, err := caller.Call(testkit.Within(t), "news", "me")
		require.NoError(t, err)
		return heard
	}
	assert.False(t, call(), "nobody is there")
	subscribe := func(at *testserver.RedisServer) {
		ears := at.Admin().Subscribe(t.Context(), "news")
		t.Cleanup(func() { _ = ears.Close() })
		_, err := ears.Receive(testkit.Within(t))
		require.NoError(t, err)
	}
	subscribe(one)
	require.True(t, call())
	before := dials.Load()
	require.True(t, call())
	assert.LessOrEqual(t, dials.Load(), before+1, "but by the lookout no connection is made for each call")
	subscribe(two)
	move(two.Addr())
	testkit.Until(t, "calls go to the other server", func() bool {
		call()
		stats, err := two.Admin().Info(t.Context(), "commandstats").Result()
		require.NoError(t, err)
		return strings.Contains(stats, "cmdstat_publish")
	})
	require.NoError(t, two.Admin().Do(t.Context(), "client", "kill", "type", "normal", "skipme", "yes").Err())
	assert.True(t, call(), "an idle connection that was closed costs no call")
}
