package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestDurableBegins says where a new name begins.
func TestDurableBegins(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		dsn := s.DSN(s.Name())
		writer := desk.Seat(t, s, dsn, desk.Config{})
		writer.Say(t, "old", 1)
		logs := map[string]*deliveries{}
		listen := func(b *tracbus.Bus, name string, c tracbus.DurableConfig) {
			logs[name] = newDeliveries()
			tracbus.On(b, c.Durable(name), logs[name].handle)
		}
		d := desk.Seat(t, s, dsn, desk.Config{Idle: true, Before: func(b *tracbus.Bus) {
			listen(b, "before", tracbus.DurableConfig{})
			listen(b, "before-all", tracbus.DurableConfig{FromOldest: true})
		}})
		listen(d.Bus, "after", tracbus.DurableConfig{})
		listen(d.Bus, "after-all", tracbus.DurableConfig{FromOldest: true})
		writer.Say(t, "between", 1)
		d.Follow()
		d.Hears(t, "between")
		listen(d.Bus, "late", tracbus.DurableConfig{})
		listen(d.Bus, "late-all", tracbus.DurableConfig{FromOldest: true})
		writer.Say(t, "new", 1)
		for name, want := range map[string][]string{
			"before": {"between", "new"}, "before-all": {"old", "between", "new"},
			"after": {"between", "new"}, "after-all": {"old", "between", "new"},
			"late": {"new"}, "late-all": {"old", "between", "new"},
		} {
			assert.Equal(t, want, logs[name].until(t, len(want)), name)
		}

		// Run again.
		d.Pause(t)
		writer.Say(t, "unheard", 1)
		d.Follow()
		writer.Say(t, "heard", 1)
		for name, log := range logs {
			log.hears(t, "heard")
			told, _ := log.events()
			assert.Equal(t, []string{"new", "unheard", "heard"}, desk.Comments(told[len(told)-3:]), name)
		}
	})
}

// loaded is a listener whose state is built from tables.
type loaded struct{}

func (loaded) HandleBatch(context.Context, []tracbus.Event) error { return nil }
func (loaded) Load(context.Context, *tracbus.Snapshot) error      { return nil }

// TestDurableMisused is told what it did.
func TestDurableMisused(t *testing.T) {
	testkit.NoLeaks(t)
	bus := tracbus.NewBus("test")
	ignore := func(context.Context, tracbus.Event) error { return nil }
	r := tracbus.On(bus, tracbus.Durable("one"), ignore)
	assert.Panics(t, func() { tracbus.On(bus, tracbus.Durable("one"), ignore) }, "a second one")
	tracbus.On(bus, tracbus.Durable("two"), ignore)
	assert.ErrorIs(t, bus.Notify(desk.Remark(1, "x")), tracbus.ErrNoJournal)
	require.NoError(t, r.Close(testkit.Within(t)))
	tracbus.On(bus, tracbus.Durable("one"), ignore)
	for _, name := range []string{"", ".x", "a b", "ä", "a/b", string(make([]byte, 65))} {
		assert.Panics(t, func() { tracbus.Durable(name) }, "%q", name)
	}
	assert.Panics(t, func() { tracbus.DurableConfig{LeaseFor: -1}.Durable("x") })
	assert.Panics(t, func() { tracbus.DurableConfig{LeaseFor: 2}.Durable("x") }, "nanoseconds")
	assert.Panics(t, func() { bus.All(tracbus.Durable("cache"), loaded{}) }, "state is of each process")
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	streaming := tracbus.NewPublisher(rdb, tracbus.PublisherConfig{StreamKey: "changes"})
	assert.ErrorContains(t, streaming.HandleBatch(testkit.Within(t), nil), `PublisherConfig.StreamKey is "changes"`)
	require.NoError(t, bus.Close(testkit.Within(t)))
	_, in := tracbus.LeaseFrom(testkit.Within(t))
	assert.False(t, in)
}

