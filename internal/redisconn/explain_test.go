package redisconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/redisconn/words"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// clientOf makes a client as the library does.
func clientOf(t *testing.T, o redis.Options) redis.UniversalClient {
	t.Helper()
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
	o.Dialer = Dialer{TLS: o.TLSConfig, Timeout: o.DialTimeout, Secrets: []string{o.Password}}.Func()
	client := redis.NewClient(&o)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func clusterOf(t *testing.T, o redis.ClusterOptions) redis.UniversalClient {
	t.Helper()
	o.MaxRedirects, o.MaxRetries, o.Dialer = -1, -1, Dialer{TLS: o.TLSConfig, Secrets: []string{o.Password}}.Func()
	client := redis.NewClusterClient(&o)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func sentinelsOf(t *testing.T, o redis.FailoverOptions) redis.UniversalClient {
	t.Helper()
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
	o.Dialer = Dialer{Secrets: []string{o.Password, o.SentinelPassword}}.Func()
	client := NewSentinelClient(&o)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// assertExplained asks something, and checks how what is said of the error ends. There
// may be alternatives: "this OR that".
func assertExplained(t *testing.T, client redis.UniversalClient, want string, command ...any) {
	t.Helper()
	if len(command) == 0 {
		command = []any{"ping"}
	}
	err := client.Do(testkit.Within(t), command...).Err()
	require.Error(t, err)
	got := Explain(err, client)
	t.Log(got)
	ends := func(with string) bool { return strings.HasSuffix(got.Error(), with) }
	assert.True(t, slices.ContainsFunc(strings.Split(want, " OR "), ends), "%v\nexpected … %s", got, want)
	assert.NotContains(t, got.Error(), "\n")
	assert.Equal(t, got, Explain(got, client), "nothing is said twice")
	assert.Equal(t, FailureOf(err), FailureOf(got), "it is the same for the program")
	for _, secret := range passwords(client) {
		if secret != "" {
			assert.NotContains(t, got.Error()+err.Error(), secret)
		}
	}
}

func TestExplainOneServer(t *testing.T) {
	const password = "a long secret"
	server := testserver.Redis(t, testserver.RedisOptions{
		Password: password, Users: []testserver.RedisUser{{Name: "joe", Password: password, Rules: "resetchannels resetkeys +ping +hset +publish +set ~mine"}},
	})
	admin := clientOf(t, redis.Options{Addr: server.Addr(), Password: password})
	joe := clientOf(t, redis.Options{Addr: server.Addr(), Username: "joe", Password: password})
	do := func(command ...any) {
		t.Helper()
		require.NoError(t, admin.Do(t.Context(), command...).Err())
	}
	do("set", "text", "x")
	assertExplained(t, clientOf(t, redis.Options{Addr: server.Addr()}), words.Reply("NOAUTH", words.OneServer))
	assertExplained(t, clientOf(t, redis.Options{Addr: server.Addr(), Password: "a wrong secret"}), words.Reply("WRONGPASS", words.OneServer))
	assertExplained(t, clientOf(t, redis.Options{Addr: server.Addr(), Password: password, DB: 99}), "option db")
	assertExplained(t, joe, "+command (docs/redis.md)", "get", "mine")
	assertExplained(t, joe, "~tracbus:* is (docs/redis.md)", "set", "other", "x")
	assertExplained(t, joe, "&trac.* is (docs/redis.md)", "publish", "trac.x", "x")
	assertExplained(t, admin, "only tracbus writes to", "hset", "text", "f", "v")
	assertExplained(t, admin, words.Reply("ERR unknown command", words.OneServer), "nonsense", password)
	do("config", "set", "maxmemory", "1")
	assertExplained(t, admin, "evict keys of others", "set", "k", "v")
	do("config", "set", "maxmemory", "0")
	do("config", "set", "min-replicas-to-write", "1")
	assertExplained(t, admin, "it is tried again", "set", "k", "v")
	do("config", "set", "min-replicas-to-write", "0")
	do("replicaof", "127.0.0.1", "1")
	assertExplained(t, admin, words.Reply("READONLY", words.OneServer), "set", "k", "v")
	do("config", "set", "replica-serve-stale-data", "no")
	assertExplained(t, admin, "the replica's link to it mended", "get", "k")
	do("replicaof", "no", "one")
	assertExplained(t, clusterOf(t, redis.ClusterOptions{Addrs: []string{server.Addr()}, Password: password}), "in the place of cluster_addrs", "get", "k")
	assertExplained(t, sentinelsOf(t, redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{server.Addr()}, SentinelPassword: password}),
		"what answers is no Sentinel: expected the Sentinels in sentinel_addrs (their port is 26379 as a rule)")
	assertExplained(t, clientOf(t, redis.Options{Addr: server.Addr(), Password: password, DialTimeout: time.Second, TLSConfig: &tls.Config{ServerName: "x"}}), "or another port")

	none := testserver.Redis(t, testserver.RedisOptions{})
	gone := none.Addr()
	none.Kill()
	assertExplained(t, clientOf(t, redis.Options{Addr: gone}), "connect: connection refused")
}

// A server whose AUTH and HELLO are renamed quotes the password.
func TestExplainHidesWhatIsQuoted(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--rename-command", "AUTH", "", "--rename-command", "HELLO", ""}})
	for _, password := range []string{"a long secret", "with ' and \" and\nlines\r and \\", "äöü\x01", "xy"} {
		client := clientOf(t, redis.Options{Addr: server.Addr(), Password: password})
		err := client.Ping(t.Context()).Err()
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "secret")
		assert.NotContains(t, err.Error(), password)
		assertExplained(t, client, words.Reply("ERR unknown command", words.OneServer))

		// A client that is lent has no guard.
		lent := redis.NewClient(&redis.Options{Addr: server.Addr(), Password: password})
		defer lent.Close()
		err = lent.Ping(t.Context()).Err()
		require.ErrorContains(t, err, password[:1])
		assert.NotContains(t, Explain(fmt.Errorf("around: %w", err), lent).Error(), password)
		assert.Contains(t, Explain(fmt.Errorf("around: %w", err), lent).Error(), "around: ERR unknown command 'auth': ")
		assert.True(t, IsReply(Explain(fmt.Errorf("around: %w", err), lent), "ERR unknown command"))
	}
}

func TestExplainTLS(t *testing.T) {
	certs := testserver.Certificates(t)
	server := testserver.Redis(t, testserver.RedisOptions{TLS: certs})
	good := certs.ClientConfig(t)
	with := func(change func(*tls.Config)) *redis.Options {
		c := good.Clone()
		change(c)
		return &redis.Options{Addr: server.Addr(), TLSConfig: c}
	}
	assertExplained(t, clientOf(t, *with(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() })), "in option tls_ca")
	assertExplained(t, clientOf(t, *with(func(c *tls.Config) { c.ServerName = "another" })), "in option tls_server_name")
	// What a server says of a client's certificate gets lost if it resets the connection.
	const reset = " OR it may not take our certificate: then expected others in options tls_cert and tls_key"
	assertExplained(t, clientOf(t, *with(func(c *tls.Config) { c.Certificates = nil })), "expected options tls_cert and tls_key"+reset)
	of := func(other *testserver.CertFiles) *redis.Options {
		return with(func(c *tls.Config) { c.Certificates = other.ClientConfig(t).Certificates })
	}
	assertExplained(t, clientOf(t, *of(testserver.Certificates(t))), "expected options tls_cert and tls_key"+reset)
	past := certs.With(t, nil, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Second) })
	assertExplained(t, clientOf(t, *of(past)), "expected another in options tls_cert and tls_key, or a clock is wrong"+reset)
	assertExplained(t, clientOf(t, redis.Options{Addr: server.Addr()}), "if it does so at once, the port may speak TLS: then expected option tls = enabled")
	expired := asValueOf(x509.CertificateInvalidError{Reason: x509.Expired})
	assert.Contains(t, Explain(expired, nil).Error(), "a clock is wrong")
}

