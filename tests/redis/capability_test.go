package redis_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// user is a program that uses a site in one way.
type user struct {
	*site
	way     way
	printed *printed
}

// capabilities are what is done with every site, in every way.
var capabilities = []struct {
	name string
	test func(u user, t *testing.T)
}{
	{"publish under Primary", func(u user, t *testing.T) { u.publishes(t, tracbus.Primary) }},
	{"publish under Everywhere", func(u user, t *testing.T) { u.publishes(t, tracbus.Everywhere) }},
	{"publish under Durable, also after SCRIPT FLUSH", user.publishesDurably},
	{"append to a stream under Durable, read it and resume", user.appends},
	{"wake another journal", user.wakes},
}

// TestRedisTopologies uses Redis as people run it, in every way in which a client is
// made, as users who have no rights but those of docs/redis.md.
func TestRedisTopologies(t *testing.T) {
	testkit.NoLeaks(t)
	ways := []way{resp2, tracIni} // the second speaks RESP3
	if long() {
		ways = []way{resp2, resp3, goStructs, tracIni}
	}
	for _, topology := range sites {
		t.Run(topology.name, func(t *testing.T) {
			t.Parallel()
			s := topology.start(t)
			for _, w := range ways {
				for _, c := range capabilities {
					t.Run(string(w)+"/"+c.name, func(t *testing.T) {
						s.on(t, "flushall")
						c.test(user{s, w, listenFor(t)}, t)
					})
				}
			}
		})
	}
}

// events begins a loop over messages, which is subscribed when this returns.
func (u user) events(t *testing.T) *testkit.Steps[tracbus.Event] {
	t.Helper()
	client, _ := u.client(t, u.way, hears)
	subscriber := tracbus.NewSubscriber(client, tracbus.SubscriberConfig{MaxBackoff: 50 * time.Millisecond})
	u.printed.value(subscriber)
	l := testkit.Loop(t, func(ctx context.Context) iter.Seq2[tracbus.Event, error] { return subscriber.Events(ctx) })
	first := l.Next()
	require.NoError(t, first.Err)
	require.Equal(t, tracbus.ResyncSubscribed, first.Value.(tracbus.Resync).Reason)
	return l
}

// publisher makes a publisher for a role. It is closed with the test.
func (u user) publisher(t *testing.T, role, streamKey string) *tracbus.Publisher {
	t.Helper()
	client, config := u.client(t, u.way, role)
	config.StreamKey, config.Logger, config.MaxBackoff = streamKey, u.printed.logger(), 100*time.Millisecond
	p := tracbus.NewPublisher(client, config)
	t.Cleanup(func() {
		p.Close()
		u.printed.value(p.Stats())
		u.printed.value(p)
	})
	return p
}

// publishes has a bus without a journal publish.
func (u user) publishes(t *testing.T, scope tracbus.Scope) {
	l := u.events(t)
	publisher := u.publisher(t, publishes, "")
	bus := tracbus.BusConfig{Logger: u.printed.logger()}.NewBus("test")
	bus.All(scope, publisher)
	for i := range int64(3) {
		require.NoError(t, bus.Notify(desk.Remark(i+1, "one"), desk.NewPage(fmt.Sprint("Page", i))))
		for range 2 {
			s := l.Next()
			require.NoError(t, s.Err)
			assert.Equal(t, "test", s.Value.About().Env)
		}
	}
	require.NoError(t, bus.Close(testkit.Within(t)))
	stats := publisher.Stats()
	assert.EqualValues(t, 6, stats.Published)
	assert.Zero(t, stats.NoReceivers+stats.Rejected+stats.Dropped+stats.Unacknowledged)
	assert.NoError(t, stats.LastError)
	u.nothingToSay(t)
}

