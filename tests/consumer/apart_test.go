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

// ledger is what each of many consumers was called with.
type ledger struct {
	mu  sync.Mutex
	all map[string][]string
}

func (l *ledger) add(name, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[name] = append(l.all[name], what)
}

func (l *ledger) of(name string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.all[name]...)
}

// cursors checks, as somebody who watches the table, that no cursor is ever above what its
// listener has been called with.
func (l *ledger) cursors(t *testing.T, k *desk.Desk, tids *sync.Map) {
	t.Helper()
	var name string
	var tid int64
	testkit.Scan(t, k.DB, "SELECT name, tid FROM journal_consumer", func() {
		what, known := tids.Load(tid)
		if known && name != "n2" && name != "n3" { // which have dead letters instead, or want nothing
			assert.Contains(t, l.of(name), what, "the cursor of %s is at tid %d", name, tid)
		}
	}, &name, &tid)
}

// TestFiftyNamesApart: of fifty consumers one hangs, one fails on a change for good and one
// wants nothing. The others are called with each change once, in order, and each cursor
// moves no further than its own listener has come, although all move in one statement.
func TestFiftyNamesApart(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		const names, changes = 50, 30
		dsn := s.DSN(s.Name())
		l := &ledger{all: map[string][]string{}}
		hang, caught := make(chan struct{}), make(chan struct{}, 1)
		bad := errors.New("it is bad")
		config := tracbus.DurableConfig{LeaseFor: time.Minute, CallTimeout: time.Hour, Backoff: time.Millisecond, MaxAttempts: 3}
		d := desk.Seat(t, s, dsn, desk.Config{Before: func(b *tracbus.Bus) {
			for i := range names {
				name := fmt.Sprint("n", i)
				if name == "n3" { // of which there is no change
					tracbus.On(b, config.Durable(name), func(context.Context, tracbus.WikiPageCreated) error { l.add(name, "?"); return nil })
					continue
				}
				tracbus.On(b, config.Durable(name), func(ctx context.Context, e tracbus.Event) error {
					what := e.About().Comment
					if name == "n1" && what == "c7" {
						select {
						case caught <- struct{}{}:
						default:
						}
						<-hang
					}
					if name == "n2" && strings.HasSuffix(what, "3") {
						return bad
					}
					l.add(name, what)
					return nil
				})
			}
		}})
		var tids sync.Map
		var want []string
		var last int64
		for i := range changes {
			what := fmt.Sprint("c", i)
			want = append(want, what)
			last = d.Say(t, what, 1)
			tids.Store(last, what)
			l.cursors(t, d, &tids)
		}
		<-caught
		var most int
		testkit.Until(t, "all are done but one", func() bool {
			l.cursors(t, d, &tids)
			require.NoError(t, d.DB.QueryRow(fmt.Sprint("SELECT count(*) FROM journal_consumer WHERE tid = ", last)).Scan(&most))
			return most == names-1
		})
		for i := range names {
			switch name := fmt.Sprint("n", i); name {
			case "n1":
				assert.Equal(t, want[:7], l.of(name), "it hangs")
			case "n2":
				assert.Equal(t, append(append(append(append([]string(nil), want[:3]...), want[4:13]...), want[14:23]...), want[24:]...), l.of(name))
			case "n3":
				assert.Empty(t, l.of(name))
			default:
				assert.Equal(t, want, l.of(name), name)
			}
		}
		var dead []string
		for letter, err := range d.DeadLetters(testkit.Within(t), "n2") {
			require.NoError(t, err)
			what, _ := tids.Load(letter.TID)
			dead = append(dead, fmt.Sprint(what, " ", letter.Attempts, " ", letter.Err))
		}
		assert.Equal(t, []string{"c3 3 it is bad", "c13 3 it is bad", "c23 3 it is bad"}, dead)
		close(hang)
		testkit.Until(t, "it goes on", func() bool { return len(l.of("n1")) == changes })
		assert.Equal(t, want, l.of("n1"))
	})
}
