package tracbustest_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tracbustest"
)

// clientOf returns a client that ends with the test.
func clientOf(t *testing.T, s *testserver.RedisServer, user string) *redis.Client {
	t.Helper()
	options := &redis.Options{Addr: s.Addr()}
	if user != "" {
		options.Username, options.Password = user, "secret"
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

// Each topology passes, and nothing is left.
func TestRedis(t *testing.T) {
	t.Run("one server", func(t *testing.T) {
		testkit.NoLeaks(t)
		s := testserver.Redis(t, testserver.RedisOptions{})
		tracbustest.Redis(t, clientOf(t, s, ""))
		n, err := s.Admin().DBSize(t.Context()).Result()
		require.NoError(t, err)
		require.Zero(t, n)
	})
	t.Run("cluster", func(t *testing.T) {
		if testing.Short() {
			t.SkipNow()
		}
		c := testserver.Cluster(t, testserver.ClusterOptions{})
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
		t.Cleanup(func() { assert.NoError(t, client.Close()) })
		tracbustest.Redis(t, client)
	})
	t.Run("sentinels", func(t *testing.T) {
		if testing.Short() {
			t.SkipNow()
		}
		g := testserver.Sentinel(t, testserver.SentinelOptions{})
		client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: g.MasterName, SentinelAddrs: g.Addrs()})
		t.Cleanup(func() { assert.NoError(t, client.Close()) })
		f := testkit.ExpectFailures(t)
		tracbustest.Redis(f, client)
		assert.Empty(t, f.All)
		assert.Contains(t, strings.Join(f.Logs, "\n"), "a client of Sentinels cannot be copied")
	})
}

// rules are what docs/redis.md names for all that is tried, and to delete keys.
const rules = "resetchannels &mine.* +publish +client|kill +info +psubscribe +ping ~tracbus:* +evalsha +eval +hmget +hset +time " +
	"~stream +xadd +xtrim +xrange +xlen +xinfo|stream +xread +del +client|list +client|setname"

// A user with these rights passes, and each that lacks is named.
func TestRedisRights(t *testing.T) {
	users := []testserver.RedisUser{{Name: "all", Password: "secret", Rules: rules}}
	lacks := map[string]string{"publish": "publish", "evalsha": "evalsha", "psubscribe": "psubscribe", "xadd": "can't run this command", "del": "del"}
	for name := range lacks {
		users = append(users, testserver.RedisUser{Name: name, Password: "secret", Rules: strings.Replace(rules, "+"+name+" ", "", 1)})
	}
	users = append(users, testserver.RedisUser{Name: "kill", Password: "secret", Rules: strings.Replace(rules, "+client|list", "", 1)})
	s := testserver.Redis(t, testserver.RedisOptions{Users: users})
	names := tracbustest.RedisConfig{Prefix: "mine", StreamKey: "stream"}
	names.Redis(t, clientOf(t, s, "all"))
	for name, said := range lacks {
		t.Run(name, func(t *testing.T) {
			f := testkit.ExpectFailures(t)
			names.Redis(f, clientOf(t, s, name))
			f.Want(said, "contract: ", "why: ", "seen: ")
			require.NoError(t, s.Admin().FlushAll(t.Context()).Err()) // what one without +del leaves
		})
	}
	f := testkit.ExpectFailures(t)
	names.Redis(f, clientOf(t, s, "kill"))
	assert.Empty(t, f.All)
	assert.Contains(t, strings.Join(f.Logs, "\n"), "not tried: CLIENT LIST")
}

func TestRedisSeesFaults(t *testing.T) {
	t.Run("it evicts", func(t *testing.T) {
		s := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--maxmemory-policy", "allkeys-lru"}})
		f := testkit.ExpectFailures(t)
		tracbustest.Redis(f, clientOf(t, s, ""))
		f.Want("what Redis keeps stays", "maxmemory-policy allkeys-lru")
	})
	t.Run("messages come twice", func(t *testing.T) {
		s := testserver.Redis(t, testserver.RedisOptions{})
		admin := s.Admin()
		echo := admin.PSubscribe(t.Context(), "mine.*")
		_, err := echo.Receive(t.Context())
		require.NoError(t, err)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			seen := map[string]bool{}
			for m := range echo.Channel() {
				if !seen[m.Payload] { // and its echo is not repeated
					seen[m.Payload] = true
					_ = admin.Publish(t.Context(), m.Channel, m.Payload).Err()
				}
			}
		}()
		f := testkit.ExpectFailures(t)
		tracbustest.RedisConfig{Prefix: "mine"}.Redis(f, clientOf(t, s, ""))
		require.NoError(t, echo.Close())
		<-ended
		f.Want("came as")
	})
	t.Run("the key is another's", func(t *testing.T) {
		s := testserver.Redis(t, testserver.RedisOptions{})
		require.NoError(t, s.Admin().Set(t.Context(), "stream", "mine", 0).Err())
		f := testkit.ExpectFailures(t)
		tracbustest.RedisConfig{StreamKey: "stream"}.Redis(f, clientOf(t, s, ""))
		f.Want("a key of its own", "the key stream exists")
		assert.Len(t, f.All, 1)
		assert.Equal(t, "mine", s.Admin().Get(t.Context(), "stream").Val())
	})
	t.Run("nobody is there", func(t *testing.T) {
		s := testserver.Redis(t, testserver.RedisOptions{})
		client := clientOf(t, s, "")
		s.Kill()
		f := testkit.ExpectFailures(t)
		tracbustest.Redis(f, client)
		f.Want("a key of its own", "connection refused")
	})
}
