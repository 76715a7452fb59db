package guard

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testserver"
)

// What the guard costs a client: half of each pair is without it.
func BenchmarkClient(b *testing.B) {
	server := testserver.Redis(b, testserver.RedisOptions{})
	filled := false
	for _, name := range []string{"xrange", "pipeline", "ping"} {
		for _, guarded := range []bool{false, true} {
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err == nil && guarded {
					conn = Wrap(conn, Lent(), NewSecrets("a password"))
				}
				return conn, err
			}})
			defer client.Close()
			if !filled {
				filled = true
				pipe := client.Pipeline()
				for range 5000 {
					pipe.XAdd(b.Context(), &redis.XAddArgs{Stream: "s", Values: map[string]any{
						"channel": "trac.test.ticket.changed", "payload": strings.Repeat("p", 200), "mark": "0123456789", "time": 1234567890, "author": "joe",
					}})
				}
				_, err := pipe.Exec(b.Context())
				require.NoError(b, err)
			}
			b.Run(fmt.Sprintf("%s/guarded=%v", name, guarded), func(b *testing.B) {
				for b.Loop() {
					var err error
					switch name {
					case "xrange":
						_, err = client.XRange(b.Context(), "s", "-", "+").Result()
					case "pipeline":
						pipe := client.Pipeline()
						for range 256 {
							pipe.Publish(b.Context(), "c", "a message")
						}
						_, err = pipe.Exec(b.Context())
					case "ping":
						err = client.Ping(b.Context()).Err()
					}
					require.NoError(b, err)
				}
			})
		}
	}
}

// The guard alone, for each byte.
func BenchmarkScan(b *testing.B) {
	entry := "*2\r\n$15\r\n1700000000000-0\r\n*4\r\n$7\r\nchannel\r\n$24\r\ntrac.test.ticket.changed\r\n$7\r\npayload\r\n$200\r\n" + strings.Repeat("p", 200) + "\r\n"
	piece := []byte(strings.Repeat(entry, 100))
	p := newParser(Lent())
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		if _, fault := p.scan(piece); fault != nil {
			b.Fatal(fault)
		}
	}
}
