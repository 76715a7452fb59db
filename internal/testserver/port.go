package testserver

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports are taken from below the range that kernels give to outgoing
// connections, so that nobody's connection occupies the port of a server while
// that server is down. What Redis Cluster adds to a port stays below it as well.
const (
	firstPort = 10000
	ports     = 10000
)

// listen listens on a free port of 127.0.0.1.
func listen(t testing.TB) *net.TCPListener {
	t.Helper()
	var last error
	for range 100 {
		l, err := net.Listen("tcp", local(firstPort+rand.IntN(ports)))
		if err == nil {
			return l.(*net.TCPListener)
		}
		last = err
	}
	t.Fatalf("no free port in 100 attempts: %v", last)
	return nil
}

// freePort returns a port that was free a moment ago. Its user tries another
// one when somebody was faster.
func freePort(t testing.TB) int {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func local(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
