package tracbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// logs keeps what a bus has logged.
type logs struct {
	mu      sync.Mutex
	records []slog.Record
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return nil
}

// lines returns what was logged as "message key=value …", of the given keys.
func (l *logs) lines(keys ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, r := range l.records {
		line := r.Message
		r.Attrs(func(a slog.Attr) bool {
			if slices.Contains(keys, a.Key) {
				line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
			}
			return true
		})
		lines = append(lines, line)
	}
	return lines
}

// inBubble runs f with a bus whose goroutines must all have ended when f
// returns: a bubble with one left does not end, but panics.
func inBubble(t *testing.T, config tracbus.BusConfig, f func(t *testing.T, bus *tracbus.Bus, l *logs)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := new(logs)
		config.Logger = slog.New(l)
		f(t, config.NewBus("test"), l)
	})
}

// comment is an event that carries n.
func comment(n int) tracbus.TicketChanged {
	return tracbus.TicketChanged{ID: int64(n), Change: tracbus.Change{Author: "joe"}}
}

func tickets(from, to int) []string {
	var all []string
	for n := from; n <= to; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return all
}

// TestBadListenersSpareTheOthers is the isolation that the package comment
// promises: one listener panics, one blocks for ever, one fails, one ends its
// goroutine, one publishes, and two good ones are told everything in one order.
func TestBadListenersSpareTheOthers(t *testing.T) {
	inBubble(t, tracbus.BusConfig{QueueSize: 1000}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		var before, after, answers testkit.Diary
		release := make(chan struct{})

		keep(&before, bus, tracbus.Primary)
		tracbus.On(bus, tracbus.Primary, func(context.Context, tracbus.TicketChanged) error { panic("out of tea") })
		tracbus.On(bus, tracbus.Primary, func(context.Context, tracbus.TicketChanged) error {
			<-release // a listener that does not heed its context
			return nil
		})
		tracbus.On(bus, tracbus.Primary, func(context.Context, tracbus.TicketChanged) error { return errors.New("no luck") })
		tracbus.On(bus, tracbus.Primary, func(context.Context, tracbus.TicketChanged) error { runtime.Goexit(); return nil })
		tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.TicketChanged) error {
			return bus.Notify(tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: fmt.Sprint("Answer", e.ID), Version: 1}})
		})
		tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.WikiPageCreated) error {
			answers.Write("%s", e.Page.Name)
			return nil
		})
		keep(&after, bus, tracbus.Everywhere)

		for n := 1; n <= 100; n++ {
			require.NoError(t, bus.Notify(comment(n)))
		}
		synctest.Wait()
		assert.Equal(t, tickets(1, 100), before.Read())
		assert.Equal(t, tickets(1, 100), after.Read())
		assert.Len(t, answers.Read(), 100)
		assert.Equal(t, "Answer1", answers.Read()[0])

		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		began := time.Now()
		err := bus.Close(ctx)
		assert.Equal(t, 5*time.Second, time.Since(began), "Close returns by its deadline, in the bubble's time")
		var left *tracbus.CloseError
		require.ErrorAs(t, err, &left)
		require.Len(t, left.Undelivered, 1)
		assert.Equal(t, 100, left.Undelivered[0].Count)
		assert.True(t, left.Undelivered[0].CallRunning)
		assert.Equal(t, "ticket 1", left.Undelivered[0].Oldest.Resource().String())
		assert.ErrorContains(t, err, "close: not delivered: 100 events to github.com/tracbus/tracbus_test.TestBadListenersSpareTheOthers.")
		assert.ErrorContains(t, err, "from ticket 1 changed (the listener has not returned)")

		failures := l.lines("tid", "channel", "err")
		assert.Len(t, failures, 300, "each failure is logged once")
		for _, want := range []string{
			"listener failed channel=test.ticket.changed.7 tid=0 err=panic: out of tea",
			"listener failed channel=test.ticket.changed.7 tid=0 err=no luck",
			"listener failed channel=test.ticket.changed.7 tid=0 err=the listener called runtime.Goexit",
		} {
			assert.Contains(t, failures, want)
		}

		close(release)
		assert.NoError(t, bus.Close(context.Background()), "the straggler has returned")
	})
}

