package tracbus_test

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
	"github.com/tracbus/tracbus/internal/testdatabase"
)

// hasty gives a name up soon.
var hasty = tracbus.DurableConfig{LeaseFor: 500 * time.Millisecond, CallTimeout: 200 * time.Millisecond, Backoff: time.Millisecond}

// telling is how a listener takes an event in one process.
type telling = func(context.Context, tracbus.Event) error

// after makes a listener that does something else before it notes an event.
func (l *onceLog) after(do telling) telling {
	return func(ctx context.Context, e tracbus.Event) error {
		if err := do(ctx, e); err != nil {
			return err
		}
		return l.handle(ctx, e)
	}
}

// onceProcess is a process with a listener of its own under the name log.
func onceProcess(t *testing.T, s *testdatabase.Server, dsn string, c tracbus.DurableConfig, f telling, d deskConfig) *desk {
	t.Helper()
	before := d.Before
	d.Before = func(b *tracbus.Bus) {
		tracbus.On(b, c.Durable("log"), f)
		if before != nil {
			before(b)
		}
	}
	return seat(t, s, dsn, d)
}

// holds waits until a process holds the name.
func (d *desk) holds(t *testing.T) {
	t.Helper()
	until(t, "it holds the name", func() bool { return d.onceOf(t).HeldHere })
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

// TestOnceHangs has a call that does not return: the next process goes on, and
// the one after that, while the first neither competes nor counts.
func TestOnceHangs(t *testing.T) {
	noLeaks(t)
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	log, lines := newOnceLog(), newNotes()
	hung := newTrap(said("two"))
	a := onceProcess(t, s, dsn, hasty, log.after(hung.take), deskConfig{Journal: tracbus.JournalConfig{Logger: lines.logger()}})
	a.holds(t)
	a.say(t, "one", 1)
	log.until(t, 1)
	b := onceSeat(t, s, dsn, log, hasty)
	a.say(t, "two", 1)
	<-hung.caught
	assert.Equal(t, []string{"one", "two"}, log.until(t, 2))
	b.leave(t)
	c := onceSeat(t, s, dsn, log, hasty)
	c.say(t, "three", 1)
	assert.Equal(t, []string{"one", "two", "three"}, log.until(t, 3), "told by the third process, while the first hangs")
	c.leave(t)
	_, turns := log.events()
	assert.Less(t, turns[0].Token, turns[1].Token)
	assert.Less(t, turns[1].Token, turns[2].Token)
	lines.until(t, "this process gives up a consumer's lease")

	// Its end does not wait for the call, and says that it goes on.
	require.NoError(t, a.Journal.Close(ticking(t)))
	ended, cancel := context.WithCancel(ticking(t))
	cancel()
	var closing *tracbus.CloseError
	require.ErrorAs(t, a.Bus.Close(ended), &closing)
	require.Len(t, closing.Undelivered, 1)
	assert.True(t, closing.Undelivered[0].CallRunning)
	close(hung.open)
	require.NoError(t, a.Bus.Close(ticking(t)))
	told := log.until(t, 4)
	assert.Equal(t, "two", told[3], "the late call")
	d := onceSeat(t, s, dsn, log, hasty)
	assert.EqualValues(t, 1, hung.most.Load())
	d.say(t, "four", 1)
	assert.Equal(t, "four", log.until(t, 5)[4], "a late success moves nothing")
}

// TestOnceHangsAndIsSetAside gives the name up also where the change on which
// the listener hangs is set aside: nobody else could be called in that process.
func TestOnceHangsAndIsSetAside(t *testing.T) {
	noLeaks(t)
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	log := newOnceLog()
	hung := newTrap(said("bad"))
	config := hasty
	config.MaxAttempts = 1
	a := onceProcess(t, s, dsn, config, log.after(hung.take), deskConfig{})
	a.say(t, "bad", 1)
	a.say(t, "good", 1)
	<-hung.caught
	b := onceSeat(t, s, dsn, log, config)
	told := log.until(t, 1)
	if told[0] == "bad" { // b was there before it was set aside
		told = log.until(t, 2)[1:]
	} else {
		assert.Equal(t, 1, a.onceOf(t).DeadLetters)
	}
	assert.Equal(t, []string{"good"}, told)
	b.leave(t)
	require.NoError(t, a.Journal.Close(ticking(t)), "Run ends")
	close(hung.open)
}

// TestOnceFails has listeners fail in every way. Each holds up its own name only.
func TestOnceFails(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error":  func() error { return errors.New("no") },
		"panic":  func() error { panic("no") },
		"Goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			s := testdatabase.New(t, "sqlite")
			log, other, lines := newOnceLog(), newOnceLog(), newNotes()
			var well atomic.Bool
			calls := make(chan struct{}, 1000)
			d := onceProcess(t, s, s.DSN(s.Name()), hasty, log.after(func(_ context.Context, e tracbus.Event) error {
				if e.About().Comment == "two" && !well.Load() {
					select {
					case calls <- struct{}{}:
					default:
					}
					return fail()
				}
				return nil
			}), deskConfig{
				Journal: tracbus.JournalConfig{Logger: lines.logger()},
				Before:  func(b *tracbus.Bus) { tracbus.On(b, tracbus.Durable("other"), other.handle) },
			})
			for _, what := range []string{"one", "two", "three"} {
				d.say(t, what, 1)
			}
			want := []string{"one", "two", "three"}
			for range 3 {
				<-calls
			}
			assert.Equal(t, want, other.until(t, 3), "another name")
			d.until(t, "the others", func(all, primary []tracbus.Event) bool { return len(all) == 3 && len(primary) == 3 })
			until(t, "the status says so", func() bool { return d.onceOf(t).Err != "" })
			st := d.onceOf(t)
			assert.Contains(t, st.Err, "ticket 1")
			assert.EqualValues(t, 2, st.Lag)
			all, err := d.Status(ticking(t))
			require.NoError(t, err)
			assert.Equal(t, "other", all.Consumers[1].Name)
			assert.Empty(t, all.Consumers[1].Err)
			well.Store(true)
			assert.Equal(t, want, log.until(t, 3))
			until(t, "the status says so", func() bool { st = d.onceOf(t); return st.Err == "" && st.Lag == 0 })
			assert.Zero(t, st.FailingFor)
			lines.until(t, "listener succeeds again")
			assert.Equal(t, 1, lines.count("listener failed, and is called again"), &lines.text)
			assert.Equal(t, 1, lines.count("listener succeeds again"), &lines.text)
		})
	}
}

