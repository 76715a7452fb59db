package tracbus_test

import (
	"context"
	"errors"
	"fmt"
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

// sixEvents are one of each kind, with names and texts that are odd.
func sixEvents() []tracbus.Event {
	at := time.Date(2024, 2, 29, 12, 0, 0, 123456000, time.UTC)
	c := tracbus.Change{Author: "jöe", Comment: "why\u2028not", IPNR: "127.0.0.1", Authenticated: true, TID: 9, Time: at}
	page := tracbus.WikiPage{Name: "Odd *[page]?/ü\n.wiki.created", Version: 3, Text: strings.Repeat("long \"text\" \x00 ", 80_000), Readonly: true}
	return []tracbus.Event{
		tracbus.TicketCreated{Change: c, ID: 17, Values: tracbus.Fields{"summary": "a", "due": at, "none": nil}},
		tracbus.TicketChanged{Change: c, ID: 17, Values: tracbus.Fields{"summary": "b", "x": "y"}, Old: tracbus.Fields{"summary": "a"}},
		tracbus.TicketDeleted{Change: c, ID: 17, Values: tracbus.Fields{"summary": "b"}},
		tracbus.WikiPageCreated{Change: c, Page: tracbus.WikiPage{Name: "WikiStart", Version: 1, Text: "t"}},
		tracbus.WikiPageChanged{Change: c, Page: page, OldText: "old"},
		tracbus.WikiPageDeleted{Change: c, Page: page},
	}
}

func TestSubscriberReceivesWhatThePublisherSends(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	client := testkit.PatientClient(t, server.Addr())
	l := listen(t, client, tracbus.SubscriberConfig{})
	l.resync(tracbus.ResyncSubscribed)

	bus := tracbus.NewBus("test")
	publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{})
	bus.All(tracbus.Primary, publisher)
	defer publisher.Close()
	for _, sent := range sixEvents() {
		require.NoError(t, bus.Notify(sent))
		s := l.next()
		require.NoError(t, s.err)
		got, c := s.event, sent.About()
		assert.IsType(t, sent, got)
		assert.Equal(t, sent.Resource(), got.Resource())
		about := got.About()
		assert.Equal(t, "test", about.Env)
		assert.True(t, about.Absent.Has(tracbus.AttrOrigin))
		assert.Zero(t, about.TID)
		if _, ok := sent.(tracbus.WikiPageDeleted); !ok && !about.Absent.Has(tracbus.AttrAuthor) {
			assert.Equal(t, c.Author, about.Author)
			assert.Equal(t, c.Comment, about.Comment)
		}
		switch got := got.(type) {
		case tracbus.TicketCreated:
			assert.True(t, got.Absent.Has(tracbus.AttrAuthor|tracbus.AttrComment|tracbus.AttrTime))
			due, ok := got.Values.Time("due")
			assert.True(t, ok && due.Equal(c.Time), "due: %v", got.Values["due"])
			assert.Equal(t, tracbus.Fields{"summary": "a", "due": got.Values["due"], "none": nil}, got.Values)
		case tracbus.TicketChanged:
			assert.True(t, got.Absent.Has(tracbus.AttrValues|tracbus.AttrTime))
			assert.Nil(t, got.Values)
			assert.Equal(t, tracbus.Fields{"summary": "b"}, got.New)
			assert.Equal(t, tracbus.Fields{"summary": "a"}, got.Old)
		case tracbus.TicketDeleted:
			assert.Equal(t, tracbus.Fields{"summary": "b"}, got.Values)
		case tracbus.WikiPageChanged:
			sent := sent.(tracbus.WikiPageChanged)
			assert.True(t, got.Page.Text == sent.Page.Text, "the long text")
			assert.Equal(t, "old", got.OldText)
			assert.True(t, got.Page.Readonly)
			assert.True(t, got.Page.Time.Equal(c.Time))
			assert.Equal(t, c.Author, got.Page.Author)
		case tracbus.WikiPageDeleted:
			want := sent.(tracbus.WikiPageDeleted).Page
			want.Time, want.Author = got.Page.Time, c.Author // nobody had said of the version who and when
			assert.Equal(t, want, got.Page)
			assert.True(t, got.Page.Time.Equal(c.Time))
		}
	}
	require.NoError(t, bus.Close(testkit.Within(t)))
}

