// Package consumer_test tests durable consumers on each database.
package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// deliveries is what the listeners of one name were told, in whatever process.
type deliveries struct {
	mu    sync.Mutex
	told  []tracbus.Event
	turns []tracbus.Lease // of each
	fresh chan struct{}
	fail  func(e tracbus.Event) error // nil: never
}

func newDeliveries() *deliveries { return &deliveries{fresh: make(chan struct{}, 1)} }

func (l *deliveries) handle(ctx context.Context, e tracbus.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		if err := l.fail(e); err != nil {
			return err
		}
	}
	turn, ok := tracbus.LeaseFrom(ctx)
	if !ok {
		return errors.New("called outside of a turn")
	}
	l.told, l.turns = append(l.told, e), append(l.turns, turn)
	select {
	case l.fresh <- struct{}{}:
	default:
	}
	return nil
}

// failing sets what the listeners return from now on.
func (l *deliveries) failing(f func(e tracbus.Event) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = f
}

func (l *deliveries) events() ([]tracbus.Event, []tracbus.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]tracbus.Event{}, l.told...), append([]tracbus.Lease{}, l.turns...)
}

// until waits until n events were told, and returns what was said of them.
func (l *deliveries) until(t *testing.T, n int) []string {
	t.Helper()
	deadline := time.After(testkit.Patience)
	for {
		told, _ := l.events()
		if len(told) >= n {
			return desk.Comments(told)
		}
		select {
		case <-l.fresh:
		case <-deadline:
			t.Fatalf("expected %d events, told were %d: %s", n, len(told), desk.Lines(told))
		}
	}
}

// seatConsumer is a process that has a listener of a name.
func seatConsumer(t *testing.T, s *testdatabase.Server, dsn string, l *deliveries, c tracbus.DurableConfig, journal ...tracbus.JournalConfig) *desk.Desk {
	t.Helper()
	d := desk.Config{Before: func(b *tracbus.Bus) { tracbus.On(b, c.Durable("log"), l.handle) }}
	if journal != nil {
		d.Journal = journal[0]
	}
	return desk.Seat(t, s, dsn, d)
}

// TestOnce: of all processes one is told each change, in order; when it ends,
// another goes on where it stopped.
func TestDurable(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		dsn := s.DSN(s.Name())
		log := newDeliveries()
		a := seatConsumer(t, s, dsn, log, tracbus.DurableConfig{})
		b := seatConsumer(t, s, dsn, log, tracbus.DurableConfig{})
		var want []string
		for i := range 10 {
			who, what := a, fmt.Sprint("remark ", i)
			if i%2 == 1 {
				who = b
			}
			who.Say(t, what, int64(i+1))
			want = append(want, what)
		}
		assert.Equal(t, want, log.until(t, 10))

		st := a.Consumer(t, "log")
		holder, other := a, b
		if !st.HeldHere {
			holder, other = b, a
		}
		holder.Leave(t)
		other.Say(t, "after the first has left", 1, 2, 3)
		want = append(want, "after the first has left", "after the first has left", "after the first has left")
		assert.Equal(t, want, log.until(t, 13))
		_, turns := log.events()
		assert.Greater(t, turns[12].Token, turns[0].Token, "a later holder has a higher epoch")
		assert.Equal(t, "log", turns[12].Consumer)

		// Nobody is there: nothing is lost.
		other.Leave(t)
		writer := desk.Seat(t, s, dsn, desk.Config{})
		writer.Say(t, "nobody listens", 1)
		c := seatConsumer(t, s, dsn, log, tracbus.DurableConfig{FromOldest: true}) // it is not new
		want = append(want, "nobody listens")
		assert.Equal(t, want, log.until(t, 14))
		c.Say(t, "one more", 2)
		assert.Equal(t, append(want, "one more"), log.until(t, 15))
		desk.CheckJournal(t, c.DB, s.Dialect, "ticket", "wiki")
	})
}

