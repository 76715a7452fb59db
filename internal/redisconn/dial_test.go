package redisconn

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/testkit"
)

// TestDialEndsWithItsContext, whatever the dialer of a borrowed client waits for:
// go-redis's own does not know of the context while it encrypts or asks Sentinels.
func TestDialEndsWithItsContext(t *testing.T) {
	testkit.NoLeaks(t)
	addr, connected := silent(t)
	hour := time.Hour
	plain := redis.NewClient(&redis.Options{Addr: addr, TLSConfig: &tls.Config{ServerName: "x"}, DialTimeout: hour, ReadTimeout: hour})
	sentinel := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{addr}, DialTimeout: hour, ReadTimeout: hour})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, TLSConfig: &tls.Config{ServerName: "x"}, DialTimeout: hour, ReadTimeout: hour})
	for name, client := range map[string]redis.UniversalClient{"TLS": plain, "Sentinel": sentinel, "Cluster": cluster} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var conn net.Conn
			go func() {
				conn = <-connected
				cancel()
			}()
			_, err := NewRouter(client).Connect(ctx, "k", Settings{})
			assert.ErrorIs(t, err, context.Canceled)
			_ = conn.Close() // which ends what was left to itself
			for len(connected) > 0 {
				_ = (<-connected).Close()
			}
		})
	}
	_ = plain.Close()
	_ = cluster.Close()
}

// TestRedirectionOf: where a node sends us.
func TestRedirectionOf(t *testing.T) {
	assert.Equal(t, Redirection{Addr: "h:2", Asking: true}, first(RedirectionOf(reply("ASK 5 :2"), "h:1")))
	assert.Equal(t, Redirection{Addr: "h:2"}, first(RedirectionOf(reply("MOVED 5 ?:2"), "h:1")))
	assert.Equal(t, Redirection{Addr: "[::1]:2"}, first(RedirectionOf(reply("MOVED 5 ::1:2"), "h:1")))
	assert.Equal(t, Redirection{}, first(RedirectionOf(reply("ERR no"), "h:1")))
}

// reply is an answer of Redis.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func first[T, U any](one T, _ U) T { return one }
