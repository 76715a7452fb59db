package redisconn_test

import (
	"context"
	"fmt"
	"slices"
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

// listening is a loop over Listen in the background, and what it has yielded.
type listening struct {
	t     *testing.T
	mu    sync.Mutex
	steps []redisconn.Step
}

func listen(t *testing.T, client redis.UniversalClient, config redisconn.ListenConfig) *listening {
	t.Helper()
	l := &listening{t: t}
	config.Patterns = []string{"c.*"}
	if config.PingAfter == 0 {
		config.PingAfter = 10 * time.Second
	}
	config.MaxBackoff = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for step := range redisconn.Listen(ctx, client, config) {
			l.mu.Lock()
			l.steps = append(l.steps, step)
			l.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	l.until("it is subscribed", func(steps []redisconn.Step) bool { return slices.ContainsFunc(steps, isSubscribed) })
	return l
}

func isSubscribed(s redisconn.Step) bool {
	return s.Message == nil && s.Lost == nil && s.Unwatched == nil
}

func isAgain(s redisconn.Step) bool { return isSubscribed(s) && s.Again }

func (l *listening) taken() []redisconn.Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.steps)
}

func (l *listening) until(what string, is func([]redisconn.Step) bool) {
	l.t.Helper()
	testkit.Until(l.t, what, func() bool { return is(l.taken()) })
}

// again waits until the loop has subscribed again after n losses in all.
func (l *listening) again(n int) {
	l.t.Helper()
	l.until("it is subscribed again", func(steps []redisconn.Step) bool {
		losses, lost := 0, false
		for _, s := range steps {
			if s.Lost != nil {
				lost = true
			} else if isAgain(s) && lost {
				losses, lost = losses+1, false
			}
		}
		return losses >= n
	})
}

// hears publishes at a server and waits for it.
func (l *listening) hears(server *testserver.RedisServer, payload string) {
	l.t.Helper()
	require.NoError(l.t, server.Admin().Publish(context.Background(), "c.x", payload).Err())
	l.until("it hears "+payload, func(steps []redisconn.Step) bool {
		return slices.ContainsFunc(steps, func(s redisconn.Step) bool { return s.Message != nil && s.Message.Payload == payload })
	})
}

// losses returns why the loop was without a subscription.
func (l *listening) losses() (all []string) {
	for _, s := range l.taken() {
		if s.Lost != nil {
			all = append(all, s.Lost.Error())
		}
	}
	return all
}

// subscribers returns how many subscriptions a server has.
func subscribers(t *testing.T, server *testserver.RedisServer) int64 {
	n, err := server.Admin().PubSubNumPat(context.Background()).Result()
	require.NoError(t, err)
	return n
}

// TestListenSaysWhyItIsRefused after it has said that the connection broke: each
// reason once, and again in the next outage.
func TestListenSaysWhyItIsRefused(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t, testserver.RedisOptions{Users: []testserver.RedisUser{{Name: "some", Password: "p", Rules: "&c.* +psubscribe +ping +info"}}})
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "some", Password: "p"})
	t.Cleanup(func() { _ = client.Close() })
	l := listen(t, client, redisconn.ListenConfig{})
	for outage := 1; outage <= 2; outage++ {
		refused := deniedLogins(t, server)
		require.NoError(t, server.Admin().ACLSetUser(ctx, "some", "resetpass", ">q").Err())
		require.NoError(t, server.Admin().ClientKillByFilter(ctx, "USER", "some").Err())
		testkit.Until(t, "it was refused several times", func() bool { return deniedLogins(t, server) >= refused+3 })
		require.NoError(t, server.Admin().ACLSetUser(ctx, "some", ">p").Err())
		l.again(outage)
		said := l.losses()
		require.Len(t, said, 2*outage, "%q", said)
		assert.Contains(t, said[2*outage-2], "closed the connection")
		assert.Contains(t, said[2*outage-1], "WRONGPASS")
	}
}

// deniedLogins returns how often a server has refused a password.
func deniedLogins(t *testing.T, server *testserver.RedisServer) (n int) {
	t.Helper()
	info, err := server.Admin().Info(context.Background(), "errorstats").Result()
	require.NoError(t, err)
	if _, rest, is := strings.Cut(info, "errorstat_WRONGPASS:count="); is {
		_, err = fmt.Sscan(rest, &n)
		require.NoError(t, err)
	}
	return n
}
