package tracbus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testdatabase"
)

// onceLog is what the listeners of one name were told, in whatever process.
type onceLog struct {
	mu    sync.Mutex
	told  []tracbus.Event
	turns []tracbus.Turn // of each
	fresh chan struct{}
	fail  func(e tracbus.Event) error // nil: never
}

func newOnceLog() *onceLog { return &onceLog{fresh: make(chan struct{}, 1)} }

func (l *onceLog) handle(ctx context.Context, e tracbus.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		if err := l.fail(e); err != nil {
			return err
		}
	}
	turn, ok := tracbus.TurnOf(ctx)
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
func (l *onceLog) failing(f func(e tracbus.Event) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = f
}

func (l *onceLog) events() ([]tracbus.Event, []tracbus.Turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]tracbus.Event{}, l.told...), append([]tracbus.Turn{}, l.turns...)
}

// until waits until n events were told, and returns what was said of them.
func (l *onceLog) until(t *testing.T, n int) []string {
	t.Helper()
	deadline := time.After(patience)
	for {
		told, _ := l.events()
		if len(told) >= n {
			return comments(told)
		}
		select {
		case <-l.fresh:
		case <-deadline:
			t.Fatalf("expected %d events, told were %d: %s", n, len(told), lines(told))
		}
	}
}

// onceSeat is a process that has a listener of a name.
func onceSeat(t *testing.T, s *testdatabase.Server, dsn string, l *onceLog, c tracbus.OnceConfig, journal ...tracbus.JournalConfig) *desk {
	t.Helper()
	d := deskConfig{Before: func(b *tracbus.Bus) { tracbus.On(b, c.Once("log"), l.handle) }}
	if journal != nil {
		d.Journal = journal[0]
	}
	return seat(t, s, dsn, d)
}

// onceOf returns how the name stands.
func (d *desk) onceOf(t *testing.T) tracbus.OnceStatus {
	t.Helper()
	st, err := d.Status(ticking(t))
	require.NoError(t, err)
	for _, o := range st.Once {
		if o.Name == "log" {
			return o
		}
	}
	t.Fatal("the status does not have the name")
	return tracbus.OnceStatus{}
}

// TestOnce: of all processes one is told each change, in order; when it ends,
// another goes on where it stopped.
func TestOnce(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		noLeaks(t)
		dsn := s.DSN(s.Name())
		log := newOnceLog()
		a := onceSeat(t, s, dsn, log, tracbus.OnceConfig{})
		b := onceSeat(t, s, dsn, log, tracbus.OnceConfig{})
		var want []string
		for i := range 10 {
			who, what := a, fmt.Sprint("remark ", i)
			if i%2 == 1 {
				who = b
			}
			who.say(t, what, int64(i+1))
			want = append(want, what)
		}
		assert.Equal(t, want, log.until(t, 10))

		st := a.onceOf(t)
		holder, other := a, b
		if !st.Mine {
			holder, other = b, a
		}
		holder.leave(t)
		other.say(t, "after the first has left", 1, 2, 3)
		want = append(want, "after the first has left", "after the first has left", "after the first has left")
		assert.Equal(t, want, log.until(t, 13))
		_, turns := log.events()
		assert.Greater(t, turns[12].Epoch, turns[0].Epoch, "a later holder has a higher epoch")
		assert.Equal(t, "log", turns[12].Name)

		// Nobody is there: nothing is lost.
		other.leave(t)
		writer := seat(t, s, dsn, deskConfig{})
		writer.say(t, "nobody listens", 1)
		c := onceSeat(t, s, dsn, log, tracbus.OnceConfig{FromBeginning: true}) // it is not new
		want = append(want, "nobody listens")
		assert.Equal(t, want, log.until(t, 14))
		c.say(t, "one more", 2)
		assert.Equal(t, append(want, "one more"), log.until(t, 15))
		checkJournal(t, c.DB, s.Dialect, "ticket", "wiki")
	})
}
