package journal_test

import (
	"context"
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

// TestDatabaseAway kills the server under its followers, and writes more when it
// is back.
func TestDatabaseAway(t *testing.T) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			dsn := s.DSN(s.Name())
			log := testkit.NewNotes()
			a := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Logger: log.Logger()}})
			b := desk.Seat(t, s, dsn, desk.Config{})
			var want []string
			say := func(d *desk.Desk, comment string) {
				want = append(want, comment)
				require.EventuallyWithT(t, func(c *assert.CollectT) { // until the pool has met its broken connections
					_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
						return tx.Record(testkit.Within(t), desk.Remark(1, comment))
					})
					assert.NoError(c, err)
				}, testkit.Patience, 10*time.Millisecond)
			}
			for round := range 2 {
				say(a, fmt.Sprint("a", round))
				say(b, fmt.Sprint("b", round))
				if dialect == "postgresql" {
					s.Postgres.Kill()
				} else {
					s.MariaDB.Kill()
				}
				require.Eventually(t, func() bool { return log.Count("cannot be followed") == round+1 }, testkit.Patience, time.Millisecond)
				st, err := a.Status(testkit.Within(t))
				assert.Error(t, err, "status of a database that is away: %+v", st)
				if dialect == "postgresql" {
					s.Postgres.Restart()
				} else {
					s.MariaDB.Restart()
				}
				require.Eventually(t, func() bool { return log.Count("is followed again") == round+1 }, testkit.Patience, time.Millisecond)
			}
			say(b, "last")
			for _, d := range []*desk.Desk{a, b} {
				d.Until(t, "last", func(all, _ []tracbus.Event) bool { return slices.Contains(desk.Comments(all), "last") })
				all, _ := d.Heard()
				assert.Equal(t, want, desk.Comments(all))
			}
			assert.Equal(t, 2, log.Count("cannot be followed"), "a line for each change of state")
			st, err := a.Status(testkit.Within(t))
			require.NoError(t, err)
			assert.NoError(t, st.Err)
			assert.True(t, st.Running)
			assert.Equal(t, st.Head, st.Position)
		})
	}
}

// TestManySmallPools follows with as few connections as an application may allow.
func TestManySmallPools(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, connections := range []int{1, 2, 3} {
			dsn := s.DSN(s.Name())
			a, b := desk.Seat(t, s, dsn, desk.Config{Idle: true}), desk.Seat(t, s, dsn, desk.Config{Idle: true})
			for _, d := range []*desk.Desk{a, b} {
				d.DB.SetMaxOpenConns(connections)
				d.Follow()
			}
			var last int64
			for i := range 10 {
				last = []*desk.Desk{a, b}[i%2].Say(t, fmt.Sprint(i), 1)
			}
			for _, d := range []*desk.Desk{a, b} {
				require.NoError(t, d.Wait(testkit.Within(t), last))
				all, _ := d.Heard()
				assert.Len(t, all, 10, "%d connections", connections)
			}
		}
	})
}

// TestUpdateWithinUpdate must not wait for itself for ever.
func TestUpdateWithinUpdate(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
	_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		short, cancel := context.WithTimeout(testkit.Within(t), 50*time.Millisecond)
		defer cancel()
		_, err := d.Update(short, desk.Joe, func(*tracbus.ModelTransaction) error { return nil })
		assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
		assert.ErrorContains(t, err, "another transaction of this process is open")
		return tx.Record(testkit.Within(t), desk.Remark(1, "outer"))
	})
	require.NoError(t, err)
}

// TestListenerUpdates has a listener that makes changes itself.
func TestListenerUpdates(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	var d *desk.Desk
	ready := make(chan struct{})
	d = desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Before: func(b *tracbus.Bus) {
		tracbus.On(b, tracbus.Primary, func(ctx context.Context, e tracbus.TicketChanged) error {
			<-ready
			if e.ID >= 5 {
				return nil
			}
			_, err := d.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
				return tx.Record(ctx, desk.Remark(e.ID+1, fmt.Sprint("after ", e.ID)))
			})
			return err
		})
	}})
	close(ready)
	d.Say(t, "first", 1)
	d.Until(t, "the chain", func(all, _ []tracbus.Event) bool { return len(all) == 5 })
	all, _ := d.Heard()
	assert.Equal(t, []string{"first", "after 1", "after 2", "after 3", "after 4"}, desk.Comments(all))
}

