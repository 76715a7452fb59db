// Package writeonly_test tests journals of processes that soon end: hooks and commands.
package writeonly_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestHooks: processes that commit and end, in good order, at once, or by SIGKILL in the midst of
// it. What they committed is told once to everybody else, and to the durable consumer, whose
// lease none of them touches.
func TestHooks(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		dsn := s.DSN(s.Name())
		var kept testkit.Diary
		seat := func() *desk.Desk {
			return desk.Seat(t, s, dsn, desk.Config{Before: func(b *tracbus.Bus) {
				tracbus.On(b, tracbus.Durable("log"), func(_ context.Context, e tracbus.Event) error {
					kept.Write("%s", e.About().Comment)
					return nil
				})
			}})
		}
		a := seat()
		a.Holds(t)
		token := a.Consumer(t, "log").Token
		b := seat()

		var mu sync.Mutex
		acknowledged := map[string]bool{}
		var hooks sync.WaitGroup
		for i := range 9 {
			h := hook{Dialect: s.Dialect, Driver: s.Driver, DSN: dsn, Name: fmt.Sprint("hook", i), Commits: 3 * min(i%3, 1), Close: i%3 == 1}
			said, kill, wait := h.start(t)
			hooks.Go(func() {
				for n := 1; said.Scan(); n++ {
					mu.Lock()
					acknowledged[said.Text()] = true
					mu.Unlock()
					if h.Commits == 0 && n == i+2 {
						kill()
					}
				}
				if err := wait(); h.Commits > 0 {
					assert.NoError(t, err, h.Name)
				}
			})
		}
		hooks.Wait()
		last := a.Say(t, "last", 2)
		for _, d := range []*desk.Desk{a, b} {
			require.NoError(t, d.Wait(testkit.Within(t), last))
		}
		require.NoError(t, a.Bus.Wait(testkit.Within(t)))

		want, primary := a.Heard()
		told := desk.Comments(want)
		assert.Equal(t, []string{"last"}, desk.Comments(primary), "what a hook commits is primary to nobody")
		other, none := b.Heard()
		assert.Equal(t, told, desk.Comments(other))
		assert.Empty(t, none)
		assert.Equal(t, told, kept.Read(), "once, in the same order")
		assert.Len(t, slices.Compact(slices.Sorted(slices.Values(told))), len(told), "nothing is told twice")
		require.NotEmpty(t, acknowledged)
		for comment := range acknowledged {
			assert.Contains(t, told, comment, "it was said to be committed")
		}
		status, err := a.Status(testkit.Within(t))
		require.NoError(t, err)
		require.Len(t, status.Consumers, 1)
		assert.Equal(t, token, status.Consumers[0].Token, "nobody took the lease")
		desk.CheckJournal(t, a.DB, s.Dialect, "ticket", "wiki")
	})
}

// TestHookWakes: a process that looks for itself once an hour hears what a hook committed, because
// that wakes others before its Close returns.
func TestHookWakes(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		log := testkit.NewNotes()
		dsn := s.DSN(s.Name())
		d := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{
			PollInterval: time.Hour, Waker: tracbus.NewRedisWaker(testkit.PatientClient(t, server.Addr())), Logger: log.Logger(),
		}})
		d.Say(t, "here", 1)
		d.Hears(t, "here")
		for i := range 3 {
			h := hook{Dialect: s.Dialect, Driver: s.Driver, DSN: dsn, Redis: server.Addr(), Name: fmt.Sprint("hook", i), Commits: 2, Close: true}
			said, _, wait := h.start(t)
			for said.Scan() {
			}
			require.NoError(t, wait())
			d.Hears(t, fmt.Sprintf("hook%d.1", i))
		}
	})
}