// TestOneOrderForAll has many goroutines notify at once: whatever the order
// becomes, it is the same for every listener, and that of each goroutine.
func TestOneOrderForAll(t *testing.T) {
	bus := tracbus.NewBus("test")
	var diaries [4]testkit.Diary
	for i := range diaries {
		keep(&diaries[i], bus, tracbus.Primary)
	}
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for n := range 500 {
				id := 1 + w*1000 + 2*n
				assert.NoError(t, bus.Notify(comment(id), comment(id+1)))
			}
		})
	}
	writers.Wait()
	require.NoError(t, bus.Wait(t.Context()))
	require.NoError(t, bus.Close(t.Context()))

	first := diaries[0].Read()
	require.Len(t, first, 8000)
	for i := range diaries[1:] {
		require.Equal(t, first, diaries[i+1].Read())
	}
	var last [8]int
	for i := 0; i < len(first); i += 2 {
		var a, b int
		_, err := fmt.Sscan(first[i]+" "+first[i+1], &a, &b)
		require.NoError(t, err)
		require.Equal(t, a+1, b, "events of one Notify stand together")
		require.Greater(t, a, last[a/1000], "of goroutine %d", a/1000)
		last[a/1000] = a
	}
}

func TestPrimaryIsNotRepeated(t *testing.T) {
	inBubble(t, tracbus.BusConfig{}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		var d testkit.Diary
		r := tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.TicketChanged) error {
			d.Write("%d", e.ID)
			if e.ID == 2 {
				return errors.New("no luck")
			}
			return nil
		})
		require.NoError(t, bus.Notify(comment(1), comment(2), comment(3)))
		require.NoError(t, bus.Close(t.Context()))
		assert.Equal(t, []string{"1", "2", "3"}, d.Read())
		assert.Equal(t, []string{"listener failed resource=ticket 2 err=no luck resync=false"}, l.lines("resource", "err", "resync"))
		s := r.Status()
		assert.EqualError(t, s.LastError, "no luck")
		assert.Equal(t, []uint64{3, 1, 0, 0}, []uint64{s.Delivered, s.Failed, s.Retried, s.Dropped})
	})
}

// cache is a listener that must never be stale in silence.
type cache struct {
	testkit.Diary
	fail func(call string) error
}

func (c *cache) tell(format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	c.Write("%s", call)
	if c.fail == nil {
		return nil
	}
	return c.fail(call)
}

func (c *cache) WikiPageCreated(_ context.Context, e tracbus.WikiPageCreated) error {
	return c.tell("created %s", e.Page.Name)
}

func (c *cache) WikiPageChanged(_ context.Context, e tracbus.WikiPageChanged) error {
	return c.tell("changed %s", e.Page.Name)
}

func (c *cache) WikiPageDeleted(_ context.Context, e tracbus.WikiPageDeleted) error {
	return c.tell("deleted %s", e.Page.Name)
}

func (c *cache) Resync(_ context.Context, e tracbus.Resync) error {
	return c.tell("resync %s, missed %d, err %v", e.Reason, e.Missed, e.Err)
}

func page(name string) tracbus.WikiPageCreated {
	return tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: name, Version: 1}}
}

func TestEverywhereIsRepeatedThenResynced(t *testing.T) {
	inBubble(t, tracbus.BusConfig{MaxRetries: 2, Backoff: time.Second}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		fails := map[string]int{"created B": 99, "created C": 1, "resync gave up, missed 1, err B is bad": 2}
		c := &cache{}
		c.fail = func(call string) error {
			if fails[call]--; fails[call] >= 0 {
				return errors.New(call[len(call)-1:] + " is bad")
			}
			return nil
		}
		r := bus.Wiki(tracbus.Everywhere, c)
		began := time.Now()
		require.NoError(t, bus.Notify(page("A"), page("B"), page("C"), page("D")))
		require.NoError(t, bus.Close(t.Context()))

		gaveUp := "resync gave up, missed 1, err B is bad"
		assert.Equal(t, []string{
			"created A", "created B", "created B", "created B",
			gaveUp, gaveUp, gaveUp, // until it has understood, and before anything else
			"created C", "created C", "created D",
		}, c.Read())
		assert.Equal(t, (1+2+1+2+1)*time.Second, time.Since(began), "the pause doubles")
		assert.Equal(t, []string{
			"listener failed resource=wiki B err=B is bad resync=true",
			"listener failed on resync, which is repeated err=d is bad",
		}, l.lines("resource", "err", "resync"))
		s := r.Status()
		assert.Equal(t, []uint64{4, 1, 5, 0}, []uint64{s.Delivered, s.Failed, s.Retried, s.Dropped})
	})
}