// BenchmarkSeenByAnotherProcess measures how long after a commit another process
// is told, where nothing but the database connects them.
func BenchmarkSeenByAnotherProcess(b *testing.B) {
	dsn := testdatabase.SQLite(b.TempDir() + "/tracker.db")
	s := testdatabase.New(b, "sqlite")
	told := make(chan int64, 1)
	var journals []*tracbus.Journal
	for i := range 2 {
		bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("desk")
		if i == 1 {
			tracbus.On(bus, tracbus.Everywhere, func(_ context.Context, e tracbus.TicketChanged) error { told <- e.TID; return nil })
		}
		j, err := tracbus.OpenJournal(testkit.Within(b), s.Open(b, dsn), bus, tracbus.JournalConfig{Dialect: tracbus.SQLite, Logger: testkit.Quiet})
		require.NoError(b, err)
		var running sync.WaitGroup
		running.Go(func() { _ = j.Run(context.Background()) })
		b.Cleanup(func() {
			require.NoError(b, j.Close(testkit.Within(b)))
			running.Wait()
			require.NoError(b, bus.Close(testkit.Within(b)))
		})
		journals = append(journals, j)
	}
	var delays []time.Duration
	for b.Loop() {
		_, err := journals[0].Update(testkit.Within(b), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			return tx.Record(testkit.Within(b), desk.Remark(1, "x"))
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
	for dialect, who := range map[string]string{"postgresql": `who="pid `, "mysql": `who="connection `} {
		t.Run(dialect, func(t *testing.T) { testHoldersIsLogged(t, dialect, who) })
	}
}

func testHoldersIsLogged(t *testing.T, dialect, who string) {
	s := testdatabase.New(t, dialect)
	dsn := s.DSN(s.Name())
	log := testkit.NewNotes()
	a, b := desk.Seat(t, s, dsn, desk.Config{Idle: true}), desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Logger: log.Logger()}})
	q, commit, _ := begin(t, a, s.Dialect)
	joined(t, a, q, "held")
	last := b.Say(t, "behind", 2)
	log.Until(t, "changes are held back by a transaction that does not end")
	log.Until(t, who)
	all, _ := b.Heard()
	assert.Empty(t, all, "never skipped, however long it takes")
	commit()
	require.NoError(t, b.Wait(testkit.Within(t), last))
	log.Until(t, "changes are not held back any more")
	all, _ = b.Heard()
	assert.Equal(t, []string{"held", "behind"}, desk.Comments(all))
}

// TestGaplessPrefix has a transaction of MariaDB that has taken a tid and not ended, and one
// with a later tid that is committed: whoever comes now begins before both, and reads
// neither.
func TestGaplessPrefix(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	dsn := s.DSN(s.Name())
	a := desk.Seat(t, s, dsn, desk.Config{})
	first := a.Say(t, "first", 1)
	q, commit, _ := begin(t, a, s.Dialect)
	joined(t, a, q, "second")
	third := a.Say(t, "third", 2)
	require.Equal(t, first+2, third)

	late := desk.Seat(t, s, dsn, desk.Config{})
	st, err := late.Status(testkit.Within(t))
	require.NoError(t, err)
	assert.Equal(t, []int64{first, third}, []int64{st.Position, st.Head}, "who comes now begins before the gap, not at the end")
	require.Len(t, st.Blockers, 1)
	assert.Contains(t, st.Blockers[0].Session, "user root, from 127.0.0.1")
	assert.Contains(t, st.Blockers[0].Session, fmt.Sprintf("with tid %d", first+1))
	var read []tracbus.Event
	for e, err := range a.Since(testkit.Within(t), 0) {
		require.NoError(t, err)
		read = append(read, e)
	}
	assert.Equal(t, []string{"first"}, desk.Comments(read))

	commit()
	require.NoError(t, late.Wait(testkit.Within(t), third))
	all, _ := late.Heard()
	assert.Equal(t, []string{"second", "third"}, desk.Comments(all))
}

// TestCloseTellsTheRest ends Run before the last commits, and has a listener with
// little room: Close tells it all the same, of transactions of either kind.
func TestCloseTellsTheRest(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, how := range []string{"Update", "Join"} {
			gate := make(chan struct{})
			var told []string
			d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
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
					d.Say(t, comment, 1)
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
			d.Pause(t) // as a signal does
			for i := 10; i < 20; i++ {
				commit(i)
			}
			time.AfterFunc(50*time.Millisecond, func() { close(gate) }) // while Close waits
			require.NoError(t, d.Journal.Close(testkit.Within(t)))
			require.NoError(t, d.Bus.Close(testkit.Within(t)))
			assert.Equal(t, want, told, how)
		}
	})
}
