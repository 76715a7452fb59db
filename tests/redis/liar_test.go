package redis_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testserver"
)

// liar listens as if it were Redis, and answers each line that it hears with f. It ends
// with the test.
func liar(t *testing.T, f func(conn net.Conn, line string)) (addr string) {
	t.Helper()
	return listen(t, func(conn net.Conn) {
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			f(conn, lines.Text())
		}
	})
}

// listen has serve do what is to be done with each connection, until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

// refusing is a proxy that refuses a command as long as it is on: an answer that no
// Redis gives us, but that something in its place may give.
type refusing struct {
	command string
	answer  string
	on      atomic.Bool
}

// before listens in front of a server, and ends with the test.
func (r *refusing) before(t *testing.T, server string) (addr string) {
	t.Helper()
	return listen(t, func(client net.Conn) {
		conn, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		var answering sync.WaitGroup
		defer answering.Wait()
		defer conn.Close()
		answering.Go(func() {
			defer client.Close()
			_, _ = io.Copy(client, conn)
		})
		for buffer := make([]byte, 1<<16); ; {
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			to, what := conn, buffer[:n]
			if r.on.Load() && bytes.Contains(bytes.ToLower(what), []byte(r.command)) {
				to, what = client, []byte(r.answer)
			}
			if _, err := to.Write(what); err != nil {
				return
			}
		}
	})
}

// leadTo has the address lead somewhere else. The function that it returns leads back.
func (s *scene) leadTo(addr string) (back func()) {
	s.front.Redirect(addr)
	s.front.Cut()
	return func() {
		s.front.Redirect(s.server.Addr())
		s.front.Cut()
	}
}

// elsewhere are faults of an address that leads to what is no Redis for us.
var elsewhere = []fault{
	{name: "garbage", begin: func(t *testing.T, s *scene) func() {
		return s.leadTo(liar(t, func(conn net.Conn, line string) { _, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }))
	}, says: []saying{{publishes, "of HTTP"}, {appends, "of HTTP"}, {journal, "of HTTP"}, {hears, "of HTTP"}, {reads, "not connected to Redis"}}},
	{name: "a line without end", begin: func(t *testing.T, s *scene) func() {
		endless := []byte("+" + strings.Repeat("x", 1<<20))
		return s.leadTo(liar(t, func(conn net.Conn, line string) {
			for {
				if _, err := conn.Write(endless); err != nil {
					return
				}
			}
		}))
	}, says: all("a line of more than")},
	{name: "slow bytes", begin: func(t *testing.T, s *scene) func() {
		return s.leadTo(liar(t, func(conn net.Conn, line string) {
			for range 100 {
				if _, err := conn.Write([]byte("+")); err != nil || !later() {
					return
				}
			}
		}))
	}, says: all("no answer")},
	{name: "AUTH is renamed", begin: func(t *testing.T, s *scene) func() {
		other := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--rename-command", "AUTH", "", "--rename-command", "HELLO", ""}})
		return s.leadTo(other.Addr())
	}, says: all("unknown command … renamed")},
	{name: "the server has no such users", begin: func(t *testing.T, s *scene) func() {
		return s.leadTo(testserver.Redis(t, testserver.RedisOptions{}).Addr())
	}, says: all("WRONGPASS")},
	{name: "NOAUTH", begin: func(t *testing.T, s *scene) func() {
		s.nameless = true
		return s.leadTo(testserver.Redis(t, testserver.RedisOptions{Password: sitePassword}).Addr())
	}, says: all("NOAUTH … expected options password")},
	{name: "a Sentinel", begin: func(t *testing.T, s *scene) func() {
		s.nameless = true
		return s.leadTo(testserver.Sentinel(t, testserver.SentinelOptions{}).Sentinels[0].Addr())
	}, says: all("the server is a Sentinel: expected it in sentinel_addrs")},
	{name: "MOVED", begin: func(t *testing.T, s *scene) func() {
		c := testserver.Cluster(t, testserver.ClusterOptions{Nodes: testserver.RedisOptions{Users: users(server)}})
		for _, node := range c.Primaries() {
			if node != c.Owner(stream) && node != c.Owner("tracbus") {
				return s.leadTo(node.Addr())
			}
		}
		t.Fatal("no node without the slots")
		return nil
	}, says: []saying{{appends, "MOVED"}, {hears, "cluster|links"}, {hears, "not connected to Redis"}, {reads, "cluster"}}, may: roles},
	{name: "TLS", begin: func(t *testing.T, s *scene) func() {
		return s.leadTo(testserver.Redis(t, testserver.RedisOptions{TLS: testserver.Certificates(t)}).Addr())
	}, says: all("EOF")},
}

// later waits a moment.
func later() bool { return !within(slow, func() bool { return false }) }

const slow = 200e6