// TestPruneKeepsForOnce: what a name was not told stays, until it is abandoned.
func TestPruneKeepsForDurable(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		dsn := s.DSN(s.Name())
		log := newDeliveries()
		broken := errors.New("no network")
		log.failing(func(e tracbus.Event) error {
			if e.About().TID > 2 {
				return broken
			}
			return nil
		})
		var missed []tracbus.Resync
		d := desk.Seat(t, s, dsn, desk.Config{Before: func(b *tracbus.Bus) {
			tracbus.On(b, tracbus.DurableConfig{Backoff: time.Millisecond}.Durable("log"), func(ctx context.Context, e tracbus.Event) error {
				if r, ok := e.(tracbus.Resync); ok {
					log.mu.Lock()
					defer log.mu.Unlock()
					missed = append(missed, r)
					return nil
				}
				return log.handle(ctx, e)
			})
		}})
		for i := range 8 {
			d.Say(t, fmt.Sprint("remark ", i+1), 1)
		}
		log.until(t, 2)
		reach(t, "the failure is noted", func() bool { return d.Consumer(t, "log").Err != "" })
		st := d.Consumer(t, "log")
		assert.Contains(t, st.Err, "tid 3, seq 0, ticket 1: no network")
		assert.Equal(t, int64(6), st.Lag)

		n, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1})
		require.NoError(t, err)
		assert.Equal(t, int64(2), n, "transactions that the name is done with")
		n, err = d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1, DropUnconsumedAfter: time.Hour})
		require.NoError(t, err)
		assert.Zero(t, n, "transactions that are too young to be abandoned")
		n, err = d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1, DropUnconsumedAfter: time.Nanosecond})
		require.NoError(t, err)
		assert.Equal(t, int64(5), n, "transactions that are abandoned")

		log.failing(nil)
		assert.Equal(t, []string{"remark 1", "remark 2", "remark 8"}, log.until(t, 3))
		log.mu.Lock()
		defer log.mu.Unlock()
		require.Len(t, missed, 1)
		assert.Equal(t, tracbus.ResyncPruned, missed[0].Reason)
		require.ErrorIs(t, missed[0].Err, tracbus.ErrPruned)
	})
}

// TestPrunedIsToldByTheNext: what was pruned is told by another process too, if the
// first could not.
func TestPrunedIsToldByTheNext(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	log := newDeliveries()
	log.failing(func(tracbus.Event) error { return errors.New("no network") })
	resync := make(chan tracbus.Resync, 10)
	a := seatListener(t, s, dsn, hasty, log.handle, desk.Config{})
	for range 3 {
		a.Say(t, "pruned", 1)
	}
	reach(t, "it fails", func() bool { return a.Consumer(t, "log").Err != "" })
	_, err := a.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1, DropUnconsumedAfter: time.Nanosecond})
	require.NoError(t, err)
	reach(t, "the resync fails", func() bool { return strings.HasPrefix(a.Consumer(t, "log").Err, "resync: ") })
	a.Leave(t)
	b := seatListener(t, s, dsn, hasty, func(_ context.Context, e tracbus.Event) error {
		if r, ok := e.(tracbus.Resync); ok {
			resync <- r
		}
		return nil
	}, desk.Config{})
	reach(t, "all is told", func() bool { return b.Consumer(t, "log").Lag == 0 })
	require.Len(t, resync, 1)
	require.Equal(t, tracbus.ResyncPruned, (<-resync).Reason)
}

// TestRegistrationWait: of a durable listener it waits for whichever process calls it.
func TestRegistrationWait(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	testkit.NoLeaks(t)
	dsn := s.DSN(s.Name())
	log := newDeliveries()
	var waiting [2]*tracbus.Registration
	var desks [2]*desk.Desk
	for i := range desks {
		desks[i] = desk.Seat(t, s, dsn, desk.Config{Before: func(b *tracbus.Bus) {
			waiting[i] = tracbus.On(b, tracbus.Durable("log"), log.handle)
		}})
	}
	for i := range 5 {
		tid := desks[0].Say(t, fmt.Sprint("remark ", i), 1)
		for j, r := range waiting {
			require.NoError(t, desks[j].Wait(testkit.Within(t), tid))
			require.NoError(t, r.Wait(testkit.Within(t)))
			told, _ := log.events()
			assert.Len(t, told, i+1)
		}
	}
}

// reach waits until something is so that nothing tells of.
func reach(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := testkit.Within(t)
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", testkit.Patience, what)
		}
	}
}