func TestFullQueueDropsTheOldestAndResyncs(t *testing.T) {
	inBubble(t, tracbus.BusConfig{QueueSize: 3, BatchSize: 2}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		release := make(chan struct{})
		c := &cache{}
		c.fail = func(call string) error {
			if call == "created P1" {
				<-release
			}
			return nil
		}
		r := bus.Wiki(tracbus.Primary, c)
		require.NoError(t, bus.Notify(page("P1")))
		synctest.Wait() // P1 is being told, and does not count
		for n := 2; n <= 7; n++ {
			require.NoError(t, bus.Notify(page(fmt.Sprint("P", n))))
		}
		assert.Equal(t, 4, r.Status().Waiting)
		assert.Equal(t, uint64(3), r.Status().Dropped)
		close(release)
		require.NoError(t, bus.Wait(t.Context()))
		assert.Equal(t, []string{"created P1", "resync overflowed, missed 3, err <nil>", "created P5", "created P6", "created P7"}, c.Read())
		assert.Equal(t, []string{"a listener is too slow: its oldest changes are dropped bound=3"}, l.lines("bound"))
		assert.Equal(t, uint64(4), r.Status().Delivered)
		require.NoError(t, bus.Close(t.Context()))
	})
}

// TestWhatIsMissedLaterIsToldLater: a listener fails on an event while the
// queue behind that event's batch overflows. The two gaps are two Resyncs, each
// where its gap is; one for both would leave the later gap untold.
func TestWhatIsMissedLaterIsToldLater(t *testing.T) {
	inBubble(t, tracbus.BusConfig{QueueSize: 3, MaxRetries: -1}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		gate := make(chan struct{})
		c := &cache{}
		c.fail = func(call string) error {
			if call == "created P0" || call == "created P1" {
				<-gate
			}
			if call == "created P1" {
				return errors.New("no luck")
			}
			return nil
		}
		bus.Wiki(tracbus.Everywhere, c)
		require.NoError(t, bus.Notify(page("P0")))
		synctest.Wait()
		require.NoError(t, bus.Notify(page("P1"), page("P2"), page("P3"))) // the next batch
		gate <- struct{}{}
		synctest.Wait() // P1 is being told
		require.NoError(t, bus.Notify(page("P4"), page("P5"), page("P6"), page("P7"), page("P8")))
		close(gate)
		require.NoError(t, bus.Close(t.Context()))
		assert.Equal(t, []string{
			"created P0", "created P1", "resync gave up, missed 1, err no luck", "created P2", "created P3",
			"resync overflowed, missed 2, err <nil>", "created P6", "created P7", "created P8",
		}, c.Read())
	})
}

// TestResyncsDoNotStarveEvents of a listener whose Resync takes so long that its
// queue overflows meanwhile, each time.
func TestResyncsDoNotStarveEvents(t *testing.T) {
	inBubble(t, tracbus.BusConfig{QueueSize: 10}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		c := &cache{}
		c.fail = func(call string) error {
			if call[:6] == "resync" {
				time.Sleep(50 * time.Millisecond) // of the bubble's time
			}
			return nil
		}
		r := bus.Wiki(tracbus.Primary, c)
		for range 500 {
			for range 3 {
				require.NoError(t, bus.Notify(page("A"), page("B"), page("C"), page("D"), page("E")))
			}
			time.Sleep(2 * time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, bus.Wait(ctx), "for what was missed until now")
		require.NoError(t, bus.Close(t.Context()))
		resyncs := 0
		for _, call := range c.Read() {
			if call[:6] == "resync" {
				resyncs++
			}
		}
		assert.Positive(t, resyncs)
		assert.GreaterOrEqual(t, r.Status().Delivered, uint64(10*resyncs), "with each Resync comes a batch")
		assert.Equal(t, uint64(7500), r.Status().Delivered+r.Status().Dropped)
	})
}

// asking is a slog handler that looks at the bus whose failures it handles.
type asking struct {
	*logs
	bus *tracbus.Bus
}

func (a *asking) Handle(ctx context.Context, r slog.Record) error {
	a.bus.Status()
	return a.logs.Handle(ctx, r)
}

// TestLoggersMayAskTheBus: no lock is held while something is logged. An
// overload is one line, however long it lasts.
func TestLoggersMayAskTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := &asking{logs: new(logs)}
		bus := tracbus.BusConfig{QueueSize: 2, BatchSize: 1, Logger: slog.New(handler)}.NewBus("test")
		handler.bus = bus
		turn := make(chan struct{})
		tracbus.On(bus, tracbus.Primary, func(context.Context, tracbus.WikiPageCreated) error { <-turn; return errors.New("no luck") })
		require.NoError(t, bus.Notify(page("First")))
		for range 10 {
			require.NoError(t, bus.Notify(page("A"), page("B"), page("C")))
			synctest.Wait()
			turn <- struct{}{}
		}
		close(turn)
		require.NoError(t, bus.Wait(t.Context()))
		require.NoError(t, bus.Close(t.Context()))
		slow := 0
		for _, line := range handler.lines() {
			if line == "a listener is too slow: its oldest changes are dropped" {
				slow++
			}
		}
		assert.Equal(t, 1, slow)
	})
}

// batches takes events in batches, and may fail on some.
type batches struct {
	testkit.Diary
	fail func(events []tracbus.Event) error
}