// seat opens a journal whose changes a publisher publishes.
func (u user) seat(t *testing.T, publisher *tracbus.Publisher) *desk.Desk {
	t.Helper()
	s := testdatabase.New(t, "sqlite")
	return desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
		Bus: tracbus.BusConfig{Logger: u.printed.logger()}, Journal: tracbus.JournalConfig{Logger: u.printed.logger()},
		Before: func(b *tracbus.Bus) {
			b.All(tracbus.DurableConfig{FromOldest: true, Backoff: 20 * time.Millisecond}.Durable("redis"), publisher)
		},
	})
}

// publishesDurably has a journal publish.
func (u user) publishesDurably(t *testing.T) {
	l := u.events(t)
	d := u.seat(t, u.publisher(t, durable, ""))
	hears := func(comments ...string) {
		t.Helper()
		for _, want := range comments {
			d.Say(t, want, 1)
			s := l.Next()
			require.NoError(t, s.Err)
			assert.Equal(t, want, s.Value.About().Comment)
		}
	}
	hears("a", "b", "c")
	u.on(t, "script", "flush")
	hears("d", "e")
	u.nothingToSay(t)
	status, err := d.Status(testkit.Within(t))
	require.NoError(t, err)
	u.printed.value(status)
}

// appends has a journal publish and append to a stream, which is read in two parts.
func (u user) appends(t *testing.T) {
	l := u.events(t)
	publisher := u.publisher(t, appends, stream)
	d := u.seat(t, publisher)
	want := []string{"a", "b", "c", "d"}
	for _, w := range want[:3] {
		d.Say(t, w, 1)
		require.NoError(t, l.Next().Err)
	}
	client, _ := u.client(t, u.way, reads)
	subscriber := tracbus.NewSubscriber(client, tracbus.SubscriberConfig{MaxBackoff: 50 * time.Millisecond, PingAfter: 200 * time.Millisecond})
	read := func(after string, entries int) (id string, comments []string) {
		t.Helper()
		l := testkit.Loop(t, func(ctx context.Context) iter.Seq2[tracbus.StreamEntry, error] {
			return subscriber.Stream(ctx, stream, after)
		})
		for len(comments) < entries {
			s := l.Next()
			require.NoError(t, s.Err)
			id = s.Value.ID
			if e, ok := s.Value.Event.(tracbus.Resync); ok {
				require.Equal(t, tracbus.ResyncSubscribed, e.Reason)
				require.Equal(t, "0", after)
				continue
			}
			comments = append(comments, s.Value.Event.About().Comment)
		}
		l.Stop()
		return id, comments
	}
	id, comments := read("0", 2)
	u.on(t, "script", "flush")
	d.Say(t, want[3], 1)
	_, more := read(id, 2)
	assert.Equal(t, want, slices.Concat(comments, more))
	u.nothingToSay(t)
}

// wakes has two processes whose poll comes too late for any test.
func (u user) wakes(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	seat := func() *desk.Desk {
		client, _ := u.client(t, u.way, wakes)
		d := desk.Seat(t, s, dsn, desk.Config{Idle: true, Bus: tracbus.BusConfig{Logger: u.printed.logger()}, Journal: tracbus.JournalConfig{
			PollInterval: time.Hour, Waker: tracbus.NewRedisWaker(client), Logger: u.printed.logger(),
		}})
		d.DB.SetMaxOpenConns(2) // else it looks into the file every 5 ms
		d.Follow()
		return d
	}
	a, b := seat(), seat()
	for i := range 3 {
		a.Say(t, fmt.Sprint("there", i), 1)
		b.Hears(t, fmt.Sprint("there", i))
		b.Say(t, fmt.Sprint("back", i), 1)
		a.Hears(t, fmt.Sprint("back", i))
	}
	u.nothingToSay(t)
}

// nothingToSay expects that nothing was logged that somebody would have to read.
func (u user) nothingToSay(t *testing.T) {
	t.Helper()
	assert.Empty(t, u.printed.with("level=WARN"))
	assert.Empty(t, u.printed.with("level=ERROR"))
}