// TestOnceTellsItsLastFailure shows an operator the failure of now, not that of
// hours ago.
func TestOnceTellsItsLastFailure(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	log := newOnceLog()
	log.failing(func(tracbus.Event) error { return errors.New("first reason") })
	d := onceSeat(t, s, s.DSN(s.Name()), log, hasty)
	d.say(t, "one", 1)
	until(t, "the first is shown", func() bool { return d.onceOf(t).Err != "" })
	assert.Contains(t, d.onceOf(t).Err, "first reason")
	log.failing(func(tracbus.Event) error { return errors.New("second reason") })
	until(t, "the second is shown", func() bool { return strings.Contains(d.onceOf(t).Err, "second reason") })
	log.failing(nil)
	log.until(t, 1)
}

// TestOnceClosedBetweenCalls closes registrations while calls come one after the
// other: a Close that says no call goes on ends.
func TestOnceClosedBetweenCalls(t *testing.T) {
	noLeaks(t)
	s := testdatabase.New(t, "sqlite")
	d := seat(t, s, s.DSN(s.Name()), deskConfig{})
	for i := range 30 {
		hung := newTrap(func(tracbus.Event) bool { return true })
		r := tracbus.On(d.Bus, tracbus.DurableConfig{LeaseFor: 50 * time.Millisecond, FromOldest: true}.Durable(fmt.Sprint("name", i)), hung.take)
		d.say(t, "something", 1)
		if i%2 == 0 {
			<-hung.caught
		}
		ended, cancel := context.WithCancel(ticking(t))
		cancel()
		_ = r.Close(ended) // returns, whether a call goes on or not
		close(hung.open)
		require.NoError(t, r.Close(ticking(t)))
	}
}