// TestDurableHandsOver has another process go on at once where one ends in order,
// although it would look for itself only after an hour. A call that goes on is
// let end.
func TestDurableHandsOver(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "postgresql")
	dsn := s.DSN(s.Name())
	server := testserver.Redis(t, testserver.RedisOptions{})
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	journal := tracbus.JournalConfig{PollInterval: time.Hour, Waker: tracbus.NewRedisWaker(client)}
	config := tracbus.DurableConfig{LeaseFor: 2 * time.Hour, CallTimeout: time.Hour}
	log := newDeliveries()
	slow := newTrap(said("two"))
	var r *tracbus.Registration
	a := desk.Seat(t, s, dsn, desk.Config{Journal: journal, Before: func(b *tracbus.Bus) {
		r = tracbus.On(b, config.Durable("log"), log.after(slow.take))
	}})
	a.Holds(t)
	quick := tracbus.DurableConfig{LeaseFor: time.Second, CallTimeout: time.Hour} // looks once a second at most, when woken
	b := seatListener(t, s, dsn, quick, log.handle, desk.Config{Journal: journal})
	a.Say(t, "one", 1)
	log.until(t, 1)
	a.Say(t, "two", 1)
	<-slow.caught
	closed := make(chan error, 1)
	go func() { closed <- r.Close(testkit.Within(t)) }()
	close(slow.open)
	require.NoError(t, <-closed)
	b.Holds(t)
	a.Say(t, "three", 1)
	assert.Equal(t, "three", log.until(t, 3)[2])

	// The name is free again in the first process, which takes it when the
	// second ends.
	tracbus.On(a.Bus, quick.Durable("log"), log.handle)
	b.Leave(t)
	a.Holds(t)
	a.Say(t, "four", 1)
	assert.Equal(t, []string{"one", "two", "three", "four"}, log.until(t, 4))
}

// TestDurableEndsGently lets a call end that goes on when Run ends, and moves the
// place behind it.
func TestDurableEndsGently(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	log := newDeliveries()
	slow := newTrap(said("one"))
	d := seatListener(t, s, s.DSN(s.Name()), tracbus.DurableConfig{}, log.after(slow.take), desk.Config{})
	tid := d.Say(t, "one", 1)
	<-slow.caught
	ended := d.Stop()
	close(slow.open)
	require.NoError(t, ended())
	st := d.Consumer(t, "log")
	assert.Equal(t, tid, st.TID)
	assert.Empty(t, st.Holder)
	assert.Empty(t, st.Err)
}

// TestDurableSmallPools runs everything with as few connections as an application
// may allow, and listeners that make changes themselves.
func TestDurableSmallPools(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, connections := range []int{1, 2} {
			t.Run(fmt.Sprint(connections), func(t *testing.T) {
				testkit.NoLeaks(t)
				dsn := s.DSN(s.Name())
				log := newDeliveries()
				process := func() *desk.Desk {
					var d *desk.Desk
					ready := make(chan struct{})
					db := s.Open(t, dsn)
					db.SetMaxOpenConns(connections)
					d = seatListener(t, s, dsn, tracbus.DurableConfig{}, log.after(func(ctx context.Context, e tracbus.Event) error {
						<-ready
						c, ok := e.(tracbus.TicketChanged)
						if !ok {
							return errors.New("no ticket")
						}
						if c.ID >= 10 {
							return nil
						}
						_, err := d.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
							return tx.Record(ctx, desk.Remark(c.ID+10, "after "+c.Comment))
						})
						return err
					}), desk.Config{DB: db})
					close(ready)
					return d
				}
				a, b := process(), process()
				for i := range 5 {
					a.Say(t, fmt.Sprint(i), int64(i+1))
					b.Say(t, fmt.Sprint(i), int64(i+1))
				}
				told := log.until(t, 20)
				assert.GreaterOrEqual(t, len(told), 20) // more after a handover
				testkit.Until(t, "all is done", func() bool { return a.Consumer(t, "log").Lag == 0 })
			})
		}
	})
}

// TestDurableClockPutBack has a row that says its lease ends far in the future,
// of a holder that is gone.
func TestDurableClockPutBack(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		log := newDeliveries()
		a := seatConsumer(t, s, dsn, log, hasty)
		a.Say(t, "one", 1)
		log.until(t, 1)
		a.Leave(t)
		sayElsewhere(t, s, dsn, "two")
		epoch := a.Consumer(t, "log").Token
		_, err := a.DB.Exec("UPDATE journal_consumer SET holder = 'somebody else', leased_at = expires + 3600000000, expires = expires + 7200000000, token = token + 1, heartbeat = heartbeat + 1")
		require.NoError(t, err)
		b := seatConsumer(t, s, dsn, log, hasty)
		assert.Equal(t, []string{"one", "two"}, log.until(t, 2))
		st := b.Consumer(t, "log")
		assert.True(t, st.HeldHere)
		assert.Greater(t, st.Token, epoch)
		assert.LessOrEqual(t, st.LeaseRemaining, hasty.LeaseFor)
	})
}

// sayElsewhere says something from a process that comes and goes.
func sayElsewhere(t *testing.T, s *testdatabase.Server, dsn, what string) {
	t.Helper()
	w := desk.Seat(t, s, dsn, desk.Config{Idle: true})
	w.Say(t, what, 1)
	w.Leave(t)
}
