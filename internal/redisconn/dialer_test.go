package redisconn

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// silent is an address at which connections are made, and nothing is said.
// connected has each of them.
func silent(t *testing.T) (addr string, connected <-chan net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	made := make(chan net.Conn, 100)
	t.Cleanup(func() {
		_ = listener.Close()
		for conn := range made {
			_ = conn.Close()
		}
	})
	go func() {
		defer close(made)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			made <- conn
		}
	}()
	return listener.Addr().String(), made
}

func TestDialerEndsWithItsContext(t *testing.T) {
	addr, connected := silent(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn := <-connected
		cancel()
		_ = conn.Close()
	}()
	_, err := Dialer{TLS: &tls.Config{ServerName: "x"}}.Func()(ctx, "tcp", addr)
	assert.ErrorIs(t, err, context.Canceled)
}
