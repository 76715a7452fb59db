package tracbus_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// hostileServer refuses every command politely, except one to which it says the
// same for ever.
func hostileServer(t *testing.T, command, first, again string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		serving.Wait()
	})
	piece := []byte(strings.Repeat(again, 1+(32<<10)/len(again)))
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				commands := bufio.NewReader(conn)
				for {
					name, err := readCommand(commands)
					if err != nil {
						return
					}
					if name != command {
						_, _ = conn.Write([]byte("-ERR not here\r\n"))
						continue
					}
					for _, err := conn.Write([]byte(first)); err == nil; _, err = conn.Write(piece) {
					}
					return
				}
			})
		}
	})
	return listener.Addr().String()
}

// readCommand returns the name of the next command.
func readCommand(r *bufio.Reader) (name string, err error) {
	number := func() int {
		line, failed := r.ReadString('\n')
		if failed != nil {
			err = failed
			return 0
		}
		n, failed := strconv.Atoi(strings.TrimSpace(line[1:]))
		err = failed
		return n
	}
	for i, n := 0, number(); i < n && err == nil; i++ {
		b := make([]byte, number()+len("\r\n"))
		if err == nil {
			_, err = io.ReadFull(r, b)
		}
		if i == 0 {
			name = strings.ToLower(strings.TrimSpace(string(b)))
		}
	}
	return name, err
}

// A server that would fill the memory ends its connection with an error, and costs
// next to no memory: on connections of the library's own, whoever made the client,
// and on those of a client that it made.
func TestHostileServerFillsNoMemory(t *testing.T) {
	const most = 48 << 20
	for name, says := range map[string]struct{ first, again, want string }{
		"an endless line":       {"+", "x", "a line of more than 65536 bytes"},
		"an endless error":      {"-ERR ", "x", "an error of more than 65536 bytes"},
		"an endless length":     {"$", "0", "a length after '$' that is no number"},
		"a huge list":           {"*1000000000\r\n", "$1\r\nx\r\n", "a list or map of 1000000000 elements"},
		"a huge string":         {"$1000000000\r\n", "x", "a string of 1000000000 bytes"},
		"lists in lists":        {"*1\r\n", "*1\r\n", "lists in lists"},
		"lists that all go on":  {"*100000\r\n", "*100000\r\n", "a list or map of 100000 elements"},
		"a huge map":            {"%1000000000\r\n", "+a\r\n", "a list or map of 1000000000 elements"},
		"a huge push":           {">1000000000\r\n", "+a\r\n", "a list or map of 1000000000 elements"},
		"a huge attribute":      {"|1000000000\r\n", "+a\r\n", "a list or map of 1000000000 elements"},
		"attributes of nothing": {"|1\r\n+a\r\n:1\r\n", "|1\r\n+a\r\n:1\r\n", "a list or map of 1 elements"},
		"no Redis":              {"HTTP/1.1 400 Bad Request\r\n", "x", "an answer that begins with 'H'"},
	} {
		t.Run(name, func(t *testing.T) {
			bounded := func(how string, get func() error) {
				t.Helper()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := get()
				runtime.ReadMemStats(&after)
				if assert.Error(t, err, how) {
					if !strings.Contains(err.Error(), "redis: can't parse") && !strings.Contains(err.Error(), "redis: got ") { // go-redis expects no list
						assert.Contains(t, err.Error(), "the server sent "+says.want, how)
					}
					assert.NotContains(t, err.Error(), "\n", how)
				}
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(most), "%s: bytes for it", how)
			}
			bounded("NewClient", func() error {
				client, err := tracbus.RedisConfig{
					Addr: hostileServer(t, "get", says.first, says.again), ReadTimeout: testkit.Patience, // it is to be the guard that ends it
				}.NewClient()
				require.NoError(t, err)
				defer client.Close()
				return client.Get(testkit.Within(t), "key").Err()
			})
			lent := func(command string) *tracbus.Subscriber {
				client := redis.NewClient(&redis.Options{Addr: hostileServer(t, command, says.first, says.again)})
				t.Cleanup(func() { _ = client.Close() })
				return tracbus.NewSubscriber(client, tracbus.SubscriberConfig{})
			}
			bounded("Events", func() error {
				for _, err := range lent("psubscribe").Events(testkit.Within(t)) {
					if err != nil {
						assert.ErrorIs(t, err, tracbus.ErrDisconnected)
						return err
					}
				}
				return nil
			})
			bounded("Stream", func() error {
				for _, err := range lent("xread").Stream(testkit.Within(t), "key", "0") {
					if err != nil {
						assert.ErrorIs(t, err, tracbus.ErrDisconnected)
						return err
					}
				}
				return nil
			})
		})
	}
}
