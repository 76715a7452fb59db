package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// failingOn fails changes of some tickets.
func failingOn(ids ...int64) func(tracbus.Event) error {
	return func(e tracbus.Event) error {
		if c, ok := e.(tracbus.TicketChanged); ok && slices.Contains(ids, c.ID) {
			return fmt.Errorf("ticket %d does not please", c.ID)
		}
		return nil
	}
}

// TestDeadLetters sets changes aside, tells the others in order, and tells
// those again that are asked for.
func TestDeadLetters(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		log, lines := newDeliveries(), testkit.NewNotes()
		config := tracbus.DurableConfig{MaxAttempts: 3, Backoff: time.Millisecond, LeaseFor: 3 * time.Second}
		d := seatListener(t, s, s.DSN(s.Name()), config, log.handle, desk.Config{Journal: tracbus.JournalConfig{Logger: lines.Logger()}})
		log.failing(failingOn(2, 4))
		d.Say(t, "first", 1, 2, 3, 4)
		d.Say(t, "second", 5, 2, 6)
		assert.Equal(t, []string{"first", "first", "second", "second"}, log.until(t, 4))
		told, _ := log.events()
		assert.Equal(t, []string{"1", "3", "5", "6"}, resourceIDs(told))
		testkit.Until(t, "all is done", func() bool { st := d.Consumer(t, "log"); return st.Lag == 0 && st.Err == "" })
		assert.Equal(t, 3, d.Consumer(t, "log").DeadLetters)
		all, short := d.ListDeadLetters(t)
		want := []string{"ticket 2 tries 3 retrying false", "ticket 4 tries 3 retrying false", "ticket 2 tries 3 retrying false"}
		assert.Equal(t, want, short)
		assert.Equal(t, "ticket 4 does not please", all[1].Err)
		assert.Less(t, all[0].TID, all[2].TID)
		assert.Equal(t, 3, lines.Count("has become a dead letter"), &lines.Text)

		// One of them, which fails again.
		n, err := d.Redeliver(testkit.Within(t), "log", all[1])
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		lines.Until(t, "has failed again")
		want[1] = "ticket 4 tries 4 retrying false"
		testkit.Until(t, "it is as before", func() bool { _, short = d.ListDeadLetters(t); return slices.Equal(want, short) })

		// All, of which one fails.
		log.failing(failingOn(4))
		n, err = d.Redeliver(testkit.Within(t), "log")
		require.NoError(t, err)
		assert.Equal(t, 3, n)
		testkit.Until(t, "two are told", func() bool {
			_, short = d.ListDeadLetters(t)
			return slices.Equal(short, []string{"ticket 4 tries 5 retrying false"})
		})
		told, _ = log.events()
		assert.Equal(t, []string{"2", "2"}, resourceIDs(told[4:]))
		log.failing(nil)
		_, err = d.Redeliver(testkit.Within(t), "log")
		require.NoError(t, err)
		testkit.Until(t, "none is left", func() bool { return d.Consumer(t, "log").DeadLetters == 0 })
		d.Say(t, "third", 7)
		assert.Equal(t, "third", log.until(t, 8)[7])

		// One is given up.
		log.failing(failingOn(8))
		d.Say(t, "given up", 8)
		testkit.Until(t, "it is set aside", func() bool { return d.Consumer(t, "log").DeadLetters == 1 })
		all, _ = d.ListDeadLetters(t)
		n, err = d.DropDeadLetters(testkit.Within(t), "log", all...)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		assert.Zero(t, d.Consumer(t, "log").DeadLetters)

		// A name that is retired is new, and begins behind what there is.
		d.Say(t, "lost", 8)
		testkit.Until(t, "it is set aside", func() bool { return d.Consumer(t, "log").DeadLetters == 1 })
		require.NoError(t, d.DropConsumer(testkit.Within(t), "log"))
		testkit.Until(t, "it is new", func() bool {
			st, err := d.Status(testkit.Within(t))
			return err == nil && len(st.Consumers) == 1 && st.Consumers[0].HeldHere && st.Consumers[0].DeadLetters == 0
		})
		d.Say(t, "after", 9)
		assert.Equal(t, "after", log.until(t, 9)[8])
		told, _ = log.events()
		assert.Len(t, told, 9, "nothing is told again")
	})
}

func resourceIDs(events []tracbus.Event) (all []string) {
	for _, e := range events {
		all = append(all, e.Resource().ID)
	}
	return all
}

// batchLog takes many in a call, and fails those that have a ticket of some ids.
type batchLog struct {
	mu   sync.Mutex
	bad  []int64
	told [][]string
}

func (b *batchLog) HandleBatch(ctx context.Context, events []tracbus.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := tracbus.LeaseFrom(ctx); !ok {
		return errors.New("called outside of a turn")
	}
	for _, e := range events {
		if err := failingOn(b.bad...)(e); err != nil {
			return err
		}
	}
	b.told = append(b.told, resourceIDs(events))
	return nil
}

func (b *batchLog) all() (sizes []int, told []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, some := range b.told {
		sizes, told = append(sizes, len(some)), append(told, some...)
	}
	return sizes, told
}