func asValueOf(err error) error { return &tls.CertificateVerificationError{Err: err} }

func TestExplainForeignServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	client := clientOf(t, redis.Options{Addr: server.Listener.Addr().String(), Password: "a long secret"})
	err := Explain(client.Ping(t.Context()).Err(), client)
	assert.EqualError(t, err, "the server sent an answer that begins with 'H', as those of HTTP do, expected one of Redis")
}

func TestExplainCluster(t *testing.T) {
	cluster := testserver.Cluster(t, testserver.ClusterOptions{})
	node := cluster.Primaries()[0]
	client := clientOf(t, redis.Options{Addr: node.Addr()})
	for i := range 100 {
		if key := fmt.Sprint(i); cluster.Owner(key) != node {
			assertExplained(t, client, words.Reply("MOVED ", words.OneServer), "get", key)
			break
		}
	}
	assertExplained(t, client, words.Reply("MOVED ", words.OneServer), "mget", "a", "b", "c")
	assertExplained(t, clientOf(t, redis.Options{Addr: node.Addr(), DB: 1}), words.Reply("MOVED ", words.OneServer))
}

func TestExplainSentinels(t *testing.T) {
	group := testserver.Sentinel(t, testserver.SentinelOptions{})
	unknown := sentinelsOf(t, redis.FailoverOptions{MasterName: "nobody", SentinelAddrs: group.Addrs()})
	assertExplained(t, unknown, `do not know the master "nobody": expected in master_name the name that "sentinel monitor" has in their configuration`)
	assert.Equal(t, Unreachable, FailureOf(unknown.Ping(t.Context()).Err()))
	assertExplained(t, clientOf(t, redis.Options{Addr: group.Addrs()[0]}), words.Reply("ERR unknown command", words.OneServer), "evalsha", "x", "0")
	assertExplained(t, sentinelsOf(t, redis.FailoverOptions{MasterName: "nobody", SentinelAddrs: []string{"127.0.0.1:1", "127.0.0.1:2"}}),
		"connect: connection refused: expected one of the Sentinels in sentinel_addrs to answer")

	lent := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "nobody", SentinelAddrs: group.Addrs()})
	defer lent.Close()
	assert.Contains(t, Explain(lent.Ping(t.Context()).Err(), lent).Error(), "redis: nil; redis: nil; redis: nil: expected in master_name")
}

