package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// hasty gives a name up soon.
var hasty = tracbus.DurableConfig{LeaseFor: 500 * time.Millisecond, CallTimeout: 200 * time.Millisecond, Backoff: time.Millisecond}

// telling is how a listener takes an event in one process.
type telling = func(context.Context, tracbus.Event) error

// after makes a listener that does something else before it notes an event.
func (l *deliveries) after(do telling) telling {
	return func(ctx context.Context, e tracbus.Event) error {
		if err := do(ctx, e); err != nil {
			return err
		}
		return l.handle(ctx, e)
	}
}

// seatListener is a process with a listener of its own under the name log.
func seatListener(t *testing.T, s *testdatabase.Server, dsn string, c tracbus.DurableConfig, f telling, d desk.Config) *desk.Desk {
	t.Helper()
	before := d.Before
	d.Before = func(b *tracbus.Bus) {
		tracbus.On(b, c.Durable("log"), f)
		if before != nil {
			before(b)
		}
	}
	return desk.Seat(t, s, dsn, d)
}

// trap is a listener that is caught by some events until it is opened, whatever
// its context says.
type trap struct {
	on     func(e tracbus.Event) bool
	caught chan struct{} // gets a token by each that is caught
	open   chan struct{}
	inside atomic.Int32
	most   atomic.Int32
}

func newTrap(on func(e tracbus.Event) bool) *trap {
	return &trap{on: on, caught: make(chan struct{}, 100), open: make(chan struct{})}
}

// said makes a condition of what events say.
func said(what string) func(tracbus.Event) bool {
	return func(e tracbus.Event) bool { return e.About().Comment == what }
}

func (w *trap) take(_ context.Context, e tracbus.Event) error {
	w.most.Store(max(w.most.Load(), w.inside.Add(1)))
	defer w.inside.Add(-1)
	if w.on(e) {
		w.caught <- struct{}{}
		<-w.open
	}
	return nil
}

// TestDurableHangs has a call that does not return: the next process goes on, and
// the one after that, while the first neither competes nor counts.
func TestDurableHangs(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	log, lines := newDeliveries(), testkit.NewNotes()
	hung := newTrap(said("two"))
	a := seatListener(t, s, dsn, hasty, log.after(hung.take), desk.Config{Journal: tracbus.JournalConfig{Logger: lines.Logger()}})
	a.Holds(t)
	a.Say(t, "one", 1)
	log.until(t, 1)
	b := seatConsumer(t, s, dsn, log, hasty)
	a.Say(t, "two", 1)
	<-hung.caught
	assert.Equal(t, []string{"one", "two"}, log.until(t, 2))
	b.Leave(t)
	c := seatConsumer(t, s, dsn, log, hasty)
	c.Say(t, "three", 1)
	assert.Equal(t, []string{"one", "two", "three"}, log.until(t, 3), "told by the third process, while the first hangs")
	c.Leave(t)
	_, turns := log.events()
	assert.Less(t, turns[0].Token, turns[1].Token)
	assert.Less(t, turns[1].Token, turns[2].Token)
	lines.Until(t, "this process gives up a consumer's lease")

	// Its end does not wait for the call, and says that it goes on.
	require.NoError(t, a.Journal.Close(testkit.Within(t)))
	ended, cancel := context.WithCancel(testkit.Within(t))
	cancel()
	var closing *tracbus.CloseError
	require.ErrorAs(t, a.Bus.Close(ended), &closing)
	require.Len(t, closing.Undelivered, 1)
	assert.True(t, closing.Undelivered[0].CallRunning)
	close(hung.open)
	require.NoError(t, a.Bus.Close(testkit.Within(t)))
	told := log.until(t, 4)
	assert.Equal(t, "two", told[3], "the late call")
	d := seatConsumer(t, s, dsn, log, hasty)
	assert.EqualValues(t, 1, hung.most.Load())
	d.Say(t, "four", 1)
	assert.Equal(t, "four", log.until(t, 5)[4], "a late success moves nothing")
}

