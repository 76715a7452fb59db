package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// refusing is a Redis with a user that may do what its rules say, and a client of
// the user and of one who may do everything.
func refusing(t *testing.T, rules string) (user, all *redis.Client) {
	t.Helper()
	server := testserver.Redis(t, testserver.RedisOptions{Users: []testserver.RedisUser{{Name: "narrow", Password: "x", Rules: rules}}})
	user = redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "narrow", Password: "x"})
	all = redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _, _ = user.Close(), all.Close() })
	return user, all
}

// seatPublisher is a process that publishes under the name log, once it runs.
func seatPublisher(t *testing.T, s *testdatabase.Server, dsn string, rdb *redis.Client, c tracbus.PublisherConfig) *desk.Desk {
	t.Helper()
	c.Logger = testkit.Quiet
	return desk.Seat(t, s, dsn, desk.Config{Idle: true, Before: func(b *tracbus.Bus) {
		b.All(tracbus.DurableConfig{Backoff: time.Millisecond}.Durable("log"), tracbus.NewPublisher(rdb, c))
	}})
}

// TestPublisherGetsOtherSettings has Redis refuse the second half of a
// transaction, and then a publisher that also publishes what is in front of it:
// nothing is left out, and what is refused is not done.
func TestPublisherGetsOtherSettings(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	rdb, all := refusing(t, "~* +@all &trac.desk.ticket.changed.1 &trac.desk.wiki.*")
	entries := func() (channels []string) {
		some, err := all.XRange(testkit.Within(t), "changes", "-", "+").Result()
		require.NoError(t, err)
		for _, e := range some {
			channels = append(channels, e.Values["channel"].(string))
		}
		return channels
	}
	a := seatPublisher(t, s, dsn, rdb, tracbus.PublisherConfig{StreamKey: "changes", SkipRealms: []tracbus.Realm{tracbus.RealmWiki}})
	_, err := a.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		return tx.Record(testkit.Within(t), tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "Start", Version: 1}})
	})
	require.NoError(t, err)
	a.Say(t, "both", 1, 2)
	a.Follow() // not before: it is to read the page and the tickets at once
	testkit.Until(t, "Redis refuses the second", func() bool { return a.Consumer(t, "log").Err != "" })
	a.Leave(t)

	b := seatPublisher(t, s, dsn, rdb, tracbus.PublisherConfig{StreamKey: "changes"})
	b.Follow()
	testkit.Until(t, "the page is published", func() bool { return len(entries()) > 3 })
	assert.NotZero(t, b.Consumer(t, "log").Lag, "what Redis refuses is not done")
	require.NoError(t, all.Do(testkit.Within(t), "acl", "setuser", "narrow", "allchannels").Err())
	testkit.Until(t, "all is done", func() bool { return b.Consumer(t, "log").Lag == 0 })
	told := entries()
	assert.Equal(t, []string{"trac.desk.wiki.created", "trac.desk.ticket.changed.1", "trac.desk.ticket.changed.2"}, told[len(told)-3:])
}

// TestPublisherIsNotSetAside: the order of what is published is not given up.
func TestPublisherIsNotSetAside(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = rdb.Close() }()
	bus := tracbus.NewBus("test")
	defer func() { require.NoError(t, bus.Close(testkit.Within(t))) }()
	assert.PanicsWithValue(t, "tracbus: registering *tracbus.Publisher under durable log: DurableConfig.MaxAttempts is 2: expected zero, because what is published keeps its order",
		func() {
			bus.All(tracbus.DurableConfig{MaxAttempts: 2}.Durable("log"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{}))
		})
}

// secretive publishes nothing.
type secretive struct{ *tracbus.Publisher }

func (secretive) HandleBatch(context.Context, []tracbus.Event) error { return nil }

// TestPublisherIsNotToldInThePlaceOfWhoEmbedsIt: what its HandleBatch keeps back
// would be published.
func TestPublisherIsNotToldInThePlaceOfWhoEmbedsIt(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = rdb.Close() }()
	bus := tracbus.NewBus("test")
	defer func() { require.NoError(t, bus.Close(testkit.Within(t))) }()
	s := secretive{tracbus.NewPublisher(rdb, tracbus.PublisherConfig{})}
	assert.PanicsWithValue(t, "tracbus: registering consumer_test.secretive under durable log: it embeds a Publisher, which would be called in its place: expected the Publisher, or a type that has one in a named field",
		func() { bus.All(tracbus.Durable("log"), s) })
	bus.All(tracbus.Primary, s)
}