func (b *batches) HandleBatch(_ context.Context, events []tracbus.Event) error {
	first, last := events[0].Resource().ID, events[len(events)-1].Resource().ID
	b.Write("%s-%s", first, last)
	if b.fail == nil {
		return nil
	}
	return b.fail(events)
}

func TestWhatWaitsGoesInBatches(t *testing.T) {
	inBubble(t, tracbus.BusConfig{BatchSize: 10}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		gate := make(chan struct{})
		b := &batches{}
		b.fail = func(events []tracbus.Event) error {
			<-gate
			if events[0].Resource().ID == "12" {
				return errors.New("no luck")
			}
			return nil
		}
		r := bus.All(tracbus.Primary, b)
		require.NoError(t, bus.Notify(comment(1)))
		synctest.Wait()
		for n := 2; n <= 25; n++ {
			require.NoError(t, bus.Notify(comment(n)))
		}
		close(gate)
		require.NoError(t, bus.Close(t.Context()))
		assert.Equal(t, []string{"1-1", "2-11", "12-21", "22-25"}, b.Read())
		assert.Equal(t, []string{"listener failed resource=ticket 12 events=10 err=no luck"}, l.lines("resource", "events", "err"))
		assert.Equal(t, []uint64{25, 10}, []uint64{r.Status().Delivered, r.Status().Failed})
	})
}

// clerk is told of everything that can happen to a ticket.
type clerk struct{ testkit.Diary }

func (c *clerk) TicketCreated(_ context.Context, e tracbus.TicketCreated) error {
	c.Write("created %d", e.ID)
	return nil
}

func (c *clerk) TicketChanged(_ context.Context, e tracbus.TicketChanged) error {
	c.Write("changed %d %v -> %v by %s in %s, primary %v", e.ID, e.Old["milestone"], e.New["milestone"], e.Author, e.Env, e.Primary)
	return nil
}

func (c *clerk) TicketDeleted(_ context.Context, e tracbus.TicketDeleted) error {
	c.Write("deleted %d", e.ID)
	return nil
}

// archivist is a clerk that is told of the rarer events too.
type archivist struct{ clerk }

func (a *archivist) TicketCommentEdited(_ context.Context, e tracbus.TicketCommentEdited) error {
	a.Write("comment %d", e.ID)
	return nil
}

func (a *archivist) TicketChangeDeleted(_ context.Context, e tracbus.TicketChangeDeleted) error {
	a.Write("history %d", e.ID)
	return nil
}

func TestListenersAreToldWhatTheyAskFor(t *testing.T) {
	bus := tracbus.NewBus("test")
	var plain clerk
	var rare archivist
	var all, one testkit.Diary
	bus.Ticket(tracbus.Primary, &plain)
	bus.Ticket(tracbus.Primary, &rare)
	tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.Event) error {
		all.Write("%s %s", e.Resource(), e.Kind())
		return nil
	})
	tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.WikiPageRenamed) error {
		one.Write("%s -> %s", e.OldName, e.Page.Name)
		return nil
	})
	values := tracbus.Fields{"summary": "s", "milestone": "m1"}
	require.NoError(t, bus.Notify(
		tracbus.TicketCreated{ID: 1, Values: values},
		tracbus.TicketChanged{ID: 1, Values: values, Old: tracbus.Fields{"milestone": ""}, Change: tracbus.Change{Author: "joe"}},
		tracbus.TicketCommentEdited{ID: 1, OldComment: "typo"},
		tracbus.TicketChangeDeleted{ID: 1},
		tracbus.WikiPageRenamed{Page: tracbus.WikiPage{Name: "New", Version: 2}, OldName: "Old"},
		tracbus.TicketDeleted{ID: 1, Values: values},
	))
	require.NoError(t, bus.Close(t.Context()))

	three := []string{"created 1", "changed 1  -> m1 by joe in test, primary true", "deleted 1"}
	assert.Equal(t, three, plain.Read())
	assert.Equal(t, []string{three[0], three[1], "comment 1", "history 1", three[2]}, rare.Read())
	assert.Equal(t, []string{"Old -> New"}, one.Read())
	assert.Equal(t, []string{"ticket 1 created", "ticket 1 changed", "ticket 1 comment_edited", "ticket 1 change_deleted", "wiki New renamed", "ticket 1 deleted"}, all.Read())
}

