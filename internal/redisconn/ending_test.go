package redisconn

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// subscribes is a server that takes the subscription of a loop.
var subscribes = says("psubscribe", "*3\r\n$10\r\npsubscribe\r\n$1\r\np\r\n:1\r\n")

// client is one of the server at an address.
func (n *nodes) client(t *testing.T, addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr, Dialer: n.dial, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// TestALoopsDeadlineIsNotItsConnections: it ends when it should, and does not say shortly
// before, or then, that Redis did not answer in time.
func TestALoopsDeadlineIsNotItsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n nodes
		n.become("10.0.0.1:1", subscribes)
		client := redis.NewClient(&redis.Options{Addr: "10.0.0.1:1", Protocol: 2, DisableIdentity: true, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := n.dial(ctx, network, addr)
			return early{conn}, err
		}})
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begun, steps := time.Now(), []Step(nil)
		for step := range Listen(ctx, client, ListenConfig{Patterns: []string{"p"}, PingAfter: time.Minute, MaxBackoff: time.Second}) {
			steps = append(steps, step)
		}
		assert.Equal(t, 10*time.Second, time.Since(begun))
		assert.Equal(t, []Step{{}}, steps, "it was subscribed, and nothing else")
	})
}

// early is a connection whose reads end shortly before they should.
type early struct{ net.Conn }

func (e early) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		t = t.Add(-time.Millisecond)
	}
	return e.Conn.SetReadDeadline(t)
}

// TestALinesDeadlineIsNotItsConnections: it bounds the attempt alone.
func TestALinesDeadlineIsNotItsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n nodes
		n.become("10.0.0.1:1", says("ping", "+PONG\r\n"))
		line := NewLine(NewRouter(n.client(t, "10.0.0.1:1")), Settings{})
		defer line.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		made, err := line.Connect(ctx, "k")
		require.NoError(t, err)
		<-time.After(time.Minute)
		assert.Same(t, made, line.Conn())
		assert.NoError(t, line.Use(t.Context(), func(c *Conn) error { return c.Client().Ping(t.Context()).Err() }))
	})
}

// TestALoopEndsWhileItDials, at once, and one over a dialer that does not look at its
// context after a moment. What comes of that one later is closed.
func TestALoopEndsWhileItDials(t *testing.T) {
	for name, test := range map[string]struct {
		looks bool // at its context
		takes time.Duration
	}{"at once": {true, 0}, "after a moment": {false, lateDial}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				client := redis.NewClient(&redis.Options{Addr: "10.0.0.1:1", DialTimeout: time.Hour, Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
					if test.looks {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					<-time.After(time.Minute)
					return near, nil
				}})
				defer client.Close()
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan time.Time)
				go func() {
					for step := range Listen(ctx, client, ListenConfig{Patterns: []string{"p"}, PingAfter: time.Minute, MaxBackoff: time.Second}) {
						t.Errorf("got %+v, expected the end", step)
					}
					ended <- time.Now()
				}()
				<-time.After(time.Second)
				begun := time.Now()
				cancel()
				assert.Equal(t, test.takes, (<-ended).Sub(begun))
				if !test.looks {
					_, err := far.Read(make([]byte, 1)) // until what came of it is closed
					assert.Error(t, err)
				}
			})
		})
	}
}