// TestDurableBatches tells many changes in one call, and finds the one on which
// such a call fails.
func TestDurableBatches(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	b := &batchLog{bad: []int64{5}}
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
		Bus: tracbus.BusConfig{BatchSize: 4}, Idle: true,
		Before: func(bus *tracbus.Bus) {
			bus.All(tracbus.DurableConfig{MaxAttempts: 2, Backoff: time.Millisecond, FromOldest: true}.Durable("log"), b)
		},
	})
	d.Say(t, "one", 1, 2, 3)
	d.Say(t, "two", 4, 5, 6)
	for id := range int64(6) {
		d.Say(t, "more", 7+id)
	}
	d.Follow()
	testkit.Until(t, "all are told", func() bool { _, told := b.all(); return len(told) >= 11 })
	sizes, told := b.all()
	assert.Equal(t, []string{"1", "2", "3", "4", "6", "7", "8", "9", "10", "11", "12"}, told)
	assert.Equal(t, 4, sizes[0])
	testkit.Until(t, "it is set aside", func() bool { return d.Consumer(t, "log").Lag == 0 })
	_, short := d.ListDeadLetters(t)
	assert.Equal(t, []string{"ticket 5 tries 2 retrying false"}, short, "alone")
	b.mu.Lock()
	b.bad = nil
	b.mu.Unlock()
	_, err := d.Redeliver(testkit.Within(t), "log")
	require.NoError(t, err)
	testkit.Until(t, "it is told", func() bool { return d.Consumer(t, "log").DeadLetters == 0 })
	_, told = b.all()
	assert.Equal(t, "5", told[11])
}

// TestDurableBatchHangs has a batch for which there is no time because of one of its
// changes: the others are told one by one, and that one is set aside if it may be.
func TestDurableBatchHangs(t *testing.T) {
	for _, most := range []int{0, 2} {
		t.Run(fmt.Sprint("set aside after ", most), func(t *testing.T) {
			testkit.NoLeaks(t)
			s := testdatabase.New(t, "sqlite")
			b := &slowBatch{slow: "3"}
			c := hasty
			c.MaxAttempts, c.FromOldest = most, true
			d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
				Bus: tracbus.BusConfig{BatchSize: 4}, Idle: true,
				Before: func(bus *tracbus.Bus) { bus.All(c.Durable("log"), b) },
			})
			d.Say(t, "one", 1, 2, 3, 4, 5)
			d.Follow()
			testkit.Until(t, "those before it are told", func() bool { return d.Consumer(t, "log").Lag <= 3 })
			if most > 0 {
				testkit.Until(t, "those behind it are told", func() bool { return d.Consumer(t, "log").Lag == 0 })
				_, short := d.ListDeadLetters(t)
				assert.Equal(t, []string{"ticket 3 tries 2 retrying false"}, short)
			}
		})
	}
}

// slowBatch has no end where a batch has some ticket.
type slowBatch struct {
	batchLog
	slow string
}

func (b *slowBatch) HandleBatch(ctx context.Context, events []tracbus.Event) error {
	if slices.ContainsFunc(events, func(e tracbus.Event) bool { return e.Resource().ID == b.slow }) {
		<-ctx.Done()
		return ctx.Err()
	}
	return b.batchLog.HandleBatch(ctx, events)
}

// TestOnceEndsInACall: a call that is cut short, for its process ends, is no failure
// of the change.
func TestDurableEndsInACall(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	config := tracbus.DurableConfig{MaxAttempts: 1, LeaseFor: time.Second}
	inside := make(chan struct{}, 1)
	a := seatListener(t, s, dsn, config, func(ctx context.Context, _ tracbus.Event) error {
		inside <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, desk.Config{})
	a.Say(t, "one", 1)
	<-inside
	a.Leave(t)
	log := newDeliveries()
	b := desk.Seat(t, s, dsn, desk.Config{Idle: true, Before: func(bus *tracbus.Bus) { tracbus.On(bus, config.Durable("log"), log.handle) }})
	assert.Empty(t, b.Consumer(t, "log").Err)
	require.Zero(t, b.Consumer(t, "log").DeadLetters)
	b.Follow()
	assert.Equal(t, []string{"one"}, log.until(t, 1))
}

// TestDurableUnreadable has a row that no listener can be told: it blocks the name,
// and says why, or is set aside.
func TestDurableUnreadable(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, most := range []int{0, 2} {
			t.Run(fmt.Sprintf("set aside after %d", most), func(t *testing.T) {
				testkit.NoLeaks(t)
				log := newDeliveries()
				config := tracbus.DurableConfig{MaxAttempts: most, Backoff: time.Millisecond, FromOldest: true}
				dsn := s.DSN(s.Name())
				writer := desk.Seat(t, s, dsn, desk.Config{Idle: true})
				for i := range 3 {
					writer.Say(t, fmt.Sprint(i), int64(i+1))
				}
				_, err := writer.DB.Exec("UPDATE journal_change SET document = '{' WHERE id = '2'")
				require.NoError(t, err)
				d := seatConsumer(t, s, dsn, log, config)
				if most == 0 {
					testkit.Until(t, "the status says so", func() bool { return d.Consumer(t, "log").Err != "" })
					st := d.Consumer(t, "log")
					assert.Contains(t, st.Err, "tid 2, seq ")
					assert.Contains(t, st.Err, "ticket")
					assert.EqualValues(t, 2, st.Lag)
					assert.Equal(t, []string{"0"}, log.until(t, 1))
					_, err := writer.DB.Exec("UPDATE journal_change SET document = (SELECT t.document FROM (SELECT document FROM journal_change WHERE id = '3') t) WHERE id = '2'")
					require.NoError(t, err)
					log.until(t, 3) // mended
				} else {
					assert.Equal(t, []string{"0", "2"}, log.until(t, 2))
					all, _ := d.ListDeadLetters(t)
					require.Len(t, all, 1)
					assert.Equal(t, "ticket 2", all[0].Resource.String())
				}
			})
		}
	})
}