func TestMalformedEventsTellNobody(t *testing.T) {
	bus := tracbus.NewBus("test")
	var d testkit.Diary
	keep(&d, bus, tracbus.Primary)
	long := time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
	wiki := func(p tracbus.WikiPage) tracbus.Event { return tracbus.WikiPageCreated{Page: p} }
	for _, c := range []struct {
		event tracbus.Event
		want  string
	}{
		{nil, "notify: event 2 of 2, <nil>: expected an event, got nil"},
		{(*tracbus.TicketCreated)(nil), "expected a value of type tracbus.TicketCreated, got a pointer to one"},
		{tracbus.TicketChanged{ID: 1, Old: tracbus.Fields{"x": ""}}, "ticket 1: old values, and no new ones: expected Values or New"},
		{tracbus.TicketCreated{ID: 1, Values: tracbus.Fields{"x\xff": ""}}, `field "x\xff": expected a name in UTF-8`},
		{tracbus.TicketCreated{ID: 1, Values: tracbus.Fields{"due": time.Unix(0, 0).In(time.FixedZone("", 360_000))}}, `field "due": time with an offset of 100h0m0s: expected less than a day`},
		{tracbus.TicketCommentEdited{ID: 1, CommentTime: long}, "time in year 12000: expected a year from 1 to 9999"},
		{tracbus.TicketChangeDeleted{ID: 1, ChangeTime: long}, "time in year 12000: expected a year from 1 to 9999"},
		{tracbus.TicketCreated{}, "tracbus.TicketCreated: ticket 0: expected a number from 1"},
		{tracbus.TicketCreated{ID: 1, Values: tracbus.Fields{"x": []string{"a"}}}, `field "x": value of type []string: expected nil, string, bool, number or time.Time`},
		{tracbus.TicketChanged{ID: 1, Old: tracbus.Fields{"x": math.NaN()}}, `old value of field "x": number NaN: expected a finite one`},
		{tracbus.TicketChanged{ID: 1, New: tracbus.Fields{"x": json.Number("01")}}, `new value of field "x": number "01": expected decimal digits as JSON writes them`},
		{tracbus.TicketDeleted{ID: 1, Values: tracbus.Fields{"due": long}}, `field "due": time in year 12000: expected a year from 1 to 9999`},
		{tracbus.TicketChanged{ID: 1, Change: tracbus.Change{Env: "a\nb"}}, `env "a\nb": expected UTF-8 without control characters`},
		{tracbus.TicketChanged{ID: 1, Change: tracbus.Change{Env: "a.created"}}, `env "a.created": expected no part after a dot that is the name of a kind`},
		{tracbus.TicketChanged{ID: 1, Change: tracbus.Change{Time: long}}, "time in year 12000: expected a year from 1 to 9999"},
		{wiki(tracbus.WikiPage{Version: 1}), `page name "": not a page name: it has a part ""`},
		{wiki(tracbus.WikiPage{Name: "/A"}), `page name "/A": not a page name: it has a part ""`},
		{wiki(tracbus.WikiPage{Name: "A/"}), `it has a part ""`},
		{wiki(tracbus.WikiPage{Name: "A//B"}), `it has a part ""`},
		{wiki(tracbus.WikiPage{Name: "A/../B"}), `it has a part ".."`},
		{wiki(tracbus.WikiPage{Name: "."}), `it has a part "."`},
		{wiki(tracbus.WikiPage{Name: "A\xff"}), "it is not valid UTF-8"},
		{wiki(tracbus.WikiPage{Name: "A", Version: -1}), `version -1 of page "A": expected 0 or more`},
		{wiki(tracbus.WikiPage{Name: "A", Time: long}), "expected a year from 1 to 9999"},
		{tracbus.WikiPageRenamed{Page: tracbus.WikiPage{Name: "A"}}, `old page name "": not a page name`},
	} {
		err := bus.Notify(comment(1), c.event)
		assert.ErrorContains(t, err, c.want)
		assert.ErrorContains(t, err, "notify: event 2 of 2")
	}
	assert.ErrorIs(t, bus.Notify(wiki(tracbus.WikiPage{})), tracbus.ErrInvalidPageName)
	require.NoError(t, bus.Close(t.Context()))
	assert.Empty(t, d.Read(), "all events are taken or none")
	assert.ErrorIs(t, bus.Notify(comment(1)), tracbus.ErrBusClosed)
}

// TestEnvOfAnEvent: an event that names an env keeps it, and the others get that of the bus.
func TestEnvOfAnEvent(t *testing.T) {
	bus := tracbus.NewBus("test")
	got := make(chan string, 3)
	tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.Event) error {
		channel, _, err := tracbus.PublisherConfig{}.Encode(e)
		got <- channel
		return err
	})
	for env, want := range map[string]string{
		"":            "trac.test.ticket.changed.1",
		"test":        "trac.test.ticket.changed.1",
		"my.project ": "trac.my.project .ticket.changed.1",
	} {
		require.NoError(t, bus.Notify(tracbus.TicketChanged{ID: 1, Change: tracbus.Change{Env: env}}))
		assert.Equal(t, want, <-got)
	}
	require.NoError(t, bus.Close(t.Context()))
}