// TestDurableHangsAndIsSetAside gives the name up also where the change on which
// the listener hangs is set aside: nobody else could be called in that process.
func TestDurableHangsAndIsSetAside(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	log := newDeliveries()
	hung := newTrap(said("bad"))
	config := hasty
	config.MaxAttempts = 1
	a := seatListener(t, s, dsn, config, log.after(hung.take), desk.Config{})
	a.Say(t, "bad", 1)
	a.Say(t, "good", 1)
	<-hung.caught
	b := seatConsumer(t, s, dsn, log, config)
	told := log.until(t, 1)
	if told[0] == "bad" { // b was there before it was set aside
		told = log.until(t, 2)[1:]
	} else {
		assert.Equal(t, 1, a.Consumer(t, "log").DeadLetters)
	}
	assert.Equal(t, []string{"good"}, told)
	b.Leave(t)
	require.NoError(t, a.Journal.Close(testkit.Within(t)), "Run ends")
	close(hung.open)
}

// TestDurableFails has listeners fail in every way. Each holds up its own name only.
func TestDurableFails(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error":  func() error { return errors.New("no") },
		"panic":  func() error { panic("no") },
		"Goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			s := testdatabase.New(t, "sqlite")
			log, other, lines := newDeliveries(), newDeliveries(), testkit.NewNotes()
			var well atomic.Bool
			calls := make(chan struct{}, 1000)
			d := seatListener(t, s, s.DSN(s.Name()), hasty, log.after(func(_ context.Context, e tracbus.Event) error {
				if e.About().Comment == "two" && !well.Load() {
					select {
					case calls <- struct{}{}:
					default:
					}
					return fail()
				}
				return nil
			}), desk.Config{
				Journal: tracbus.JournalConfig{Logger: lines.Logger()},
				Before:  func(b *tracbus.Bus) { tracbus.On(b, tracbus.Durable("other"), other.handle) },
			})
			for _, what := range []string{"one", "two", "three"} {
				d.Say(t, what, 1)
			}
			want := []string{"one", "two", "three"}
			for range 3 {
				<-calls
			}
			assert.Equal(t, want, other.until(t, 3), "another name")
			d.Until(t, "the others", func(all, primary []tracbus.Event) bool { return len(all) == 3 && len(primary) == 3 })
			testkit.Until(t, "the status says so", func() bool { return d.Consumer(t, "log").Err != "" })
			st := d.Consumer(t, "log")
			assert.Contains(t, st.Err, "ticket 1")
			assert.EqualValues(t, 2, st.Lag)
			all, err := d.Status(testkit.Within(t))
			require.NoError(t, err)
			assert.Equal(t, "other", all.Consumers[1].Name)
			assert.Empty(t, all.Consumers[1].Err)
			well.Store(true)
			assert.Equal(t, want, log.until(t, 3))
			testkit.Until(t, "the status says so", func() bool { st = d.Consumer(t, "log"); return st.Err == "" && st.Lag == 0 })
			assert.Zero(t, st.FailingFor)
			lines.Until(t, "listener succeeds again")
			assert.Equal(t, 1, lines.Count("listener failed, and is called again"), &lines.Text)
			assert.Equal(t, 1, lines.Count("listener succeeds again"), &lines.Text)
		})
	}
}

// TestDurableShowsItsLastFailure shows an operator the failure of now, not that of
// hours ago.
func TestDurableShowsItsLastFailure(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	log := newDeliveries()
	log.failing(func(tracbus.Event) error { return errors.New("first reason") })
	d := seatConsumer(t, s, s.DSN(s.Name()), log, hasty)
	d.Say(t, "one", 1)
	testkit.Until(t, "the first is shown", func() bool { return d.Consumer(t, "log").Err != "" })
	assert.Contains(t, d.Consumer(t, "log").Err, "first reason")
	log.failing(func(tracbus.Event) error { return errors.New("second reason") })
	testkit.Until(t, "the second is shown", func() bool { return strings.Contains(d.Consumer(t, "log").Err, "second reason") })
	log.failing(nil)
	log.until(t, 1)
}

// TestDurableClosedBetweenCalls closes registrations while calls come one after the
// other: a Close that says no call goes on ends.
func TestDurableClosedBetweenCalls(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
	for i := range 30 {
		hung := newTrap(func(tracbus.Event) bool { return true })
		r := tracbus.On(d.Bus, tracbus.DurableConfig{LeaseFor: 50 * time.Millisecond, FromOldest: true}.Durable(fmt.Sprint("name", i)), hung.take)
		d.Say(t, "something", 1)
		if i%2 == 0 {
			<-hung.caught
		}
		ended, cancel := context.WithCancel(testkit.Within(t))
		cancel()
		_ = r.Close(ended) // returns, whether a call goes on or not
		close(hung.open)
		require.NoError(t, r.Close(testkit.Within(t)))
	}
}
