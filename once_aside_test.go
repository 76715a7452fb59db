package tracbus_test

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
	"github.com/tracbus/tracbus/internal/testdatabase"
)

// asides returns what is set aside, as "comment tries retrying", by resource.
func (d *desk) asides(t *testing.T) (all []tracbus.DeadLetter, short []string) {
	t.Helper()
	for a, err := range d.DeadLetters(ticking(t), "log") {
		require.NoError(t, err)
		all = append(all, a)
		short = append(short, fmt.Sprintf("%s tries %d retrying %v", a.Resource, a.Attempts, a.Redelivering))
	}
	return all, short
}

// failingOn fails changes of some tickets.
func failingOn(ids ...int64) func(tracbus.Event) error {
	return func(e tracbus.Event) error {
		if c, ok := e.(tracbus.TicketChanged); ok && slices.Contains(ids, c.ID) {
			return fmt.Errorf("ticket %d does not please", c.ID)
		}
		return nil
	}
}

// TestOnceSetAside sets changes aside, tells the others in order, and tells
// those again that are asked for.
func TestOnceSetAside(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		noLeaks(t)
		log, lines := newOnceLog(), newNotes()
		config := tracbus.DurableConfig{MaxAttempts: 3, Backoff: time.Millisecond, LeaseFor: 3 * time.Second}
		d := onceProcess(t, s, s.DSN(s.Name()), config, log.handle, deskConfig{Journal: tracbus.JournalConfig{Logger: lines.logger()}})
		log.failing(failingOn(2, 4))
		d.say(t, "first", 1, 2, 3, 4)
		d.say(t, "second", 5, 2, 6)
		assert.Equal(t, []string{"first", "first", "second", "second"}, log.until(t, 4))
		told, _ := log.events()
		assert.Equal(t, []string{"1", "3", "5", "6"}, resourceIDs(told))
		until(t, "all is done", func() bool { st := d.onceOf(t); return st.Lag == 0 && st.Err == "" })
		assert.Equal(t, 3, d.onceOf(t).DeadLetters)
		all, short := d.asides(t)
		want := []string{"ticket 2 tries 3 retrying false", "ticket 4 tries 3 retrying false", "ticket 2 tries 3 retrying false"}
		assert.Equal(t, want, short)
		assert.Equal(t, "ticket 4 does not please", all[1].Err)
		assert.Less(t, all[0].TID, all[2].TID)
		assert.Equal(t, 3, lines.count("has become a dead letter"), &lines.text)

		// One of them, which fails again.
		n, err := d.Redeliver(ticking(t), "log", all[1])
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		lines.until(t, "has failed again")
		want[1] = "ticket 4 tries 4 retrying false"
		until(t, "it is as before", func() bool { _, short = d.asides(t); return slices.Equal(want, short) })

		// All, of which one fails.
		log.failing(failingOn(4))
		n, err = d.Redeliver(ticking(t), "log")
		require.NoError(t, err)
		assert.Equal(t, 3, n)
		until(t, "two are told", func() bool {
			_, short = d.asides(t)
			return slices.Equal(short, []string{"ticket 4 tries 5 retrying false"})
		})
		told, _ = log.events()
		assert.Equal(t, []string{"2", "2"}, resourceIDs(told[4:]))
		log.failing(nil)
		_, err = d.Redeliver(ticking(t), "log")
		require.NoError(t, err)
		until(t, "none is left", func() bool { return d.onceOf(t).DeadLetters == 0 })
		d.say(t, "third", 7)
		assert.Equal(t, "third", log.until(t, 8)[7])

		// One is given up.
		log.failing(failingOn(8))
		d.say(t, "given up", 8)
		until(t, "it is set aside", func() bool { return d.onceOf(t).DeadLetters == 1 })
		all, _ = d.asides(t)
		n, err = d.DropDeadLetters(ticking(t), "log", all...)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		assert.Zero(t, d.onceOf(t).DeadLetters)

		// A name that is retired is new, and begins behind what there is.
		d.say(t, "lost", 8)
		until(t, "it is set aside", func() bool { return d.onceOf(t).DeadLetters == 1 })
		require.NoError(t, d.DropConsumer(ticking(t), "log"))
		until(t, "it is new", func() bool {
			st, err := d.Status(ticking(t))
			return err == nil && len(st.Consumers) == 1 && st.Consumers[0].HeldHere && st.Consumers[0].DeadLetters == 0
		})
		d.say(t, "after", 9)
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

// TestOnceBatches tells many changes in one call, and finds the one on which
// such a call fails.
func TestOnceBatches(t *testing.T) {
	noLeaks(t)
	s := testdatabase.New(t, "sqlite")
	b := &batchLog{bad: []int64{5}}
	d := seat(t, s, s.DSN(s.Name()), deskConfig{
		Bus: tracbus.BusConfig{BatchSize: 4}, Idle: true,
		Before: func(bus *tracbus.Bus) {
			bus.All(tracbus.DurableConfig{MaxAttempts: 2, Backoff: time.Millisecond, FromOldest: true}.Durable("log"), b)
		},
	})
	d.say(t, "one", 1, 2, 3)
	d.say(t, "two", 4, 5, 6)
	for id := range int64(6) {
		d.say(t, "more", 7+id)
	}
	d.run()
	until(t, "all are told", func() bool { _, told := b.all(); return len(told) >= 11 })
	sizes, told := b.all()
	assert.Equal(t, []string{"1", "2", "3", "4", "6", "7", "8", "9", "10", "11", "12"}, told)
	assert.Equal(t, 4, sizes[0])
	until(t, "it is set aside", func() bool { return d.onceOf(t).Lag == 0 })
	_, short := d.asides(t)
	assert.Equal(t, []string{"ticket 5 tries 2 retrying false"}, short, "alone")
	b.mu.Lock()
	b.bad = nil
	b.mu.Unlock()
	_, err := d.Redeliver(ticking(t), "log")
	require.NoError(t, err)
	until(t, "it is told", func() bool { return d.onceOf(t).DeadLetters == 0 })
	_, told = b.all()
	assert.Equal(t, "5", told[11])
}

// TestOnceBatchHangs has a batch for which there is no time because of one of its
// changes: the others are told one by one, and that one is set aside if it may be.
func TestOnceBatchHangs(t *testing.T) {
	for _, most := range []int{0, 2} {
		t.Run(fmt.Sprint("set aside after ", most), func(t *testing.T) {
			noLeaks(t)
			s := testdatabase.New(t, "sqlite")
			b := &slowBatch{slow: "3"}
			c := hasty
			c.MaxAttempts, c.FromOldest = most, true
			d := seat(t, s, s.DSN(s.Name()), deskConfig{
				Bus: tracbus.BusConfig{BatchSize: 4}, Idle: true,
				Before: func(bus *tracbus.Bus) { bus.All(c.Durable("log"), b) },
			})
			d.say(t, "one", 1, 2, 3, 4, 5)
			d.run()
			until(t, "those before it are told", func() bool { return d.onceOf(t).Lag <= 3 })
			if most > 0 {
				until(t, "those behind it are told", func() bool { return d.onceOf(t).Lag == 0 })
				_, short := d.asides(t)
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
func TestOnceEndsInACall(t *testing.T) {
	noLeaks(t)
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	config := tracbus.DurableConfig{MaxAttempts: 1, LeaseFor: time.Second}
	inside := make(chan struct{}, 1)
	a := onceProcess(t, s, dsn, config, func(ctx context.Context, _ tracbus.Event) error {
		inside <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, deskConfig{})
	a.say(t, "one", 1)
	<-inside
	a.leave(t)
	log := newOnceLog()
	b := seat(t, s, dsn, deskConfig{Idle: true, Before: func(bus *tracbus.Bus) { tracbus.On(bus, config.Durable("log"), log.handle) }})
	assert.Empty(t, b.onceOf(t).Err)
	require.Zero(t, b.onceOf(t).DeadLetters)
	b.run()
	assert.Equal(t, []string{"one"}, log.until(t, 1))
}

// TestOnceUnreadable has a row that no listener can be told: it blocks the name,
// and says why, or is set aside.
func TestOnceUnreadable(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, most := range []int{0, 2} {
			noLeaks(t)
			log := newOnceLog()
			config := tracbus.DurableConfig{MaxAttempts: most, Backoff: time.Millisecond, FromOldest: true}
			dsn := s.DSN(s.Name())
			writer := seat(t, s, dsn, deskConfig{Idle: true})
			for i := range 3 {
				writer.say(t, fmt.Sprint(i), int64(i+1))
			}
			_, err := writer.DB.Exec("UPDATE ticket_journal SET state = '{' WHERE id = '2'")
			require.NoError(t, err)
			d := onceSeat(t, s, dsn, log, config)
			if most == 0 {
				until(t, "the status says so", func() bool { return d.onceOf(t).Err != "" })
				st := d.onceOf(t)
				assert.Contains(t, st.Err, "tid 2, seq ")
				assert.Contains(t, st.Err, "ticket")
				assert.EqualValues(t, 2, st.Lag)
				assert.Equal(t, []string{"0"}, log.until(t, 1))
				_, err := writer.DB.Exec("UPDATE ticket_journal SET state = (SELECT t.state FROM (SELECT state FROM ticket_journal WHERE id = '3') t) WHERE id = '2'")
				require.NoError(t, err)
				log.until(t, 3) // mended
			} else {
				assert.Equal(t, []string{"0", "2"}, log.until(t, 2))
				all, _ := d.asides(t)
				require.Len(t, all, 1)
				assert.Equal(t, "ticket 2", all[0].Resource.String())
			}
		}
	})
}
