package redisconn

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/redisconn/quorum"
)

// standing is the client of a cluster whose nodes all stand still.
func standing() *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6", "127.0.0.1:7", "127.0.0.1:8"},
		Dialer: func(_ context.Context, _, addr string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			return remote{near, addr}, nil
		},
	})
}

// If all nodes stand still, nobody waits for one group of them after the other: a
// publisher that did would be thought to hang.
func TestAskWhileAllStandStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := standing()
		defer client.Close()
		c := newCouncil(t.Context(), client, "k", &members{})
		defer c.close()
		began := time.Now()
		_, err := c.ask(t.Context(), quorum.Node{})
		require.ErrorContains(t, err, "127.0.0.1:1: ")
		assert.LessOrEqual(t, time.Since(began), client.Options().DialTimeout+2*patience)
		assert.Len(t, c.seats, 8, "asked")
	})
}

// Who asks ends with his context at once, whoever is being asked. go-redis does not
// look at it while it waits for an answer.
func TestAskEndsWithItsContext(t *testing.T) {
	for after := 500 * time.Millisecond; after < 15*time.Second; after += time.Second {
		synctest.Test(t, func(t *testing.T) {
			client := standing()
			defer client.Close()
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			began := time.Now()
			for ctx.Err() == nil {
				c := newCouncil(ctx, client, "k", &members{})
				_, _ = c.ask(ctx, quorum.Node{})
				c.close()
			}
			assert.Equal(t, after, time.Since(began))
		})
	}
}
