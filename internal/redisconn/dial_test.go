package redisconn

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

// TestDialEndsWithItsContext, whatever the dialer of a borrowed client waits for:
// go-redis's own does not know of the context while it encrypts or asks Sentinels.
func TestDialEndsWithItsContext(t *testing.T) {
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

// TestSlotOf compares with what Redis says.
func TestSlotOf(t *testing.T) {
	for key, slot := range map[string]int{"123456789": 0x31c3, "tracbus": slotOf("{tracbus}:x"), "{}x": slotOf("{}x"), "a{b}c": slotOf("b"), "{": slotOf("{")} {
		assert.Equal(t, slot, slotOf(key), key)
	}
	assert.NotEqual(t, slotOf("x"), slotOf("{}x"), "an empty tag is none")
}

// TestTally: whom do the nodes name?
func TestTally(t *testing.T) {
	a, b, c := node{id: "A", addr: "a"}, node{id: "B", addr: "b"}, node{id: "C", addr: "c"}
	type says struct {
		by   string
		name node
	}
	for name, test := range map[string]struct {
		before node
		asked  int
		said   []says
		want   verdict
		none   bool
	}{
		"nobody answers":                     {asked: 3, none: true},
		"all agree":                          {a, 3, []says{{"a", a}, {"b", a}}, verdict{owner: a, sure: true}, false},
		"too few to leave":                   {a, 5, []says{{"b", b}, {"c", b}}, verdict{owner: b}, false},
		"enough to leave":                    {a, 5, []says{{"b", b}, {"c", b}, {"d", b}}, verdict{owner: b, sure: true}, false},
		"it says itself that it is replaced": {a, 5, []says{{"c", a}, {"a", b}}, verdict{owner: b, sure: true}, false},
		"it has not heard":                   {a, 3, []says{{"a", a}, {"b", b}, {"c", b}}, verdict{owner: b, sure: true, contested: true}, false},
		"a draw at the beginning":            {node{}, 2, []says{{"a", a}, {"c", b}}, verdict{owner: b}, false},
		"the same draw":                      {node{}, 2, []says{{"c", b}, {"a", a}}, verdict{owner: b}, false},
		"another address of the same node":   {a, 3, []says{{"b", node{id: "A", addr: "x"}}, {"c", node{id: "A", addr: "y"}}}, verdict{owner: node{id: "A", addr: "x"}, sure: true}, false},
		"three opinions":                     {c, 3, []says{{"a", a}, {"b", b}, {"d", b}}, verdict{owner: b, sure: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			count := tally{before: test.before, asked: test.asked}
			for _, s := range test.said {
				count.add(s.by, s.name)
			}
			got, ok := count.verdict()
			assert.Equal(t, !test.none, ok)
			assert.Equal(t, test.want, got)
		})
	}
}

// TestNamed: how nodes are named, and what go-redis makes of it.
func TestNamed(t *testing.T) {
	for said, want := range map[[2]string]string{
		{"10.0.0.1:7000", "10.0.0.2:7001"}:   "10.0.0.1:7000",
		{":7000", "10.0.0.2:7001"}:           "10.0.0.2:7000",
		{"?:7000", "10.0.0.2:7001"}:          "10.0.0.2:7000",
		{"127.0.0.1:7000", "10.0.0.2:7001"}:  "10.0.0.2:7000",
		{"127.0.0.1:7000", "localhost:7001"}: "127.0.0.1:7000",
		{"10.0.0.1:0", "10.0.0.2:7001"}:      "10.0.0.1:7001",
		{"name.example:7000", "[::1]:7001"}:  "name.example:7000",
	} {
		assert.Equal(t, want, named(redis.ClusterNode{Addr: said[0]}, said[1]).addr, "%v", said)
	}
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