// TestEventsAreNormalised hands in what Go programs have. That itself stays as it is.
func TestEventsAreNormalised(t *testing.T) {
	bus := tracbus.NewBus("test")
	got := make(chan tracbus.TicketCreated, 1)
	tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.TicketCreated) error { got <- e; return nil })
	paris := time.FixedZone("", 7200)
	values := tracbus.Fields{
		"int": 7, "int64": int64(math.MinInt64), "uint64": uint64(math.MaxUint64), "uint8": uint8(3), "float": 100.0, "float32": float32(0.1),
		"null": nil, "bool": true, "text": "a\xffb", "number": json.Number("1e+16"),
		"time": time.Date(2020, 7, 2, 3, 4, 5, 123456789, paris),
	}
	require.NoError(t, bus.Notify(tracbus.TicketCreated{ID: 1, Values: values, Change: tracbus.Change{Author: "\xfe"}}))
	assert.Equal(t, 7, values["int"], "what was handed in is not changed")
	e := <-got
	assert.Equal(t, tracbus.Fields{
		"int": json.Number("7"), "int64": json.Number("-9223372036854775808"), "uint64": json.Number("18446744073709551615"),
		"uint8": json.Number("3"), "float": json.Number("100.0"), "float32": json.Number("0.1"),
		"null": nil, "bool": true, "text": "a\uFFFDb", "number": json.Number("1e+16"),
		"time": time.Date(2020, 7, 2, 3, 4, 5, 123456000, paris),
	}, e.Values)
	assert.Equal(t, "\uFFFD", e.Author)
	assert.False(t, e.Time.IsZero(), "when nobody said when, it is now")
	assert.Zero(t, e.Time.Nanosecond()%1000)

	due, ok := tracbus.Fields{"due": "2020-07-02T03:04:05.123456+02:00"}.Time("due")
	assert.True(t, ok)
	assert.True(t, due.Equal(e.Values["time"].(time.Time)), "a time that a message carries as a string")
	_, ok = e.Values.Time("text")
	assert.False(t, ok)
	assert.Equal(t, "", e.Values.Text("int"), "a number is no text")
	require.NoError(t, bus.Close(t.Context()))
}

// TestFieldsAreShared is the contract of Notify. It copies no Fields, so that a listener
// may keep them and the caller may read them, at the same time; the race detector finds
// who writes them, and would find a bus that does. What Notify refuses, or anything
// that is recorded in a journal, is the caller's again.
func TestFieldsAreShared(t *testing.T) {
	bus, other := tracbus.NewBus("test"), tracbus.NewBus("other")
	values := tracbus.Fields{"summary": "It does not start.", "due": time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), "cc": nil}
	odd := tracbus.Fields{"text": "a\xffb", "n": 1}
	e := tracbus.TicketChanged{ID: 1, Values: values, New: odd}

	require.Error(t, bus.Notify(e, nil))
	values["cc"] = "" // nobody has it yet

	kept := make(chan tracbus.TicketChanged, 2)
	for _, b := range []*tracbus.Bus{bus, other} {
		tracbus.On(b, tracbus.Primary, func(_ context.Context, e tracbus.TicketChanged) error { kept <- e; return nil })
	}
	var notifying sync.WaitGroup
	for _, b := range []*tracbus.Bus{bus, other} {
		notifying.Go(func() { assert.NoError(t, b.Notify(e)) })
	}
	assert.Equal(t, "It does not start.", values.Text("summary"))
	notifying.Wait()
	for range 2 {
		got := <-kept
		assert.Equal(t, values, got.Values)
		assert.Equal(t, tracbus.Fields{"text": "a\uFFFDb", "n": json.Number("1")}, got.New)
		assert.Equal(t, reflect.ValueOf(values).Pointer(), reflect.ValueOf(got.Values).Pointer(), "nothing is copied")
	}
	assert.Equal(t, tracbus.Fields{"text": "a\xffb", "n": 1}, odd)
	require.NoError(t, errors.Join(bus.Close(t.Context()), other.Close(t.Context())))
}

// TestNotifyAllocatesLittle: the caller makes a value an Event, and the bus makes one
// that has its env.
func TestNotifyAllocatesLittle(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	fields := tracbus.Fields{"due": at}
	for i := range 15 {
		fields[fmt.Sprint("field", i)] = strings.Repeat("x", 5*i)
	}
	e := tracbus.TicketChanged{
		Change: tracbus.Change{Time: at, Author: "joe", Comment: "It will be done."}, ID: 1,
		Values: fields, Old: tracbus.Fields{"due": nil}, New: tracbus.Fields{"due": at},
	}
	bus := tracbus.NewBus("test")
	for range 3 {
		tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error { return nil })
	}
	for range 10_000 { // queues grow, and keep their memory
		require.NoError(t, bus.Notify(e))
	}
	allocated := testing.AllocsPerRun(1000, func() {
		if err := bus.Notify(e); err != nil {
			t.Fatal(err)
		}
	})
	assert.LessOrEqual(t, allocated, 2.0)
	require.NoError(t, bus.Close(t.Context()))
}

