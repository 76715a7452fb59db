package redisconn

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/testserver"
)

// A subscriber that is at another server than before is told twice: publishers may
// have stayed behind. At the same server once is enough.
func TestASubscriberThatMovedIsToldAgain(t *testing.T) {
	t.Parallel()
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
			if waited := time.Since(moved); waited < parting {
				t.Errorf("told again %v after it has moved, expected %v: publishers may be slower", waited, parting)
			}
			return
		}
	}
	t.Errorf("told %d times of a loss, expected once at the same server and twice at another one", agains)
}
