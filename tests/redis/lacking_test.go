package redis_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// omnipotent is who may do everything: he hears what those publish who lack a right,
// and publishes what they should hear.
type omnipotent struct {
	hears *diary
	bus   *tracbus.Bus
	desk  *desk.Desk // whose changes go into the stream
}

// lacking is a user without a right.
type lacking struct {
	*site
	*omnipotent
	t       *testing.T
	name    string // of the user, and of the stream to which he appends
	role    string
	right   string // that he lacks
	printed *printed
	said    int
}

// newOmnipotent enrols one.
func newOmnipotent(t *testing.T, s *site) *omnipotent {
	t.Helper()
	s.on(t, "acl", "setuser", "all", "on", ">"+passwordOf("all"), "+@all", "~*", "&*")
	l := &lacking{site: s, t: t, name: "all", role: hears, printed: listenFor(t)}
	o := &omnipotent{hears: l.events()}
	o.bus = l.publishing()
	o.desk = l.appending(tracbus.PublisherConfig{StreamKey: stream})
	testkit.Until(t, "the omnipotent one hears", func() bool { return len(o.hears.all()) > 0 })
	return o
}

// soon is long enough for what goes well.
const soon = 100 * time.Millisecond

// begins has the user do what his role does. The function that it returns has him do
// it once more, and says whether that came to where it should.
func (l *lacking) begins() (works func() bool) {
	switch l.role {
	case publishes:
		bus := l.publishing()
		return func() bool {
			return l.says(func(what string) { require.NoError(l.t, bus.Notify(desk.Remark(1, what))) }, l.omnipotent.hears.has)
		}
	case durable, appends:
		config := tracbus.PublisherConfig{}
		if l.role == appends { // so that entries expire at once
			config.StreamKey, config.StreamMaxAge = l.name, time.Millisecond
		}
		d := l.appending(config)
		return func() bool {
			return l.says(func(what string) { d.Say(l.t, what, 1) }, l.omnipotent.hears.has)
		}
	case wakes:
		s := testdatabase.New(l.t, "sqlite")
		a, b := l.woken(s), l.woken(s)
		return func() bool {
			return l.says(func(what string) { a.Say(l.t, what, 1) }, func(what string) bool {
				heard, _ := b.Heard()
				return slices.Contains(desk.Briefs(heard), what)
			})
		}
	case hears:
		d := l.events()
		return func() bool {
			return l.says(func(what string) { require.NoError(l.t, l.bus.Notify(desk.Remark(1, what))) }, d.has)
		}
	default:
		d := l.reading()
		return func() bool {
			return l.says(func(what string) { l.desk.Say(l.t, what, 1) }, d.has)
		}
	}
}

// says has something said that nobody else says, and looks whether it is heard.
func (l *lacking) says(say func(string), heard func(string) bool) bool {
	l.said++
	what := fmt.Sprint(l.name, "-", l.said)
	say(what)
	return within(soon, func() bool { return heard(what) })
}

// client makes the user's.
func (l *lacking) client() redis.UniversalClient {
	c := l.as(l.name)
	c.DialTimeout, c.ReadTimeout, c.WriteTimeout = 2*time.Second, 2*time.Second, 2*time.Second
	client, err := c.NewClient()
	require.NoError(l.t, err)
	l.t.Cleanup(func() { _ = client.Close() })
	return client
}

func (l *lacking) publisher(c tracbus.PublisherConfig) *tracbus.Publisher {
	c.Logger, c.MaxBackoff = l.printed.logger(), soon
	p := tracbus.NewPublisher(l.client(), c)
	l.t.Cleanup(func() { p.Close() })
	return p
}

// publishing returns the bus of a publisher under Primary.
func (l *lacking) publishing() *tracbus.Bus {
	bus := tracbus.BusConfig{Logger: l.printed.logger()}.NewBus("test")
	bus.All(tracbus.Primary, l.publisher(tracbus.PublisherConfig{}))
	l.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		_ = bus.Close(ctx)
	})
	return bus
}

// appending returns a journal whose changes are published under Durable.
func (l *lacking) appending(c tracbus.PublisherConfig) *desk.Desk {
	s := testdatabase.New(l.t, "sqlite")
	publisher := l.publisher(c)
	return desk.Seat(l.t, s, s.DSN(s.Name()), desk.Config{
		Bus: tracbus.BusConfig{Logger: l.printed.logger()}, Journal: tracbus.JournalConfig{Logger: l.printed.logger()},
		Before: func(b *tracbus.Bus) {
			b.All(tracbus.DurableConfig{FromOldest: true, Backoff: 20 * time.Millisecond}.Durable("redis"), publisher)
		},
	})
}

// woken returns a journal whose poll comes too late for any test.
func (l *lacking) woken(s *testdatabase.Server) *desk.Desk {
	d := desk.Seat(l.t, s, s.DSN("woken"), desk.Config{Idle: true, Bus: tracbus.BusConfig{Logger: l.printed.logger()}, Journal: tracbus.JournalConfig{
		PollInterval: time.Hour, Waker: tracbus.NewRedisWaker(l.client()), Logger: l.printed.logger(),
	}})
	d.DB.SetMaxOpenConns(2) // else it looks into the file every 5 ms
	d.Follow()
	return d
}

func (l *lacking) events() *diary {
	return l.loop(func(ctx context.Context, s *tracbus.Subscriber) iter.Seq2[tracbus.Event, error] { return s.Events(ctx) })
}

// reading reads the stream from its end, which has to be looked up.
func (l *lacking) reading() *diary {
	return l.loop(func(ctx context.Context, s *tracbus.Subscriber) iter.Seq2[tracbus.Event, error] {
		return func(yield func(tracbus.Event, error) bool) {
			for e, err := range s.Stream(ctx, stream, "") {
				if !yield(e.Event, err) {
					return
				}
			}
		}
	})
}

// loop begins a loop whose steps are written down.
func (l *lacking) loop(sequence func(context.Context, *tracbus.Subscriber) iter.Seq2[tracbus.Event, error]) *diary {
	ctx, cancel := context.WithCancel(context.Background())
	d := &diary{}
	s := tracbus.NewSubscriber(l.client(), tracbus.SubscriberConfig{PingAfter: soon, MaxBackoff: soon})
	var looping sync.WaitGroup
	looping.Go(func() {
		for e, err := range sequence(ctx, s) {
			if err != nil {
				l.printed.add("level=ERROR err=%q", err.Error())
				continue
			}
			d.write(e)
		}
	})
	l.t.Cleanup(func() {
		cancel()
		looping.Wait()
	})
	return d
}

// troubles returns what was said that somebody has to read.
func (l *lacking) troubles() []string {
	return append(l.printed.with("level=WARN"), l.printed.with("level=ERROR")...)
}