// answerOf is an answer of Redis.
type answerOf string

func (a answerOf) Error() string { return string(a) }
func (answerOf) RedisError()     {}

// What no server here can be made to say.
func TestExplainReplies(t *testing.T) {
	cluster := clusterOf(t, redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	sentinels := sentinelsOf(t, redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}})
	one := clientOf(t, redis.Options{})
	for _, row := range []struct {
		client      redis.UniversalClient
		reply, want string
	}{
		{one, "NOPERM User monkey has no permissions to run the 'info' command", "a right to the command"},
		{one, "NOPERM User channel has no permissions to run the 'info' command", "a right to the command"},
		{one, "NOPERM No permissions to access a key", "a right to the key"},
		{one, "NOPERM User k has no permissions to access the 'a' key", "a right to the key"},
		{one, "NOPERM this user has no permissions to access one of the keys used as arguments", "a right to the key"},
		{one, "NOPERM No permissions to access a channel", "a right to the channel"},
		{one, "NOPERM User k has no permissions to access the 'key' channel", "a right to the channel"},
		{one, "NOPERM this user has no permissions to access one of the channels used as arguments", "a right to the channel"},
		{one, "LOADING Redis is loading the dataset in memory", "tried again"},
		{one, "MISCONF Redis is configured to save RDB snapshots", "its log says why"},
		{one, "BUSY Redis is busy running a script.", "SCRIPT KILL ends the script"},
		{one, "BUSYGROUP Consumer Group name already exists", "already exists"},
		{one, "CLUSTERDOWN The cluster is down", "expected cluster_addrs"},
		{cluster, "CLUSTERDOWN The cluster is down", "back or replaced"},
		{cluster, "MOVED 1 a:1", "it is followed"},
		{cluster, "ASK 1 a:1", "it is followed"},
		{cluster, "TRYAGAIN Multiple keys request during rehashing of slot", "it is tried again"},
		{cluster, "READONLY You can't write against a read only replica.", "asked again for its master"},
		{sentinels, "READONLY You can't write against a read only replica.", "asked again for its master"},
		{sentinels, "NOAUTH Authentication required.", "username"},
		{one, "DENIED Redis is running in protected mode", "protected-mode no"},
		{one, "ERR max number of clients reached", "or close some"},
		{one, "ERR AUTH <password> called without any password configured for the default user.", "expected none in option password"},
		{one, "ERR something else", "ERR something else"},
	} {
		assert.Contains(t, Explain(answerOf(row.reply), row.client).Error(), row.want)
	}
	assert.NoError(t, Explain(nil, one))
	plain := errors.New("an error without any words")
	assert.Same(t, plain, Explain(plain, one))
	assert.ErrorIs(t, Explain(fmt.Errorf("x\ny: %w", context.Canceled), one), context.Canceled)
	assert.EqualError(t, Explain(errors.New("x\n\ny\r\n"), one), "x; y")
}