// TestAPageHasTheTimeOfItsChange wherever the application said it, if at all.
func TestAPageHasTheTimeOfItsChange(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	inBubble(t, tracbus.BusConfig{}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		var got []tracbus.WikiPageCreated
		tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.WikiPageCreated) error { got = append(got, e); return nil })
		said := tracbus.Change{Time: at, Author: "joe", Comment: "c"}
		require.NoError(t, bus.Notify(
			page("Nowhere"),
			tracbus.WikiPageCreated{Change: said, Page: tracbus.WikiPage{Name: "Change", Version: 1}},
			tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "Page", Version: 1, Time: at, Author: "joe", Comment: "c"}},
			tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "Null", Version: 1}, Change: tracbus.Change{Null: tracbus.AttrTime}},
		))
		require.NoError(t, bus.Close(t.Context()))
		require.Len(t, got, 4)
		for i, want := range []time.Time{time.Now().UTC(), at, at, {}} { // the bubble's clock stands still
			assert.Equal(t, want, got[i].Time, got[i].Page.Name)
			assert.Equal(t, want, got[i].Page.Time, got[i].Page.Name)
		}
		for _, e := range got[1:3] {
			assert.Equal(t, []string{"joe", "joe", "c", "c"}, []string{e.Author, e.Page.Author, e.Comment, e.Page.Comment})
		}
	})
}

func TestARegistrationEnds(t *testing.T) {
	inBubble(t, tracbus.BusConfig{}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		var d, other testkit.Diary
		r := keep(&d, bus, tracbus.Primary)
		keep(&other, bus, tracbus.Primary)
		require.NoError(t, bus.Notify(comment(1)))
		require.NoError(t, r.Close(t.Context()))
		require.NoError(t, bus.Notify(comment(2)))
		require.NoError(t, r.Close(t.Context()), "a second time")
		require.Len(t, bus.Status(), 1)
		require.NoError(t, bus.Close(t.Context()))
		assert.Equal(t, []string{"1"}, d.Read())
		assert.Equal(t, []string{"1", "2"}, other.Read())
	})
}

// TestCloseEndsListenersThatHeedTheirContext loses what waits behind them, and
// says so.
func TestCloseEndsListenersThatHeedTheirContext(t *testing.T) {
	inBubble(t, tracbus.BusConfig{BatchSize: 4}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		r := tracbus.On(bus, tracbus.Primary, func(ctx context.Context, e tracbus.TicketChanged) error {
			if e.ID < 3 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		for n := 1; n <= 9; n++ {
			require.NoError(t, bus.Notify(comment(n)))
		}
		waiting := make(chan error)
		go func() { waiting <- bus.Wait(context.Background()) }()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var left *tracbus.CloseError
		require.ErrorAs(t, bus.Close(ctx), &left)
		require.Len(t, left.Undelivered, 1)
		assert.Equal(t, 7, left.Undelivered[0].Count)
		assert.Equal(t, "3", left.Undelivered[0].Oldest.Resource().ID)
		assert.NoError(t, <-waiting, "nobody waits for what will never be told")
		synctest.Wait()
		assert.Equal(t, []uint64{3, 1, 6}, []uint64{r.Status().Delivered, r.Status().Failed, r.Status().Dropped})
	})
}

// TestARegistrationEndsLate: its listener returned only after Close gave up.
func TestARegistrationEndsLate(t *testing.T) {
	inBubble(t, tracbus.BusConfig{}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		release := make(chan struct{})
		r := tracbus.On(bus, tracbus.Primary, func(context.Context, tracbus.TicketChanged) error { <-release; return nil })
		require.NoError(t, bus.Notify(comment(1), comment(2)))
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorContains(t, r.Close(ended), "2 events to")
		assert.Len(t, bus.Status(), 1)
		close(release)
		require.NoError(t, r.Close(t.Context()))
		assert.Empty(t, bus.Status())
		s := r.Status()
		assert.Equal(t, []int{0, 1, 1}, []int{s.Waiting, int(s.Delivered), int(s.Dropped)})
		require.NoError(t, bus.Close(t.Context()))
	})
}

