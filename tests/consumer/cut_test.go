package consumer_test

import (
	"context"
	"fmt"
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

// servers runs a test on the databases that are reached by a network.
func servers(t *testing.T, f func(t *testing.T, s *testdatabase.Server)) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) { f(t, testdatabase.New(t, dialect)) })
	}
}

// proxy stands before the server's database.
func proxy(t *testing.T, s *testdatabase.Server) *testserver.TCPProxy {
	if s.Postgres != nil {
		return testserver.Proxy(t, s.Postgres.Addr())
	}
	return testserver.Proxy(t, s.MariaDB.Addr())
}

// TestDurableCutOff takes the database from a process in the middle of a call. Its
// lease has ended for it by the time that another takes it, and what it does
// late moves nothing.
func TestDurableCutOff(t *testing.T) {
	servers(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		name := s.Name()
		dsn := s.DSN(name)
		p := proxy(t, s)
		log := newDeliveries()
		config := tracbus.DurableConfig{LeaseFor: 600 * time.Millisecond, CallTimeout: testkit.Patience}
		caught, ended, open := make(chan int64, 1), make(chan time.Time, 1), make(chan struct{})
		a := seatListener(t, s, s.DSNVia(p.Addr(), name), config, log.after(func(ctx context.Context, e tracbus.Event) error {
			if e.About().Comment != "two" {
				return nil
			}
			lease, _ := tracbus.LeaseFrom(ctx)
			select {
			case caught <- lease.Token:
				<-ctx.Done()
				ended <- time.Now()
				<-open
			default:
			}
			return nil
		}), desk.Config{})
		a.Holds(t)
		a.Say(t, "one", 1, 2)
		log.until(t, 2)
		took := make(chan time.Time, 100)
		b := seatListener(t, s, dsn, config, log.after(func(context.Context, tracbus.Event) error {
			took <- time.Now()
			return nil
		}), desk.Config{})
		b.Say(t, "two", 1, 2, 3)
		late := <-caught // a slow machine may have had the lease end and come again before
		p.Pause()
		assert.Equal(t, []string{"one", "one", "two", "two", "two"}, log.until(t, 5))
		assert.False(t, (<-took).Before(<-ended), "the lease ends for its holder first")
		b.Say(t, "three", 1)
		log.until(t, 6)
		before := b.Consumer(t, "log")
		assert.True(t, before.HeldHere)
		p.Resume()
		close(open)
		told := log.until(t, 7) // late
		assert.Equal(t, []string{"three", "two"}, told[5:])
		_, turns := log.events()
		assert.Greater(t, turns[2].Token, late)
		assert.Equal(t, late, turns[6].Token)
		assert.Less(t, turns[6].Token, turns[5].Token, "who keeps epochs can refuse what is late")
		b.Say(t, "four", 1)
		assert.Equal(t, "four", log.until(t, 8)[7])
		require.NoError(t, b.Wait(testkit.Within(t), b.Say(t, "five", 1)))
		assert.Len(t, log.until(t, 9), 9)
	})
}

// TestDurableCrash loses a process in the middle of a transaction: the next goes on
// behind the last change that it was done with.
func TestDurableCrash(t *testing.T) {
	servers(t, func(t *testing.T, s *testdatabase.Server) {
		name := s.Name()
		dsn := s.DSN(name)
		p := proxy(t, s)
		log := newDeliveries()
		config := tracbus.DurableConfig{LeaseFor: 600 * time.Millisecond, CallTimeout: testkit.Patience}
		dead := newTrap(func(e tracbus.Event) bool { return e.About().Seq == 3 })
		a := seatListener(t, s, s.DSNVia(p.Addr(), name), config, log.after(dead.take), desk.Config{})
		a.Holds(t)
		a.Say(t, "one", 1, 2, 3, 4, 5, 6, 7)
		<-dead.caught
		st := a.Consumer(t, "log")
		first, _ := log.events()
		assert.Equal(t, []int64{st.TID, int64(st.Seq), st.Lag}, []int64{first[0].About().TID, int64(first[len(first)-1].About().Seq), int64(7 - len(first))})
		p.Pause()
		b := seatConsumer(t, s, dsn, log, config)
		log.until(t, 7)
		told, turns := log.events()
		var seqs, want []int
		for i, e := range told {
			seqs, want = append(seqs, e.About().Seq), append(want, told[0].About().Seq+i)
		}
		assert.Equal(t, want, seqs, "%v", turns)
		assert.Greater(t, turns[6].Token, turns[0].Token)
		testkit.Until(t, "all is done", func() bool { st = b.Consumer(t, "log"); return st.Lag == 0 })
		assert.Equal(t, -1, st.Seq)
		p.Resume()
		close(dead.open)
		log.until(t, 8) // late
	})
}

// TestDurableAnswersLost does everything while connections break at all times:
// nothing is lost, and what comes twice comes in order.
func TestDurableAnswersLost(t *testing.T) {
	servers(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		name := s.Name()
		p := proxy(t, s)
		log := newDeliveries()
		seatListener(t, s, s.DSNVia(p.Addr(), name), hasty, log.handle, desk.Config{})
		seatListener(t, s, s.DSNVia(p.Addr(), name), hasty, log.handle, desk.Config{})
		writer := desk.Seat(t, s, s.DSN(name), desk.Config{Idle: true})
		var want []string
		for i := range 40 {
			what := fmt.Sprint(i)
			writer.Say(t, what, 1)
			want = append(want, what)
			p.CutAfter(int64(i * 37))
			if i%8 == 7 {
				log.hears(t, what)
			}
		}
		log.hears(t, want[len(want)-1])
		told, _ := log.events()
		var once []string
		for _, what := range desk.Comments(told) {
			if n := len(once); n > 0 && once[n-1] == what {
				continue // told again
			}
			once = append(once, what)
		}
		assert.Equal(t, want, once)
	})
}

// hears waits until something was told.
func (l *deliveries) hears(t *testing.T, what string) {
	t.Helper()
	testkit.Until(t, "told: "+what, func() bool {
		told, _ := l.events()
		return len(told) > 0 && told[len(told)-1].About().Comment == what
	})
}

// TestDurableDatabaseKilled kills the server in the middle, and says so once.
func TestDurableDatabaseKilled(t *testing.T) {
	servers(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		log, lines := newDeliveries(), testkit.NewNotes()
		d := seatListener(t, s, dsn, hasty, log.handle, desk.Config{Journal: tracbus.JournalConfig{Logger: lines.Logger()}})
		seatConsumer(t, s, dsn, log, hasty)
		d.Say(t, "one", 1)
		log.until(t, 1)
		database := interface {
			Kill()
			Restart()
		}(s.Postgres)
		if s.MariaDB != nil {
			database = s.MariaDB
		}
		database.Kill()
		lines.Until(t, "cannot be looked up")
		database.Restart()
		lines.Until(t, "can be looked up again")
		testkit.Until(t, "a commit", func() bool {
			_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), desk.Remark(1, "two")) })
			return err == nil
		})
		log.hears(t, "two")
		assert.Equal(t, 1, lines.Count("cannot be looked up"), &lines.Text)
		assert.Equal(t, 1, lines.Count("can be looked up again"), &lines.Text)
	})
}
