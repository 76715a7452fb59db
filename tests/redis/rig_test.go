package redis_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// rig is everybody who uses a Redis, at once: a publisher under Primary, one under
// Durable that also appends to a stream, a process that is woken, a loop over messages
// and one over the stream.
type rig struct {
	t       *testing.T
	printed *printed
	client  func(role string) redis.UniversalClient
	ping    time.Duration // PingAfter of the loops

	bus       *tracbus.Bus
	primary   *tracbus.Publisher
	durable   *tracbus.Publisher
	desk      *desk.Desk
	events    *diary
	stream    *diary
	said      int   // how often both publishers had something to publish
	since     []int // how much the loop over messages had been told when they had
	confirmed int   // up to which of these all was heard
}

// roles are who says something: publishers and the journal in their logs, loops by
// their errors.
var roles = []string{publishes, appends, journal, hears, reads}

// journal is the one that is woken, and that the durable publisher is a consumer of.
const journal = wakes

// newRig begins all of them.
func newRig(t *testing.T, pingAfter time.Duration, client func(role string) redis.UniversalClient) *rig {
	t.Helper()
	r := &rig{t: t, printed: listenFor(t), client: client, ping: pingAfter}
	t.Cleanup(func() { r.report(t) })
	r.events = r.loop(hears, func(ctx context.Context, s *tracbus.Subscriber) iter.Seq2[tracbus.Event, error] { return s.Events(ctx) })
	r.stream = r.loop(reads, func(ctx context.Context, s *tracbus.Subscriber) iter.Seq2[tracbus.Event, error] {
		return func(yield func(tracbus.Event, error) bool) {
			for e, err := range s.Stream(ctx, stream, "0") {
				if !yield(e.Event, err) {
					return
				}
			}
		}
	})

	r.primary = r.publisher(publishes, "")
	r.bus = tracbus.BusConfig{Logger: r.logger(publishes)}.NewBus("test")
	r.bus.All(tracbus.Primary, r.primary)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = r.bus.Close(ctx)
	})
	r.durable = r.publisher(appends, stream)
	s := testdatabase.New(t, "sqlite")
	r.desk = desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
		Bus:     tracbus.BusConfig{Logger: r.logger(appends)},
		Journal: tracbus.JournalConfig{Waker: tracbus.NewRedisWaker(r.client(wakes)), Logger: r.logger(wakes)},
		Before: func(b *tracbus.Bus) {
			b.All(tracbus.DurableConfig{FromOldest: true, Backoff: 20 * time.Millisecond}.Durable("redis"), r.durable)
		},
	})
	return r
}

func (r *rig) publisher(role, streamKey string) *tracbus.Publisher {
	p := tracbus.NewPublisher(r.client(role), tracbus.PublisherConfig{StreamKey: streamKey, Logger: r.logger(role), MaxBackoff: 100 * time.Millisecond})
	r.t.Cleanup(func() {
		p.Close()
		r.printed.value(p.Stats())
	})
	return p
}

// logger returns the one of a role.
func (r *rig) logger(role string) *slog.Logger { return r.printed.logger().With("role", role) }

// loop begins a loop whose steps are written down.
func (r *rig) loop(role string, sequence func(context.Context, *tracbus.Subscriber) iter.Seq2[tracbus.Event, error]) *diary {
	ctx, cancel := context.WithCancel(context.Background())
	d := &diary{}
	s := tracbus.NewSubscriber(r.client(role), tracbus.SubscriberConfig{PingAfter: r.ping, MaxBackoff: 100 * time.Millisecond})
	var looping sync.WaitGroup
	looping.Go(func() {
		for e, err := range sequence(ctx, s) {
			if err != nil {
				r.printed.add("level=ERROR role=%s err=%q", role, err.Error())
				continue
			}
			if again, ok := e.(tracbus.Resync); ok {
				r.printed.add("level=INFO role=%s resync=%s", role, again.Reason)
			}
			d.write(e)
		}
	})
	r.t.Cleanup(func() {
		cancel()
		looping.Wait()
	})
	return d
}

// says has both publishers publish something.
func (r *rig) says() {
	r.t.Helper()
	r.said++
	r.since = append(r.since, len(r.events.all()))
	require.NoError(r.t, r.bus.Notify(desk.Remark(1, fmt.Sprint("p", r.said))))
	r.desk.Say(r.t, fmt.Sprint("d", r.said), 1)
}

// works waits until all that is said from now on is heard by all.
func (r *rig) works() {
	r.t.Helper()
	testkit.Until(r.t, "all of what is said is heard", func() bool {
		r.says()
		p, d := fmt.Sprint("p", r.said), fmt.Sprint("d", r.said)
		return within(200*time.Millisecond, func() bool {
			return r.events.has(p) && r.events.has(d) && r.stream.has(d)
		})
	})
	r.confirmed = r.said
}

// within waits for a condition, but not for long.
func within(limit time.Duration, is func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return is()
		}
	}
	return true
}

// troubles returns what a role has said that somebody has to read. A lease that could
// not be renewed in time has to do with a crowded machine, not with Redis.
func (r *rig) troubles(role string) (lines []string) {
	for _, line := range r.printed.with("role=" + role + " ") {
		bad := strings.HasPrefix(line, "level=WARN") || strings.HasPrefix(line, "level=ERROR")
		if bad && !strings.Contains(line, "the lease could not be renewed in time") {
			lines = append(lines, line)
		}
	}
	return lines
}

// complete fails if the stream's loop was not told all changes in their order, each
// once, or if the other one was subscribed, missed something and was not told that it did.
func (r *rig) complete(subscribed bool) {
	r.t.Helper()
	var want, got []string
	for i := range r.said {
		want = append(want, fmt.Sprint("d", i+1))
	}
	for _, c := range r.stream.all() {
		if strings.HasPrefix(c, "d") {
			got = append(got, c)
		}
	}
	assert.Equal(r.t, want, got, "in the stream")
	if !subscribed { // nothing was promised yet
		return
	}
	within(testkit.Patience, func() bool { return len(r.silent()) == 0 })
	assert.Empty(r.t, r.silent(), "missed, and not told of")
}

// silent returns what the loop over messages has missed without a word. A Resync tells
// of what was published before it: it has to come after it was said, and after all that
// was heard of the same publisher before.
func (r *rig) silent() (missed []string) {
	heard := r.events.all()
	for _, publisher := range []string{"p", "d"} {
		last := -1 // where the one heard last is
		for i := range r.said {
			c := fmt.Sprint(publisher, i+1)
			if at := slices.Index(heard, c); at >= 0 {
				last = max(last, at)
			} else if since := max(last+1, r.since[i]); !slices.ContainsFunc(heard[since:], isResync) {
				missed = append(missed, fmt.Sprintf("%s, after %q", c, heard[:since]))
			}
		}
	}
	return missed
}

func isResync(brief string) bool { return brief == "(subscribed)" || brief == "(reconnected)" }

// diary is what a loop was told.
type diary struct {
	mu   sync.Mutex
	told []tracbus.Event
}

func (d *diary) write(e tracbus.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, e)
}

// all returns the comments of what was told, and the reasons of each Resync in brackets.
func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return desk.Briefs(d.told)
}

func (d *diary) has(comment string) bool {
	for _, c := range d.all() {
		if c == comment {
			return true
		}
	}
	return false
}
