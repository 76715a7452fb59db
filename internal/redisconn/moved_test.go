package redisconn

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// A subscriber that is at another server than before is told again: publishers may
// have stayed behind. At the same server once is enough.
func TestASubscriberThatMovedIsToldAgain(t *testing.T) {
	testkit.NoLeaks(t)
	one, other := testserver.Redis(t, testserver.RedisOptions{}), testserver.Redis(t, testserver.RedisOptions{})
	addr := testserver.Proxy(t, one.Addr())
	client := redis.NewClient(&redis.Options{Addr: addr.Addr()})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	agains, moved := 0, time.Time{}
	for step := range Listen(ctx, client, ListenConfig{Patterns: []string{"a"}, PingAfter: time.Minute, MaxBackoff: time.Second}) {
		switch {
		case step.Lost != nil || step.Message != nil:
		case !step.Again:
			addr.Cut()
		default:
			agains++
		}
		switch agains {
		case 1: // at the same server
			if moved.IsZero() {
				addr.Redirect(other.Addr())
				addr.Cut()
				moved = time.Now()
			}
		case 3:
			if waited := time.Since(moved); waited < partings()[0] {
				t.Errorf("told again %v after it has moved, expected %v: publishers may be slower", waited, partings()[0])
			}
			return
		}
	}
	t.Errorf("told %d times of a loss, expected once at the same server and twice at another one", agains)
}

// TestWhenASubscriberThatMovedIsToldAgain: when a publisher has moved that looks once
// more, and when one has that is in doubt and whose looks take long.
func TestWhenASubscriberThatMovedIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns atomic.Int64
		first := make(chan net.Conn, 1)
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Protocol: 2, DisableIdentity: true, Dialer: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go playServer(far, "*2\r\n$4\r\npong\r\n$0\r\n\r\n")
			if conns.Add(1) == 1 {
				first <- far
				return remote{near, "one"}, nil
			}
			return remote{near, "two"}, nil
		}})
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var moved time.Time
		var told []time.Duration
		for step := range Listen(ctx, client, ListenConfig{Patterns: []string{"p"}, PingAfter: 2 * time.Hour, MaxBackoff: time.Second}) {
			switch {
			case step.Lost != nil:
			case !step.Again:
				_ = (<-first).Close()
			case moved.IsZero():
				moved = time.Now()
			default:
				told = append(told, time.Since(moved))
			}
		}
		assert.Equal(t, []time.Duration{6 * time.Second, time.Minute}, told)
		assert.GreaterOrEqual(t, conns.Load(), int64(1200), "lookouts") // which end nothing
	})
}

// remote is a connection that leads to an address.
type remote struct {
	net.Conn
	addr string
}

func (r remote) RemoteAddr() net.Addr { return named(r.addr) }

type named string

func (named) Network() string  { return "tcp" }
func (n named) String() string { return string(n) }
