package redisconn

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
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

func TestWhere(t *testing.T) {
	addr, _ := silent(t)
	own := Dialer{Sentinels: []string{addr}}.Func()
	at, known, err := Where(t.Context(), own, "tcp", "a:1")
	require.NoError(t, err)
	assert.True(t, known)
	assert.Equal(t, "a:1", at)

	// What go-redis does before it names the server: it may fail, too.
	for _, sentinel := range []string{addr, "another:1"} {
		throughSentinel := func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := own(ctx, network, sentinel)
			if err == nil {
				_ = conn.Close()
			}
			return own(ctx, network, "master:1")
		}
		at, known, err = Where(t.Context(), throughSentinel, "tcp", "FailoverClient")
		require.NoError(t, err)
		assert.True(t, known)
		assert.Equal(t, "master:1", at)
		noneNamed := func(ctx context.Context, network, _ string) (net.Conn, error) {
			_, _ = throughSentinel(ctx, network, "")
			return nil, redis.ErrClosed
		}
		_, _, err = Where(t.Context(), noneNamed, "tcp", "FailoverClient")
		assert.ErrorIs(t, err, redis.ErrClosed)
	}

	at, known, err = Where(t.Context(), new(net.Dialer).DialContext, "tcp", addr)
	require.NoError(t, err)
	assert.False(t, known)
	assert.Equal(t, addr, at)
}