// TestWriteOnly: what such a journal refuses, and what works as ever.
func TestWriteOnly(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		dsn := s.DSN(s.Name())
		db := s.Open(t, dsn)
		config := tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect), WriteOnly: true, Logger: testkit.Quiet}
		const never = "the journal is WriteOnly: it delivers nothing in this process"

		busy := tracbus.NewBus("desk")
		listen := func(context.Context, tracbus.Event) error { return nil }
		tracbus.On(busy, tracbus.Primary, listen)
		_, err := tracbus.OpenJournal(testkit.Within(t), db, busy, config)
		assert.ErrorContains(t, err, "open journal: "+never+": expected no listener such as ")
		require.NoError(t, busy.Close(testkit.Within(t)))

		bus := tracbus.NewBus("desk")
		tracbus.On(bus, tracbus.Durable("early"), listen)
		j, err := tracbus.OpenJournal(testkit.Within(t), db, bus, config)
		require.NoError(t, err)
		assert.ErrorContains(t, j.Run(testkit.Within(t)), "run: "+never)
		tracbus.On(bus, tracbus.Durable("late"), listen)
		assert.Panics(t, func() { tracbus.On(bus, tracbus.Everywhere, listen) })

		var tid int64
		for i := range 3 {
			tid, err = j.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				return tx.Record(testkit.Within(t), desk.Remark(1, fmt.Sprint(i)))
			})
			require.NoError(t, err)
		}
		assert.ErrorContains(t, j.Wait(testkit.Within(t), tid), never)
		var all, history []tracbus.Event
		for e, err := range j.Since(testkit.Within(t), 0) {
			require.NoError(t, err)
			all = append(all, e)
		}
		for e, err := range j.History(testkit.Within(t), tracbus.TicketResource(1)) {
			require.NoError(t, err)
			history = append(history, e)
		}
		assert.Equal(t, []string{"0", "1", "2"}, desk.Comments(all))
		assert.Equal(t, all, history)
		assert.True(t, all[0].About().Primary, "this process committed it")
		status, err := j.Status(testkit.Within(t))
		require.NoError(t, err)
		assert.Empty(t, status.Consumers, "no consumer is made: who runs the journal makes it")
		assert.False(t, status.Running)
		assert.True(t, status.WriteOnly)
		assert.Equal(t, tid, status.Committed)
		assert.Equal(t, tid, status.Head)
		_, err = j.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1})
		require.NoError(t, err)

		tx, err := j.Begin(testkit.Within(t))
		require.NoError(t, err)
		tx.Rollback()
		_, err = tx.Outcome(testkit.Within(t))
		assert.ErrorIs(t, err, tracbus.ErrNotCommitted)

		require.NoError(t, j.Close(testkit.Within(t)))
		require.NoError(t, j.Close(testkit.Within(t)))
		_, err = j.Begin(testkit.Within(t))
		assert.ErrorIs(t, err, tracbus.ErrJournalClosed)
		require.NoError(t, bus.Close(testkit.Within(t)))
	})
}

// TestCloseAtOnce: Close does not wait for the transactions of others, which hold back who follows.
func TestCloseAtOnce(t *testing.T) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			testkit.NoLeaks(t)
			s := testdatabase.New(t, dialect)
			dsn := s.DSN(s.Name())
			d := desk.Seat(t, s, dsn, desk.Config{Idle: true})
			held, err := d.DB.Begin()
			require.NoError(t, err)
			joined, err := d.Join(held)
			require.NoError(t, err)
			require.NoError(t, joined.Prepare(desk.Joe, ""))
			require.NoError(t, joined.Record(testkit.Within(t), desk.Remark(1, "held")))
			_, err = joined.Flush(testkit.Within(t)) // it holds back who follows
			require.NoError(t, err)

			bus := tracbus.NewBus("desk")
			j, err := tracbus.OpenJournal(testkit.Within(t), s.Open(t, dsn), bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(dialect), WriteOnly: true, Logger: testkit.Quiet})
			require.NoError(t, err)
			_, err = j.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				return tx.Record(testkit.Within(t), desk.Remark(2, "behind it"))
			})
			require.NoError(t, err)
			assert.NoError(t, j.Close(testkit.Within(t)), "there is nothing to wait for")
			require.NoError(t, bus.Close(testkit.Within(t)))
			require.NoError(t, held.Rollback())
		})
	}
}

// TestOpenAsksLittle: a write-only journal asks less when it is opened, and nothing of consumers.
func TestOpenAsksLittle(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		desk.Seat(t, s, dsn, desk.Config{Idle: true}).Say(t, "first", 1)
		statements := func(writeOnly bool) (n int64) {
			var count atomic.Int64
			db := s.Hooked(t, dsn, func(_ context.Context, query string) error {
				count.Add(1)
				if writeOnly {
					assert.False(t, strings.Contains(query, "journal_consumer") && !strings.Contains(strings.ToLower(query), "table_name"), query)
				}
				return nil
			})
			bus := tracbus.NewBus("desk")
			tracbus.On(bus, tracbus.Durable("log"), func(context.Context, tracbus.Event) error { return nil })
			began := time.Now()
			j, err := tracbus.OpenJournal(testkit.Within(t), db, bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect), WriteOnly: writeOnly, Logger: testkit.Quiet})
			took := time.Since(began)
			require.NoError(t, err)
			n = count.Load()
			t.Logf("WriteOnly %v: %d statements, %v", writeOnly, n, took.Round(10*time.Microsecond))
			require.NoError(t, j.Close(testkit.Within(t)))
			require.NoError(t, bus.Close(testkit.Within(t)))
			return n
		}
		assert.Less(t, statements(true), statements(false))
	})
}
