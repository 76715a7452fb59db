package tracbus_test

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// TestEveryWayToRedis lets messages flow over each kind of connection that a
// configuration can name.
func TestEveryWayToRedis(t *testing.T) {
	certs := testserver.Certificates(t)
	secret := tracbus.NewSecret("pass word")
	for _, tc := range []struct {
		name    string
		options testserver.RedisOptions
		config  func(*testserver.RedisServer) tracbus.RedisConfig
	}{
		{"TCP", testserver.RedisOptions{}, func(s *testserver.RedisServer) tracbus.RedisConfig {
			return tracbus.RedisConfig{Addr: s.Addr()}
		}},
		{"another database", testserver.RedisOptions{}, func(s *testserver.RedisServer) tracbus.RedisConfig {
			return tracbus.RedisConfig{Addr: s.Addr(), DB: 7}
		}},
		{"unix socket", testserver.RedisOptions{Unix: true}, func(s *testserver.RedisServer) tracbus.RedisConfig {
			return tracbus.RedisConfig{Addr: s.Socket()}
		}},
		{"password", testserver.RedisOptions{Password: "pass word"}, func(s *testserver.RedisServer) tracbus.RedisConfig {
			return tracbus.RedisConfig{Addr: s.Addr(), Password: secret}
		}},
		{"user with all that the documentation asks for", testserver.RedisOptions{Users: []testserver.RedisUser{
			{Name: "default", Rules: "off"},
			{Name: "trac", Password: "pass-word", Rules: "resetchannels &trac.* +publish +psubscribe +ping +client|id +client|kill +info"},
		}}, func(s *testserver.RedisServer) tracbus.RedisConfig {
			return tracbus.RedisConfig{Addr: s.Addr(), Username: "trac", Password: tracbus.NewSecret("pass-word")}
		}},
		{"user with the least rights", testserver.RedisOptions{Users: []testserver.RedisUser{
			{Name: "default", Rules: "off"},
			{Name: "trac", Password: "pass-word", Rules: "resetchannels &trac.* +publish +psubscribe +info"},
		}}, func(s *testserver.RedisServer) tracbus.RedisConfig {
			return tracbus.RedisConfig{Addr: s.Addr(), Username: "trac", Password: tracbus.NewSecret("pass-word")}
		}},
		{"TLS with a client certificate", testserver.RedisOptions{TLS: certs}, func(s *testserver.RedisServer) tracbus.RedisConfig {
			return tracbus.RedisConfig{Addr: s.Addr(), TLS: &tracbus.RedisTLS{CAFile: certs.CA, CertFile: certs.ClientCert, KeyFile: certs.ClientKey}}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			client, err := tc.config(testserver.Redis(t, tc.options)).NewClient()
			require.NoError(t, err)
			t.Cleanup(func() { _ = client.Close() })
			l := listen(t, client, tracbus.SubscriberConfig{}, "trac.*")
			l.resync(tracbus.ResyncSubscribed)
			bus := tracbus.NewBus("test")
			var log testkit.LogRecorder
			publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{Logger: slog.New(&log)})
			bus.All(tracbus.Primary, publisher)
			defer publisher.Close()
			for _, e := range sixEvents() {
				require.NoError(t, bus.Notify(e))
				s := l.next()
				require.NoError(t, s.err)
				assert.Equal(t, e.Resource(), s.event.Resource())
				assert.Equal(t, e.Kind(), s.event.Kind())
			}
			require.NoError(t, bus.Close(testkit.Within(t)))
			assert.Equal(t, uint64(6), publisher.Stats().Published)
			assert.Empty(t, log.With(""), "nothing happened that is worth a line")
		})
	}
}

// userRig is a bus that publishes as a user with few rights, and a raw
// subscriber.
type userRig struct {
	server    *testserver.RedisServer
	proxy     *testserver.TCPProxy
	bus       *tracbus.Bus
	publisher *tracbus.Publisher
	log       testkit.LogRecorder
	ear       *testkit.Ear
}

// newUserRig makes one that waits for Redis's answers as long as timeout.
func newUserRig(t *testing.T, rules string, timeout time.Duration) *userRig {
	testkit.NoLeaks(t)
	r := &userRig{server: testserver.Redis(t, testserver.RedisOptions{Users: []testserver.RedisUser{
		{Name: "few", Password: "pw", Rules: "resetchannels " + rules},
	}})}
	r.proxy = testserver.Proxy(t, r.server.Addr())
	client := redis.NewClient(&redis.Options{Addr: r.proxy.Addr(), Username: "few", Password: "pw", ReadTimeout: timeout})
	t.Cleanup(func() { _ = client.Close() })
	r.ear = testkit.NewEar(t, testkit.HastyClient(t, r.server.Addr()))
	r.bus = tracbus.NewBus("test")
	r.publisher = tracbus.NewPublisher(client, tracbus.PublisherConfig{Logger: slog.New(&r.log)})
	r.bus.All(tracbus.Primary, r.publisher)
	t.Cleanup(func() {
		_ = r.bus.Close(testkit.Within(t))
		r.publisher.Close()
	})
	return r
}

