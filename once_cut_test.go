package tracbus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testdatabase"
	"github.com/tracbus/tracbus/internal/testserver"
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

// TestOnceCutOff takes the database from a process in the middle of a call. Its
// lease has ended for it by the time that another takes it, and what it does
// late moves nothing.
func TestOnceCutOff(t *testing.T) {
	servers(t, func(t *testing.T, s *testdatabase.Server) {
		noLeaks(t)
		name := s.Name()
		dsn := s.DSN(name)
		p := proxy(t, s)
		log := newOnceLog()
		config := tracbus.DurableConfig{LeaseFor: 600 * time.Millisecond, CallTimeout: patience}
		caught, ended, open := make(chan struct{}, 1), make(chan time.Time, 1), make(chan struct{})
		a := onceProcess(t, s, s.DSNVia(p.Addr(), name), config, log.after(func(ctx context.Context, e tracbus.Event) error {
			if e.About().Comment != "two" {
				return nil
			}
			select {
			case caught <- struct{}{}:
				<-ctx.Done()
				ended <- time.Now()
				<-open
			default:
			}
			return nil
		}), deskConfig{})
		a.holds(t)
		a.say(t, "one", 1, 2)
		log.until(t, 2)
		took := make(chan time.Time, 100)
		b := onceProcess(t, s, dsn, config, log.after(func(context.Context, tracbus.Event) error {
			took <- time.Now()
			return nil
		}), deskConfig{})
		b.say(t, "two", 1, 2, 3)
		<-caught
		p.Pause()
		assert.Equal(t, []string{"one", "one", "two", "two", "two"}, log.until(t, 5))
		assert.False(t, (<-took).Before(<-ended), "the lease ends for its holder first")
		b.say(t, "three", 1)
		log.until(t, 6)
		before := b.onceOf(t)
		assert.True(t, before.HeldHere)
		p.Resume()
		close(open)
		told := log.until(t, 7) // late
		assert.Equal(t, []string{"three", "two"}, told[5:])
		_, turns := log.events()
		assert.Greater(t, turns[2].Token, turns[1].Token)
		assert.Equal(t, turns[0].Token, turns[6].Token)
		assert.Less(t, turns[6].Token, turns[5].Token, "who keeps epochs can refuse what is late")
		b.say(t, "four", 1)
		assert.Equal(t, "four", log.until(t, 8)[7])
		require.NoError(t, b.Wait(ticking(t), b.say(t, "five", 1)))
		assert.Len(t, log.until(t, 9), 9)
	})
}

// TestOnceCrash loses a process in the middle of a transaction: the next goes on
// behind the last change that it was done with.
func TestOnceCrash(t *testing.T) {
	servers(t, func(t *testing.T, s *testdatabase.Server) {
		name := s.Name()
		dsn := s.DSN(name)
		p := proxy(t, s)
		log := newOnceLog()
		config := tracbus.DurableConfig{LeaseFor: 600 * time.Millisecond, CallTimeout: patience}
		dead := newTrap(func(e tracbus.Event) bool { return e.About().Seq == 3 })
		a := onceProcess(t, s, s.DSNVia(p.Addr(), name), config, log.after(dead.take), deskConfig{})
		a.holds(t)
		a.say(t, "one", 1, 2, 3, 4, 5, 6, 7)
		<-dead.caught
		st := a.onceOf(t)
		first, _ := log.events()
		assert.Equal(t, []int64{st.TID, int64(st.Seq), st.Lag}, []int64{first[0].About().TID, int64(first[len(first)-1].About().Seq), int64(7 - len(first))})
		p.Pause()
		b := onceSeat(t, s, dsn, log, config)
		log.until(t, 7)
		told, turns := log.events()
		var seqs, want []int
		for i, e := range told {
			seqs, want = append(seqs, e.About().Seq), append(want, told[0].About().Seq+i)
		}
		assert.Equal(t, want, seqs, "%v", turns)
		assert.Greater(t, turns[6].Token, turns[0].Token)
		until(t, "all is done", func() bool { st = b.onceOf(t); return st.Lag == 0 })
		assert.Equal(t, -1, st.Seq)
		p.Resume()
		close(dead.open)
		log.until(t, 8) // late
	})
}

// TestOnceAnswersLost does everything while connections break at all times:
// nothing is lost, and what comes twice comes in order.
func TestOnceAnswersLost(t *testing.T) {
	servers(t, func(t *testing.T, s *testdatabase.Server) {
		noLeaks(t)
		name := s.Name()
		p := proxy(t, s)
		log := newOnceLog()
		onceProcess(t, s, s.DSNVia(p.Addr(), name), hasty, log.handle, deskConfig{})
		onceProcess(t, s, s.DSNVia(p.Addr(), name), hasty, log.handle, deskConfig{})
		writer := seat(t, s, s.DSN(name), deskConfig{Idle: true})
		var want []string
		for i := range 40 {
			what := fmt.Sprint(i)
			writer.say(t, what, 1)
			want = append(want, what)
			p.CutAfter(int64(i * 37))
			if i%8 == 7 {
				log.hears(t, what)
			}
		}
		log.hears(t, want[len(want)-1])
		told, _ := log.events()
		var once []string
		for _, what := range comments(told) {
			if n := len(once); n > 0 && once[n-1] == what {
				continue // told again
			}
			once = append(once, what)
		}
		assert.Equal(t, want, once)
	})
}

// hears waits until something was told.
func (l *onceLog) hears(t *testing.T, what string) {
	t.Helper()
	until(t, "told: "+what, func() bool {
		told, _ := l.events()
		return len(told) > 0 && told[len(told)-1].About().Comment == what
	})
}

// TestOnceDatabaseKilled kills the server in the middle, and says so once.
func TestOnceDatabaseKilled(t *testing.T) {
	servers(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		log, lines := newOnceLog(), newNotes()
		d := onceProcess(t, s, dsn, hasty, log.handle, deskConfig{Journal: tracbus.JournalConfig{Logger: lines.logger()}})
		onceSeat(t, s, dsn, log, hasty)
		d.say(t, "one", 1)
		log.until(t, 1)
		database := interface {
			Kill()
			Restart()
		}(s.Postgres)
		if s.MariaDB != nil {
			database = s.MariaDB
		}
		database.Kill()
		lines.until(t, "cannot be looked up")
		database.Restart()
		lines.until(t, "can be looked up again")
		until(t, "a commit", func() bool {
			_, err := d.Update(ticking(t), joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(ticking(t), remark(1, "two")) })
			return err == nil
		})
		log.hears(t, "two")
		assert.Equal(t, 1, lines.count("cannot be looked up"), &lines.text)
		assert.Equal(t, 1, lines.count("can be looked up again"), &lines.text)
	})
}
