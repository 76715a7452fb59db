package redisconn

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWireIsPatientButNotForEver reads an answer that comes in different ways, with
// a silence of 4 s after a block of 5 s.
func TestWireIsPatientButNotForEver(t *testing.T) {
	for name, test := range map[string]struct {
		bytes int
		pause time.Duration // before each part
		ends  time.Duration // after the command; 0 if it does not
	}{
		"nothing":                                   {0, 0, 9 * time.Second},
		"one byte each 2 s":                         {1, 2 * time.Second, 9 * time.Second},
		"notices all the time":                      {30, time.Second, 9*time.Second + 300*time.Millisecond},
		"a large answer over a slow network":        {64 << 10, 3 * time.Second, 0},
		"a large answer over a network that breaks": {64 << 10, 5 * time.Second, 0}, // while it is blocked; see below
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				w := &wire{Conn: client, silence: 4 * time.Second}
				w.block.Store(int64(5 * time.Second))
				stop := make(chan struct{})
				go func() {
					_, _ = io.CopyN(io.Discard, server, 1)
					for test.bytes > 0 {
						select {
						case <-time.After(test.pause):
						case <-stop:
							return
						}
						if _, err := server.Write(make([]byte, test.bytes)); err != nil {
							return
						}
					}
				}()
				begun := time.Now()
				_, err := w.Write([]byte{1})
				require.NoError(t, err)
				buf, total := make([]byte, 1<<20), 0
				for err == nil && total < 10*64<<10 {
					var n int
					n, err = w.Read(buf)
					total += n
				}
				took := time.Since(begun)
				close(stop)
				_ = client.Close()
				_ = server.Close()
				switch {
				case name == "a large answer over a network that breaks":
					assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "after the first part, the next one is due within the silence")
					assert.Equal(t, 9*time.Second, took)
				case test.ends == 0:
					assert.NoError(t, err)
				default:
					assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
					assert.InDelta(t, test.ends, took, float64(time.Second/10))
				}
			})
		})
	}
}

// TestSubscriptionGivesUpAfterTwoSilences since the last sign of life, exactly.
func TestSubscriptionGivesUpAfterTwoSilences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence = 15 * time.Second
		// Whatever is sent is taken, and nothing is answered but greetings.
		o := &redis.Options{Addr: "127.0.0.1:1", Protocol: 2, DisableIdentity: true, Dialer: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go playServer(server, "")
			return client, nil
		}}
		client := redis.NewClient(o)
		defer client.Close()
		s, err := newSubscription(t.Context(), NewRouter(client))
		require.NoError(t, err)
		require.NoError(t, s.subscribe("p"))
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.watch(silence)
		}()
		_, err = s.receive() // the confirmation
		require.NoError(t, err)
		<-time.After(7 * time.Second) // the loop's body works: that is no silence
		begun := time.Now()
		_, err = s.receive()
		assert.ErrorIs(t, err, errSilent)
		assert.Equal(t, 2*silence, time.Since(begun))
		s.close()
		<-done
	})
}

// playServer answers what a subscriber says, and PING with pong.
func playServer(conn net.Conn, pong string) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		var say string
		switch text := string(buf[:n]); {
		case strings.Contains(text, "psubscribe"):
			say = "*3\r\n$10\r\npsubscribe\r\n$1\r\np\r\n:1\r\n"
		case strings.Contains(text, "ping"):
			say = pong
		default:
			for range strings.Count("\n"+text, "\n*") {
				say += "-ERR unknown command\r\n"
			}
		}
		if _, err := io.WriteString(conn, say); err != nil {
			return
		}
	}
}
