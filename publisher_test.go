package tracbus_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

func TestPublisherWithAHealthyRedis(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	r := newFaultRigVia(t, server, testkit.PatientClient(t, server.Addr()), tracbus.BusConfig{})
	r.underLoad(400, func() { r.published(2000) })
	h := r.finish()
	assert.Zero(t, h.stats.Resent)
	assert.Len(t, h.received, len(h.notified))
	assert.Empty(t, r.log.With(""))
}

func TestPublisherWhenMoreWaitsThanTheBoundHolds(t *testing.T) {
	const bound = 100
	r := newFaultRig(t, tracbus.BusConfig{QueueSize: bound, BatchSize: 10})
	r.notify(10)
	r.settled()
	r.proxy.Refuse()
	r.proxy.Cut()
	r.notify(1)
	r.away()
	r.notify(1000) // returns although nobody is there
	r.proxy.Accept()
	h := r.finish()
	assert.GreaterOrEqual(t, h.stats.Dropped, uint64(1000-bound-10))
	assert.Equal(t, uint64(len(h.notified)), h.stats.Published+h.stats.Dropped)
	got := h.received[len(h.received)-bound:]
	assert.Equal(t, h.notified[len(h.notified)-bound:], got, "the newest are kept")
}

func TestCloseWhileRedisIsAway(t *testing.T) {
	for _, tc := range []struct {
		name    string
		away    func(r *faultRig)
		returns func(r *faultRig)
	}{
		{"killed", func(r *faultRig) { r.server.Kill() }, func(r *faultRig) { r.server.Restart() }},
		{"stopped", func(r *faultRig) { r.server.Stop() }, func(r *faultRig) { r.server.Continue() }},
		{"refused", func(r *faultRig) { r.proxy.Refuse(); r.proxy.Cut() }, func(r *faultRig) { r.proxy.Accept() }},
		{"black hole", func(r *faultRig) { r.proxy.Pause() }, func(r *faultRig) { r.proxy.Resume() }},
		{"mute", func(r *faultRig) { r.proxy.DropReplies() }, func(r *faultRig) { r.proxy.Resume() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newFaultRig(t, tracbus.BusConfig{BatchSize: 50})
			r.deaf = tc.name == "killed"
			r.notify(100)
			r.settled()
			tc.away(r)
			r.notify(1)
			r.away()
			r.notify(199)

			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			err := r.bus.Close(ctx)
			undelivered, ok := errors.AsType[*tracbus.CloseError](err)
			require.True(t, ok, "got %v, want a CloseError", err)
			require.Len(t, undelivered.Undelivered, 1)
			u := undelivered.Undelivered[0]
			assert.Equal(t, 200, u.Count)
			assert.Equal(t, tracbus.Resource{Realm: tracbus.RealmTicket, ID: "3"}, u.Oldest.Resource())

			_ = r.bus.Close(testkit.Within(t)) // waits for the call that was going on
			assert.ErrorIs(t, r.bus.Notify(tracbus.TicketDeleted{ID: 1}), tracbus.ErrBusClosed)
			tc.returns(r)
			h := r.check()
			assert.Equal(t, uint64(100), h.stats.Published)
			assert.Equal(t, uint64(200), h.stats.Dropped+h.stats.Unacknowledged)
		})
	}
}

// TestEveryMessageIsCountedOnce, wherever Close finds it.
func TestEveryMessageIsCountedOnce(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer func() { assert.NoError(t, client.Close()) }()
	for range 300 {
		bus := tracbus.BusConfig{BatchSize: 1}.NewBus("test")
		publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{})
		r := bus.All(tracbus.Primary, publisher)
		for n := 1; n <= 100; n++ {
			require.NoError(t, bus.Notify(tracbus.TicketDeleted{ID: int64(n)}))
		}
		for publisher.Stats().Published < 10 { // close in the midst of it
			runtime.Gosched()
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = bus.Close(ended) // what it says is another test's
		require.NoError(t, bus.Close(t.Context()))
		s := publisher.Stats()
		require.Equal(t, uint64(100), s.Published+s.Rejected+s.Dropped+s.Unacknowledged, "%+v", s)
		require.Equal(t, uint64(100), r.Status().Delivered+r.Status().Dropped, "%+v", r.Status())
		publisher.Close()
	}
}

// TestWhatIsNotPublishedDoesNotWait, so that it pushes nothing out of a full
// queue while Redis is away.
func TestWhatIsNotPublishedDoesNotWait(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // nobody listens there
	defer func() { assert.NoError(t, client.Close()) }()
	bus := tracbus.BusConfig{QueueSize: 10, Logger: slog.New(slog.DiscardHandler)}.NewBus("test")
	publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{SkipRealms: []tracbus.Realm{tracbus.RealmWiki}, Logger: slog.New(slog.DiscardHandler)})
	r := bus.All(tracbus.Primary, publisher)
	for n := 1; n <= 5; n++ {
		require.NoError(t, bus.Notify(tracbus.TicketDeleted{ID: int64(n)}))
		for range 20 {
			require.NoError(t, bus.Notify(
				tracbus.WikiPageDeleted{Page: tracbus.WikiPage{Name: "Skipped"}},
				tracbus.TicketCommentEdited{ID: int64(n)}, // rare
			))
		}
	}
	assert.Equal(t, 5, r.Status().Waiting)
	assert.Zero(t, publisher.Stats().Dropped)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorContains(t, bus.Close(ended), "5 events to *tracbus.Publisher, from ticket 1 deleted")
}

func TestWhatCannotServePanicsAtOnce(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { assert.NoError(t, client.Close()) }()
	publisher := func(c redis.UniversalClient, config tracbus.PublisherConfig) func() {
		return func() { tracbus.NewPublisher(c, config) }
	}
	subscriber := func(c redis.UniversalClient, config tracbus.SubscriberConfig) func() {
		return func() { tracbus.NewSubscriber(c, config) }
	}
	var (
		none    *redis.Client
		cluster *redis.ClusterClient
	)
	for _, tc := range []struct {
		call func()
		want string
	}{
		{publisher(nil, tracbus.PublisherConfig{}), "tracbus: NewPublisher needs a Redis client, got nil"},
		{publisher(none, tracbus.PublisherConfig{}), "tracbus: NewPublisher needs a Redis client, got nil"},
		{publisher(cluster, tracbus.PublisherConfig{}), "tracbus: NewPublisher needs a Redis client, got nil"},
		{publisher(client, tracbus.PublisherConfig{MaxBackoff: -1}), "tracbus: PublisherConfig needs MaxBackoff from zero"},
		{subscriber(none, tracbus.SubscriberConfig{}), "tracbus: NewSubscriber needs a Redis client, got nil"},
		{subscriber(client, tracbus.SubscriberConfig{PingAfter: -1}), "tracbus: SubscriberConfig needs PingAfter and MaxBackoff from zero"},
		{subscriber(client, tracbus.SubscriberConfig{MaxBackoff: -1}), "tracbus: SubscriberConfig needs PingAfter and MaxBackoff from zero"},
	} {
		assert.PanicsWithValue(t, tc.want, tc.call)
	}
}
