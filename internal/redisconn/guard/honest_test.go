package guard

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testserver"
)

// tee notes what is read.
type tee struct {
	net.Conn
	read *bytes.Buffer
}

func (t tee) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.read.Write(b[:n])
	return n, err
}

// What a real server sends is read as it is, errors too.
func TestRealServer(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--enable-debug-command", "yes"}})
	for _, protocol := range []int{2, 3} {
		var sent, read bytes.Buffer
		client := redis.NewClient(&redis.Options{
			Addr: server.Addr(), Protocol: protocol, PoolSize: 1, MaxRetries: -1, PipelinePoolSize: -1,
			Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return tee{Wrap(tee{conn, &sent}, Lent(), NewSecrets("a password")), &read}, err
			},
		})
		defer client.Close()
		ctx := t.Context()
		for _, command := range [][]any{
			{"info", "everything"}, {"command"}, {"command", "docs"}, {"client", "list"}, {"config", "get", "*"}, {"lolwut"}, {"acl", "list"},
			{"xadd", "s", "*", "a", "1"}, {"xrange", "s", "-", "+"}, {"xinfo", "stream", "s", "full"}, {"xread", "streams", "s", "$"}, {"get", "none"},
			{"incr", "s"}, {"get"}, {"object", "help"}, {"eval", "return {1, {2, {3, 'x', false, {err='MY error'}, {ok='fine'}}}}", 0},
			{"eval", "return redis.error_reply('MY own')", 0}, {"hello"}, {"memory", "stats"}, {"slowlog", "get"}, {"zadd", "z", 1.5, "m"}, {"zscore", "z", "m"},
			{"debug", "protocol", "string"}, {"debug", "protocol", "integer"}, {"debug", "protocol", "double"}, {"debug", "protocol", "null"},
			{"debug", "protocol", "array"}, {"debug", "protocol", "set"}, {"debug", "protocol", "map"}, {"debug", "protocol", "attrib"},
			{"debug", "protocol", "push"}, {"debug", "protocol", "verbatim"}, {"debug", "protocol", "true"}, {"debug", "protocol", "false"}, {"debug", "protocol", "bignum"},
			{"setrange", "big", 1 << 20, "end"}, {"get", "big"},
		} {
			err := client.Do(ctx, command...).Err()
			var fault *Violation
			require.NotErrorAs(t, err, &fault, "%v", command)
		}
		require.NoError(t, client.Publish(ctx, "c", "m").Err())
		assert.Greater(t, sent.Len(), 1<<20)
		assert.True(t, bytes.Equal(sent.Bytes(), read.Bytes()), "no byte is changed")

		// Here the arguments are left out.
		err := client.Do(ctx, "nonsense", "argument").Err()
		assert.EqualError(t, err, "ERR unknown command 'nonsense'")
	}
}

// go-redis sees that an idle connection was closed by the server, through the
// guard too, and does not use it.
func TestClosedConnectionIsSeen(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{})
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, PoolSize: 1,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return Wrap(conn, Lent(), nil), err
		}})
	defer client.Close()
	require.NoError(t, client.Ping(t.Context()).Err())
	server.Restart()
	assert.NoError(t, client.Ping(t.Context()).Err(), "no try of it failed, though none is repeated")
}

func TestWrapTwice(t *testing.T) {
	inside, outside := net.Pipe()
	defer inside.Close()
	once := Wrap(outside, Lent(), NewSecrets("one secret"))
	twice := Wrap(once, small(), NewSecrets("another"))
	assert.Same(t, once, twice)
	assert.Equal(t, small(), twice.(*Conn).parser.limits)
	assert.Equal(t, "[secret], [secret]", twice.(*Conn).secrets.Hide("one secret, another"))
	assert.Same(t, outside, once.(*Conn).NetConn())
}
