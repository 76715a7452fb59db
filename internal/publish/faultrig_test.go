package publish_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// tripRecorder notes what the publisher sends in each round trip.
type tripRecorder struct {
	mu    sync.Mutex
	trips [][]int
	fail  func(publish bool) error // what becomes of a round trip; nil lets all through
}

func (r *tripRecorder) note(commands [][]string) error {
	var trip []int
	for _, c := range commands {
		if c[0] == "publish" {
			trip = append(trip, noteOf(c[2]).n)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if trip != nil {
		r.trips = append(r.trips, trip)
	}
	if r.fail == nil {
		return nil
	}
	return r.fail(trip != nil)
}

// noteOf reads a payload that a fault rig sent.
func noteOf(payload string) note {
	var p struct {
		ID  int
		New struct{ N, Version int } `json:"new_values"`
	}
	if err := json.Unmarshal([]byte(payload), &p); err != nil {
		return note{-1, 0, 0}
	}
	return note{p.New.N, p.ID, p.New.Version}
}

// rigTickets is how many tickets a fault rig changes in turn.
const rigTickets = 7

// faultRig is a bus that publishes to a server of its own through a proxy, with
// a subscriber that is connected to the server directly.
type faultRig struct {
	t         testing.TB
	server    *testserver.RedisServer
	proxy     *testserver.TCPProxy
	client    *redis.Client
	bus       *tracbus.Bus
	publisher *tracbus.Publisher
	tap       *testkit.Tap
	trips     tripRecorder
	log       testkit.LogRecorder
	ear       *testkit.Ear
	deaf      bool

	mu       sync.Mutex // makes the order of notes that of Notify
	notified []note
	filler   string
}

func newFaultRig(t testing.TB, config tracbus.BusConfig) *faultRig {
	t.Helper()
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	proxy := testserver.Proxy(t, server.Addr())
	r := newFaultRigVia(t, server, testkit.HastyClient(t, proxy.Addr()), config)
	r.proxy = proxy
	return r
}

// newFaultRigVia makes the publisher use a client, whatever leads from there to
// the server.
func newFaultRigVia(t testing.TB, server *testserver.RedisServer, client *redis.Client, config tracbus.BusConfig) *faultRig {
	t.Helper()
	r := &faultRig{t: t, server: server, client: client}
	r.tap = testkit.NewTap(r.client)
	r.tap.Before(r.trips.note)
	r.ear = testkit.NewEar(t, testkit.HastyClient(t, r.server.Addr()))
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	r.bus = config.NewBus("test")
	r.publisher = tracbus.NewPublisher(r.client, tracbus.PublisherConfig{
		Logger: slog.New(&r.log), MaxBackoff: 20 * time.Millisecond,
	})
	r.bus.All(tracbus.Primary, r.publisher)
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.bus.Close(ended) // of a test that failed before its end
		_ = r.bus.Close(testkit.Within(t))
		r.publisher.Close()
	})
	return r
}

// notify tells n events, each a change of one of rigTickets tickets.
func (r *faultRig) notify(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range n {
		k := len(r.notified)
		next := note{k, 1 + k%rigTickets, 1 + k/rigTickets}
		values := tracbus.Fields{"n": next.n, "version": next.version, "filler": r.filler}
		if err := r.bus.Notify(tracbus.TicketChanged{ID: int64(next.ticket), New: values, Old: tracbus.Fields{"n": nil}}); err != nil {
			r.t.Errorf("notify: %v", err)
			return
		}
		r.notified = append(r.notified, next)
	}
}

func (r *faultRig) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.notified)
}

// underLoad does something while another goroutine notifies without end, with
// at most ahead messages on their way.
func (r *faultRig) underLoad(ahead int, do func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			s := r.publisher.Stats()
			if r.count()-int(s.Published+s.Dropped+s.Rejected) < ahead {
				r.notify(ahead / 4)
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	do()
}

// published waits until Redis has acknowledged n messages more.
func (r *faultRig) published(n int) {
	r.t.Helper()
	want := r.publisher.Stats().Published + uint64(n)
	testkit.Until(r.t, fmt.Sprintf("%d messages are published", want), func() bool { return r.publisher.Stats().Published >= want })
}

// away waits until the publisher has noticed that Redis is away.
func (r *faultRig) away() {
	r.t.Helper()
	testkit.Until(r.t, "the publisher sees that Redis is away", func() bool { return r.publisher.Stats().Disconnected })
}

// settled waits until all is published.
func (r *faultRig) settled() {
	r.t.Helper()
	require.NoError(r.t, r.bus.Wait(testkit.Within(r.t)))
}

// finish closes the bus and checks the history. It returns it, for what a
// scenario checks beyond.
func (r *faultRig) finish() history {
	r.t.Helper()
	require.NoError(r.t, r.bus.Close(testkit.Within(r.t)))
	return r.check()
}

func (r *faultRig) check() history {
	r.t.Helper()
	// What the server sends after these, it sent before to the ear.
	last := "the end " + strconv.Itoa(len(r.ear.All()))
	direct := directClient(r)
	testkit.Until(r.t, "the raw subscriber is there at the end", func() bool {
		n, err := direct.Publish(context.Background(), "end", last).Result()
		return err == nil && n > 0
	})
	h := history{notified: r.notified, sent: r.trips.trips, stats: r.publisher.Stats(), deaf: r.deaf}
	testkit.Until(r.t, "the raw subscriber hears the end", func() bool {
		all := r.ear.All()
		return len(all) > 0 && all[len(all)-1].Payload == last
	})
	for _, m := range r.ear.All() {
		if m.Channel != "end" {
			h.received = append(h.received, noteOf(m.Payload))
		}
	}
	for _, fault := range h.faults() {
		r.t.Error(fault)
	}
	r.checkLog(h.stats)
	r.t.Logf("%d notified, %d received, %d round trips: Published %d, Repeated %d, Dropped %d, Unacknowledged %d, Unheard %d; acknowledged and not heard: %d",
		len(h.notified), len(h.received), len(h.sent), h.stats.Published, h.stats.Resent, h.stats.Dropped,
		h.stats.Unacknowledged, h.stats.NoReceivers, h.lost())
	return h
}

func directClient(r *faultRig) *redis.Client { return testkit.HastyClient(r.t, r.server.Addr()) }

// checkLog wants "away" and "back" in turn.
func (r *faultRig) checkLog(s tracbus.PublisherStats) {
	r.t.Helper()
	lines := r.log.With("away", "back")
	for i, line := range lines {
		want := "Redis is away"
		if i%2 == 1 {
			want = "Redis is back"
		}
		if !strings.HasPrefix(line, want) {
			r.t.Errorf("log line %d\n got %s\nwant %s", i, line, want)
		}
	}
	if got, want := len(lines)%2 == 1, s.Disconnected; got != want {
		r.t.Errorf("the log says last that Redis is away: %v, Stats say: %v", got, want)
	}
}