// TestWaitIsForTheResyncToo, and for nothing on an idle bus, whatever its
// context.
func TestWaitIsForTheResyncToo(t *testing.T) {
	inBubble(t, tracbus.BusConfig{MaxRetries: -1}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		c := &cache{}
		release := make(chan struct{})
		c.fail = func(call string) error {
			if call == "created A" {
				return errors.New("no luck")
			}
			<-release
			return nil
		}
		bus.Wiki(tracbus.Everywhere, c)
		require.NoError(t, bus.Notify(page("A")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, bus.Wait(ctx), context.DeadlineExceeded)
		close(release)
		require.NoError(t, bus.Wait(t.Context()))
		assert.Equal(t, []string{"created A", "resync gave up, missed 1, err no luck"}, c.Read())
		for range 100 {
			require.NoError(t, bus.Wait(ctx), "nothing waits")
		}
		require.NoError(t, bus.Close(t.Context()))
	})
}

func TestClosingAnIdleBusNeedsNoTime(t *testing.T) {
	for range 200 {
		bus := tracbus.NewBus("test")
		keep(new(testkit.Diary), bus, tracbus.Primary)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, bus.Close(ended))
	}
}

func TestWaitHeedsItsContext(t *testing.T) {
	inBubble(t, tracbus.BusConfig{}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		release := make(chan struct{})
		tracbus.On(bus, tracbus.Primary, func(context.Context, tracbus.TicketChanged) error { <-release; return nil })
		require.NoError(t, bus.Wait(t.Context()), "nothing waits")
		require.NoError(t, bus.Notify(comment(1)))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		assert.ErrorIs(t, bus.Wait(ctx), context.DeadlineExceeded)
		close(release)
		assert.NoError(t, bus.Wait(t.Context()))
		require.NoError(t, bus.Close(t.Context()))
	})
}

// TestGoexitInResync is the one call of a listener that has no event.
func TestGoexitInResync(t *testing.T) {
	inBubble(t, tracbus.BusConfig{MaxRetries: -1}, func(t *testing.T, bus *tracbus.Bus, l *logs) {
		c := &cache{}
		exits := 2
		c.fail = func(call string) error {
			switch {
			case call == "created A":
				return errors.New("no luck")
			case call[:6] == "resync":
				if exits--; exits >= 0 {
					runtime.Goexit()
				}
			}
			return nil
		}
		bus.Wiki(tracbus.Everywhere, c)
		require.NoError(t, bus.Notify(page("A"), page("B")))
		require.NoError(t, bus.Close(t.Context()))
		resync := "resync gave up, missed 1, err no luck"
		assert.Equal(t, []string{"created A", resync, resync, resync, "created B"}, c.Read())
		assert.Equal(t, []string{
			"listener failed err=no luck",
			"listener failed on resync, which is repeated err=the listener called runtime.Goexit",
		}, l.lines("err"))
	})
}

func TestProgrammingMistakesPanic(t *testing.T) {
	bus := tracbus.NewBus("test")
	assert.PanicsWithValue(t, `tracbus: NewBus needs the tracker's short name, got ""`, func() { tracbus.NewBus("") })
	assert.PanicsWithValue(t, "tracbus: BusConfig needs QueueSize, BatchSize and Backoff from zero", func() { tracbus.BusConfig{QueueSize: -1}.NewBus("test") })
	assert.PanicsWithValue(t, "tracbus: registering *tracbus_test.cache needs a scope", func() { bus.Wiki(nil, new(cache)) })
	assert.PanicsWithValue(t, "tracbus: NewPublisher needs a Redis client, got nil", func() { tracbus.NewPublisher(nil, tracbus.PublisherConfig{}) })
	ring := redis.NewRing(&redis.RingOptions{})
	defer func() { assert.NoError(t, ring.Close()) }()
	assert.PanicsWithValue(t, "tracbus: NewSubscriber needs a *redis.Client or *redis.ClusterClient, got *redis.Ring", func() { tracbus.NewSubscriber(ring, tracbus.SubscriberConfig{}) })
	assert.PanicsWithValue(t, `tracbus: prefix "x" and NoPrefix contradict each other`, func() { tracbus.SubscriberConfig{Prefix: "x", NoPrefix: true}.Pattern() })
	require.NoError(t, bus.Close(t.Context()))
	assert.PanicsWithValue(t, "tracbus: registering *tracbus_test.cache on a bus that is closed", func() { bus.Wiki(tracbus.Primary, new(cache)) })
}

// keep registers a listener that writes down the tickets it is told of.
func keep(d *testkit.Diary, bus *tracbus.Bus, scope tracbus.Scope) *tracbus.Registration {
	return tracbus.On(bus, scope, func(_ context.Context, e tracbus.TicketChanged) error {
		d.Write("%d", e.ID)
		return nil
	})
}
