package tracbus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testdatabase"
	"github.com/tracbus/tracbus/internal/testserver"
)

// TestDatabaseAway kills the server under its followers, and writes more when it
// is back.
func TestDatabaseAway(t *testing.T) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			dsn := s.DSN(s.Name())
			log := newNotes()
			a := seat(t, s, dsn, deskConfig{Journal: tracbus.JournalConfig{Logger: log.logger()}})
			b := seat(t, s, dsn, deskConfig{})
			var want []string
			say := func(d *desk, comment string) {
				want = append(want, comment)
				require.EventuallyWithT(t, func(c *assert.CollectT) { // until the pool has met its broken connections
					_, err := d.Update(within(t), joe, func(tx *tracbus.ModelTransaction) error {
						return tx.Record(within(t), remark(1, comment))
					})
					assert.NoError(c, err)
				}, patience, 10*time.Millisecond)
			}
			for round := range 2 {
				say(a, fmt.Sprint("a", round))
				say(b, fmt.Sprint("b", round))
				if dialect == "postgresql" {
					s.Postgres.Kill()
				} else {
					s.MariaDB.Kill()
				}
				require.Eventually(t, func() bool { return log.count("cannot be followed") == round+1 }, patience, time.Millisecond)
				st, err := a.Status(within(t))
				assert.Error(t, err, "status of a database that is away: %+v", st)
				if dialect == "postgresql" {
					s.Postgres.Restart()
				} else {
					s.MariaDB.Restart()
				}
				require.Eventually(t, func() bool { return log.count("is followed again") == round+1 }, patience, time.Millisecond)
			}
			say(b, "last")
			for _, d := range []*desk{a, b} {
				d.until(t, "last", func(all, _ []tracbus.Event) bool { return slices.Contains(comments(all), "last") })
				all, _ := d.heard()
				assert.Equal(t, want, comments(all))
			}
			assert.Equal(t, 2, log.count("cannot be followed"), "a line for each change of state")
			st, err := a.Status(within(t))
			require.NoError(t, err)
			assert.NoError(t, st.Err)
			assert.True(t, st.Running)
			assert.Equal(t, st.Head, st.Position)
		})
	}
}

// TestWakeThroughRedis has a poll that comes too late for any test.
func TestWakeThroughRedis(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	dsn := s.DSN(s.Name())
	server := testserver.Redis(t, testserver.RedisOptions{
		Users: []testserver.RedisUser{{Name: "waker", Password: "w", Rules: "resetchannels &tracbus:* -@all +psubscribe +publish +ping"}},
	})
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "waker", Password: "w", DisableIdentity: true})
	defer client.Close()
	log := newNotes()
	config := deskConfig{Journal: tracbus.JournalConfig{PollInterval: time.Hour, WakeRedis: client, Logger: log.logger()}}
	a, b := seat(t, s, dsn, config), seat(t, s, dsn, config)
	reaches := func(from, to *desk, comment string) {
		t.Helper()
		from.say(t, comment, 1)
		to.until(t, comment, func(all, _ []tracbus.Event) bool { return slices.Contains(comments(all), comment) })
	}
	for i := range 5 {
		reaches(a, b, fmt.Sprint("there", i))
		reaches(b, a, fmt.Sprint("back", i))
	}
	server.Kill()
	a.say(t, "unheard", 1)
	log.until(t, "cannot be woken")
	server.Restart()
	b.until(t, "unheard", func(all, _ []tracbus.Event) bool { return slices.Contains(comments(all), "unheard") })
	reaches(a, b, "again")
	log.until(t, "woken through Redis again")
}

// TestManySmallPools follows with as few connections as an application may allow.
func TestManySmallPools(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, connections := range []int{1, 2, 3} {
			dsn := s.DSN(s.Name())
			a, b := seat(t, s, dsn, deskConfig{Idle: true}), seat(t, s, dsn, deskConfig{Idle: true})
			for _, d := range []*desk{a, b} {
				d.DB.SetMaxOpenConns(connections)
				d.follow()
			}
			var last int64
			for i := range 10 {
				last = []*desk{a, b}[i%2].say(t, fmt.Sprint(i), 1)
			}
			for _, d := range []*desk{a, b} {
				require.NoError(t, d.Wait(within(t), last))
				all, _ := d.heard()
				assert.Len(t, all, 10, "%d connections", connections)
			}
		}
	})
}

// TestUpdateWithinUpdate must not wait for itself for ever.
func TestUpdateWithinUpdate(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	d := seat(t, s, s.DSN(s.Name()), deskConfig{})
	_, err := d.Update(within(t), joe, func(tx *tracbus.ModelTransaction) error {
		short, cancel := context.WithTimeout(within(t), 50*time.Millisecond)
		defer cancel()
		_, err := d.Update(short, joe, func(*tracbus.ModelTransaction) error { return nil })
		assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
		assert.ErrorContains(t, err, "another transaction of this process is open")
		return tx.Record(within(t), remark(1, "outer"))
	})
	require.NoError(t, err)
}

// TestListenerUpdates has a listener that makes changes itself.
func TestListenerUpdates(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	var d *desk
	ready := make(chan struct{})
	d = seat(t, s, s.DSN(s.Name()), deskConfig{Before: func(b *tracbus.Bus) {
		tracbus.On(b, tracbus.Primary, func(ctx context.Context, e tracbus.TicketChanged) error {
			<-ready
			if e.ID >= 5 {
				return nil
			}
			_, err := d.Update(ctx, joe, func(tx *tracbus.ModelTransaction) error {
				return tx.Record(ctx, remark(e.ID+1, fmt.Sprint("after ", e.ID)))
			})
			return err
		})
	}})
	close(ready)
	d.say(t, "first", 1)
	d.until(t, "the chain", func(all, _ []tracbus.Event) bool { return len(all) == 5 })
	all, _ := d.heard()
	assert.Equal(t, []string{"first", "after 1", "after 2", "after 3", "after 4"}, comments(all))
}