func TestSubscriberYieldsWhatItCannotDecode(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	client := testkit.PatientClient(t, server.Addr())
	l := listen(t, client, tracbus.SubscriberConfig{}, "*")
	l.resync(tracbus.ResyncSubscribed)
	for _, tc := range []struct {
		channel, payload string
		want             error
	}{
		{"other", "{}", tracbus.ErrUnknownChannel},
		{"trac.test.milestone.created", `{"id": 1}`, tracbus.ErrUnknownChannel},
		{"trac.test.ticket.created", "not JSON", tracbus.ErrBadPayload},
		{"trac.test.ticket.created", "", tracbus.ErrBadPayload},
		{"trac.test.wiki.created", "\xff\x00" + strings.Repeat("x", 1<<20), tracbus.ErrBadPayload},
	} {
		publish(t, client, tc.channel, tc.payload)
		s := l.next()
		decodeError, ok := errors.AsType[*tracbus.DecodeError](s.err)
		require.True(t, ok, "got %.100v, want a DecodeError", s)
		assert.ErrorIs(t, s.err, tc.want)
		assert.Equal(t, tc.channel, decodeError.Channel)
		assert.True(t, tc.payload == decodeError.Payload, "payload of %s", tc.channel)
		l.hears(client, 1)
	}
}

func TestSubscriberReconnects(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail func(server *testserver.RedisServer, proxy *testserver.TCPProxy, client *redis.Client)
		mend func(server *testserver.RedisServer, proxy *testserver.TCPProxy)
	}{
		{"killed by the server",
			func(_ *testserver.RedisServer, _ *testserver.TCPProxy, c *redis.Client) {
				require.NoError(t, c.ClientKillByFilter(context.Background(), "TYPE", "pubsub").Err())
			},
			func(*testserver.RedisServer, *testserver.TCPProxy) {}},
		{"server restarted",
			func(s *testserver.RedisServer, _ *testserver.TCPProxy, _ *redis.Client) { s.Kill() },
			func(s *testserver.RedisServer, _ *testserver.TCPProxy) { s.Restart() }},
		{"black hole",
			func(_ *testserver.RedisServer, p *testserver.TCPProxy, _ *redis.Client) { p.Pause() },
			func(_ *testserver.RedisServer, p *testserver.TCPProxy) { p.Resume() }},
		{"stopped",
			func(s *testserver.RedisServer, _ *testserver.TCPProxy, _ *redis.Client) { s.Stop() },
			func(s *testserver.RedisServer, _ *testserver.TCPProxy) { s.Continue() }},
		{"answers lost",
			func(_ *testserver.RedisServer, p *testserver.TCPProxy, _ *redis.Client) { p.DropReplies() },
			func(_ *testserver.RedisServer, p *testserver.TCPProxy) { p.Resume() }},
		{"cut and refused",
			func(_ *testserver.RedisServer, p *testserver.TCPProxy, _ *redis.Client) { p.Refuse(); p.Cut() },
			func(_ *testserver.RedisServer, p *testserver.TCPProxy) { p.Accept() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			server := testserver.Redis(t, testserver.RedisOptions{})
			proxy := testserver.Proxy(t, server.Addr())
			direct := testkit.HastyClient(t, server.Addr())
			l := listen(t, testkit.HastyClient(t, proxy.Addr()), tracbus.SubscriberConfig{PingAfter: 100 * time.Millisecond})
			l.resync(tracbus.ResyncSubscribed)
			for id := range int64(3) {
				l.hears(direct, 3*id+1)
				tc.fail(server, proxy, direct)
				l.lost() // once, however often it tries in vain
				tc.mend(server, proxy)
				l.resync(tracbus.ResyncReconnected)
				_ = direct.Ping(context.Background()) // its own connection may be of before
				l.hears(direct, 3*id+2)
			}
		})
	}
}

func TestSubscriberBeforeTheServer(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	server.Kill()
	l := listen(t, testkit.HastyClient(t, server.Addr()), tracbus.SubscriberConfig{})
	l.lost()
	server.Restart()
	l.resync(tracbus.ResyncSubscribed)
	l.hears(testkit.HastyClient(t, server.Addr()), 1)
}