func (r *userRig) channels(n int, t *testing.T) (channels []string) {
	testkit.Until(t, "the raw subscriber hears", func() bool { return len(r.ear.All()) >= n })
	for _, m := range r.ear.All() {
		channels = append(channels, m.Channel)
	}
	return channels
}

func TestSubscriberThatMayOnlySubscribe(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{Users: []testserver.RedisUser{
		{Name: "few", Password: "pw", Rules: "resetchannels &trac.* +psubscribe +info"},
	}})
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "few", Password: "pw"})
	t.Cleanup(func() { _ = client.Close() })
	l := listen(t, client, tracbus.SubscriberConfig{PingAfter: 20 * time.Millisecond}, "trac.*")
	l.resync(tracbus.ResyncSubscribed)
	admin := testkit.PatientClient(t, server.Addr())
	testkit.Until(t, "the server has refused some PINGs", func() bool {
		info, err := admin.Info(context.Background(), "errorstats").Result()
		_, count, _ := strings.Cut(info, "errorstat_NOPERM:count=")
		n, _ := strconv.Atoi(strings.TrimSpace(count))
		return err == nil && n >= 5
	})
	l.hears(admin, 1) // and nothing before
}

func TestPublisherThatMayOnlyPublish(t *testing.T) {
	r := newUserRig(t, "+publish &trac.*", 200*time.Millisecond)
	require.NoError(t, r.bus.Notify(tracbus.TicketCreated{ID: 1}))
	require.NoError(t, r.bus.Wait(testkit.Within(t)))
	for id := int64(2); id < 5; id++ {
		r.proxy.DropReplies()
		require.NoError(t, r.bus.Notify(tracbus.TicketCreated{ID: id}))
		testkit.Until(t, "Redis is away", func() bool { return r.publisher.Stats().Disconnected })
		r.proxy.Resume()
		require.NoError(t, r.bus.Wait(testkit.Within(t)))
	}
	assert.Len(t, r.log.With("may also arrive late"), 1, "said once")
	s := r.publisher.Stats()
	assert.Equal(t, uint64(4), s.Published)
	assert.GreaterOrEqual(t, s.Resent, uint64(3))
}

func TestPublisherThatMayNotPublishAll(t *testing.T) {
	r := newUserRig(t, "+publish &trac.test.ticket.created &trac.test.wiki.*", 2*testkit.Patience)
	page := tracbus.WikiPage{Name: "A", Version: 1}
	for round := range 3 {
		require.NoError(t, r.bus.Notify(
			tracbus.TicketCreated{ID: 1},
			tracbus.TicketChanged{ID: 1, Values: tracbus.Fields{"a": "b"}},
			tracbus.WikiPageCreated{Page: page},
			tracbus.TicketDeleted{ID: 1},
			tracbus.TicketChanged{ID: 2, Values: tracbus.Fields{"a": "b"}},
			tracbus.WikiPageDeleted{Page: page},
		))
		require.NoError(t, r.bus.Wait(testkit.Within(t)))
		s := r.publisher.Stats()
		assert.Equal(t, uint64(3*(round+1)), s.Published)
		assert.Equal(t, uint64(3*(round+1)), s.Rejected)
		assert.ErrorContains(t, s.LastError, "NOPERM")
		assert.False(t, s.Disconnected, "Redis has answered")
	}
	one := []string{"trac.test.ticket.created", "trac.test.wiki.created", "trac.test.wiki.deleted"}
	assert.Equal(t, append(append(append([]string(nil), one...), one...), one...), r.channels(9, t))
	assert.Len(t, r.log.With("refused"), 2, "once for ticket.changed, once for ticket.deleted")

	// Allowed, it goes out again; forbidden again, it is said again.
	admin := testkit.PatientClient(t, r.server.Addr())
	require.NoError(t, admin.Do(context.Background(), "acl", "setuser", "few", "&trac.*").Err())
	require.NoError(t, r.bus.Notify(tracbus.TicketChanged{ID: 1, Values: tracbus.Fields{"a": "b"}}))
	assert.Equal(t, "trac.test.ticket.changed.1", r.channels(10, t)[9])
	assert.Len(t, r.log.With("away", "back"), 0)
}

func TestPublisherThatMayPublishNothing(t *testing.T) {
	r := newUserRig(t, "&trac.*", 2*testkit.Patience)
	require.NoError(t, r.bus.Notify(tracbus.TicketCreated{ID: 1}, tracbus.TicketCreated{ID: 2}))
	require.NoError(t, r.bus.Close(testkit.Within(t)))
	s := r.publisher.Stats()
	assert.Equal(t, uint64(2), s.Rejected)
	assert.Zero(t, s.Published)
	assert.Len(t, r.log.With("refused"), 1)
}