// BenchmarkSeenByAnotherProcess measures how long after a commit another process
// is told, where nothing but the database connects them.
func BenchmarkSeenByAnotherProcess(b *testing.B) {
	dsn := testdatabase.SQLite(b.TempDir() + "/tracker.db")
	s := testdatabase.New(b, "sqlite")
	told := make(chan int64, 1)
	var journals []*tracbus.Journal
	for i := range 2 {
		bus := tracbus.BusConfig{Logger: quiet}.NewBus("desk")
		if i == 1 {
			tracbus.On(bus, tracbus.Everywhere, func(_ context.Context, e tracbus.TicketChanged) error { told <- e.TID; return nil })
		}
		j, err := tracbus.OpenJournal(within(b), s.Open(b, dsn), bus, tracbus.JournalConfig{Dialect: tracbus.SQLite, Logger: quiet})
		require.NoError(b, err)
		var running sync.WaitGroup
		running.Go(func() { _ = j.Run(context.Background()) })
		b.Cleanup(func() {
			require.NoError(b, j.Close(within(b)))
			running.Wait()
			require.NoError(b, bus.Close(within(b)))
		})
		journals = append(journals, j)
	}
	var delays []time.Duration
	for b.Loop() {
		_, err := journals[0].Update(within(b), joe, func(tx *tracbus.ModelTransaction) error {
			return tx.Record(within(b), remark(1, "x"))
		})
		require.NoError(b, err)
		start := time.Now()
		<-told
		delays = append(delays, time.Since(start))
	}
	slices.Sort(delays)
	b.ReportMetric(float64(delays[len(delays)/2].Microseconds())/1000, "ms-median")
	b.ReportMetric(float64(delays[len(delays)*99/100].Microseconds())/1000, "ms-p99")
}

// TestHoldersIsLogged holds a transaction open until the log tells of it.
func TestHoldersIsLogged(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	dsn := s.DSN(s.Name())
	log := newNotes()
	a, b := seat(t, s, dsn, deskConfig{Idle: true}), seat(t, s, dsn, deskConfig{Journal: tracbus.JournalConfig{Logger: log.logger()}})
	q, commit, _ := begin(t, a, s.Dialect)
	joined(t, a, q, "held")
	last := b.say(t, "behind", 2)
	log.until(t, "changes are held back by a transaction that does not end")
	log.until(t, `who="pid `)
	all, _ := b.heard()
	assert.Empty(t, all, "never skipped, however long it takes")
	commit()
	require.NoError(t, b.Wait(within(t), last))
	log.until(t, "changes are not held back any more")
	all, _ = b.heard()
	assert.Equal(t, []string{"held", "behind"}, comments(all))
}

// TestGaplessPrefix shows a reader of MariaDB a later commit without the earlier
// one, as a snapshot of InnoDB can, now and then: it waits for the earlier one.
func TestGaplessPrefix(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	dsn := s.DSN(s.Name())
	a := seat(t, s, dsn, deskConfig{})
	first := a.say(t, "first", 1)
	second := a.say(t, "second", 1)
	third := a.say(t, "third", 1)
	require.Equal(t, first+2, third)
	require.NoError(t, a.Wait(within(t), third))

	hide := func(from, to int64) {
		t.Helper()
		_, err := a.DB.ExecContext(within(t), "UPDATE journal_transaction SET tid = ? WHERE tid = ?", to, from)
		require.NoError(t, err)
	}
	hide(second, second+1000) // out of sight
	hidden := seat(t, s, dsn, deskConfig{})
	st, err := hidden.Status(within(t))
	require.NoError(t, err)
	assert.Equal(t, first, st.Position, "who comes now begins before the gap, not at the end")
	var read []tracbus.Event
	for e, err := range a.Since(within(t), 0) {
		require.NoError(t, err)
		read = append(read, e)
	}
	assert.Equal(t, []string{"first"}, comments(read))

	hide(second+1000, second)
	require.NoError(t, hidden.Wait(within(t), third))
	all, _ := hidden.heard()
	assert.Equal(t, []string{"second", "third"}, comments(all))
}

// TestCloseTellsTheRest ends Run before the last commits, and has a listener with
// little room: Close tells it all the same, of transactions of either kind.
func TestCloseTellsTheRest(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, how := range []string{"Update", "Join"} {
			gate := make(chan struct{})
			var told []string
			d := seat(t, s, s.DSN(s.Name()), deskConfig{
				Bus: tracbus.BusConfig{QueueSize: 3, BatchSize: 1},
				Before: func(b *tracbus.Bus) {
					tracbus.On(b, tracbus.Primary, func(_ context.Context, e tracbus.TicketChanged) error {
						<-gate
						told = append(told, e.Comment)
						return nil
					})
				},
			})
			var want []string
			commit := func(i int) {
				comment := fmt.Sprint(i)
				want = append(want, comment)
				if how == "Update" {
					d.say(t, comment, 1)
					return
				}
				q, commit, _ := begin(t, d, s.Dialect)
				tx := joined(t, d, q, comment)
				commit()
				tx.Notify()
			}
			for i := range 10 {
				commit(i)
			}
			d.pause(t) // as a signal does
			for i := 10; i < 20; i++ {
				commit(i)
			}
			time.AfterFunc(50*time.Millisecond, func() { close(gate) }) // while Close waits
			require.NoError(t, d.Journal.Close(within(t)))
			require.NoError(t, d.Bus.Close(within(t)))
			assert.Equal(t, want, told, how)
		}
	})
}