func TestSubscriberWithASlowBodyLosesNothing(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	direct := testkit.PatientClient(t, server.Addr())
	proxy := testserver.Proxy(t, server.Addr())
	config := tracbus.SubscriberConfig{PingAfter: 50 * time.Millisecond}
	l := listen(t, testkit.PatientClient(t, server.Addr()), config)
	l.resync(tracbus.ResyncSubscribed)
	l.hears(direct, 1)
	dead := listen(t, testkit.HastyClient(t, proxy.Addr()), config, "nothing")
	dead.resync(tracbus.ResyncSubscribed)
	proxy.Pause()
	for id := int64(2); id < 100; id++ { // the body waits with the first of them
		publish(t, direct, "trac.test.ticket.created", fmt.Sprintf(`{"id": %d}`, id))
	}
	for range 3 { // meanwhile another one, on a line that is dead, gives up three times
		dead.lost()
		proxy.Resume()
		dead.resync(tracbus.ResyncReconnected)
		proxy.Pause()
	}
	for id := int64(2); id < 100; id++ {
		s := l.next()
		require.NoError(t, s.err)
		assert.Equal(t, strconv.FormatInt(id, 10), s.event.Resource().ID)
	}
	l.hears(direct, 100)
}

func TestSubscriberThatLagsTooFarIsToldSo(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	direct := testkit.PatientClient(t, server.Addr())
	require.NoError(t, direct.ConfigSet(context.Background(), "client-output-buffer-limit", "pubsub 1mb 512kb 1").Err())
	l := listen(t, testkit.PatientClient(t, server.Addr()), tracbus.SubscriberConfig{PingAfter: 50 * time.Millisecond})
	l.resync(tracbus.ResyncSubscribed)
	payload := `{"id": 1, "text": "` + strings.Repeat("x", 1<<20) + `"}`
	sent := 0
	for heard := int64(1); heard > 0; sent++ { // until the server has given it up
		var err error
		heard, err = direct.Publish(context.Background(), "trac.test.ticket.created", payload).Result()
		require.NoError(t, err)
		require.Less(t, sent, 1000)
	}
	received := 0
	var s told
	for s = l.next(); s.err == nil; s = l.next() {
		received++
	}
	require.ErrorIs(t, s.err, tracbus.ErrDisconnected)
	assert.Less(t, received, sent)
	l.resync(tracbus.ResyncReconnected)
	l.hears(direct, 2)
}

func TestSubscriberPatterns(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	direct := testkit.PatientClient(t, server.Addr())

	twice := listen(t, direct, tracbus.SubscriberConfig{}, "trac.*", "*.ticket.*", "trac.*")
	twice.resync(tracbus.ResyncSubscribed)
	twice.hears(direct, 1)
	twice.takes(1) // two of the patterns match
	twice.stop()

	odd := listen(t, direct, tracbus.SubscriberConfig{Prefix: "tr*c[x]"})
	odd.resync(tracbus.ResyncSubscribed)
	publish(t, direct, "trac.test.ticket.created", `{"id": 1}`) // matches only if the prefix were a pattern
	publish(t, direct, "tr*c[x].test.ticket.created", `{"id": 2}`)
	assert.Equal(t, "ticket 2 created", odd.next().String())
	odd.stop()

	none := listen(t, direct, tracbus.SubscriberConfig{NoPrefix: true})
	none.resync(tracbus.ResyncSubscribed)
	publish(t, direct, "test.ticket.created", `{"id": 3}`)
	assert.Equal(t, "ticket 3 created", none.next().String())
}

func TestSubscriberWithoutTheRight(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{Users: []testserver.RedisUser{
		{Name: "deaf", Password: "pw", Rules: "resetchannels &trac.* +publish +info"},
	}})
	admin := testkit.PatientClient(t, server.Addr())
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "deaf", Password: "pw"})
	defer client.Close()
	l := listen(t, client, tracbus.SubscriberConfig{}, "trac.*")
	assert.ErrorContains(t, l.lost(), "NOPERM")
	require.NoError(t, admin.Do(context.Background(), "acl", "setuser", "deaf", "+psubscribe", "+ping").Err())
	l.resync(tracbus.ResyncSubscribed)
	l.hears(admin, 1)
	l.stop()
}
