package stream

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A peer that is dead is noticed after twice PingAfter at the latest, with either
// protocol: go-redis looks for pushes in RESP3, which is no second chance.
func TestADeadPeerIsNoticed(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		for _, pingAfter := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 15 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				asked := make(chan time.Time, 10)
				client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Protocol: protocol, Dialer: func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go dieOnRead(far, asked)
					return near, nil
				}})
				defer client.Close()
				items, err := Read(t.Context(), client, Config{Key: "k", PingAfter: pingAfter, MaxBackoff: time.Second}, "")
				require.NoError(t, err)
				for i := range items {
					if i.Err != nil && !i.Refused {
						assert.ErrorContains(t, i.Err, "no answer")
						break
					}
				}
				noticed := time.Since(<-asked)
				assert.LessOrEqual(t, noticed, 2*pingAfter, "RESP%d, %v", protocol, pingAfter)
				assert.GreaterOrEqual(t, noticed, pingAfter, "RESP%d, %v", protocol, pingAfter)
			})
		}
	}
}

// dieOnRead is a server with an empty stream that never answers an XREAD. It says when
// there was one.
func dieOnRead(conn net.Conn, asked chan<- time.Time) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		say := ""
		for _, command := range strings.Split("\n"+strings.ToLower(string(buf[:n])), "\n*")[1:] {
			switch {
			case strings.Contains(command, "hello\r\n$1\r\n3"):
				say += "%1\r\n$5\r\nproto\r\n:3\r\n"
			case strings.Contains(command, "xread"):
				asked <- time.Now()
				_, _ = io.Copy(io.Discard, conn)
				return
			case strings.Contains(command, "xinfo"):
				say += "-ERR no such key\r\n"
			default:
				say += "-ERR unknown command\r\n"
			}
		}
		if _, err := io.WriteString(conn, say); err != nil {
			return
		}
	}
}
