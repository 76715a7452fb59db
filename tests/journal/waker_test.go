package journal_test

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/pgxbus"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// waker is a waker of a process.
func waker(t *testing.T, db *sql.DB, dsn string, pingAfter time.Duration) *pgxbus.Waker {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	return pgxbus.WakerConfig{PingAfter: pingAfter}.NewWakerDB(db, config)
}

// wakers are all that the library has, each with what cuts off those that hear, and what lets them hear
// again.
func wakers(t *testing.T, s *testdatabase.Server, dsn string) []wakeable {
	server := testserver.Redis(t, testserver.RedisOptions{
		Users: []testserver.RedisUser{{Name: "waker", Password: "w", Rules: "resetchannels &tracbus:* -@all +psubscribe +publish +ping"}},
	})
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "waker", Password: "w", DisableIdentity: true})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	db := s.Open(t, dsn)
	return []wakeable{
		{"LISTEN and NOTIFY", func(t *testing.T) tracbus.Waker { return waker(t, db, dsn, 0) }, func(t *testing.T) {
			_, err := db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^(UN)?LISTEN'")
			require.NoError(t, err)
		}, func() {}},
		{"Redis", func(*testing.T) tracbus.Waker { return tracbus.NewRedisWaker(client) }, func(*testing.T) { server.Kill() }, server.Restart},
	}
}

type wakeable struct {
	name   string
	waker  func(t *testing.T) tracbus.Waker
	cut    func(t *testing.T)
	resume func()
}

// TestWakers holds what a journal expects of a waker.
func TestWakers(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "postgresql")
	for _, w := range wakers(t, s, s.DSN(s.Name())) {
		t.Run(w.name, func(t *testing.T) {
			const here, there = "tracbus:one:wake", "tracbus:two:wake"
			a, b := w.waker(t), w.waker(t)
			hear := func(by tracbus.Waker, channel string) *testkit.Steps[string] {
				ear := testkit.Loop(t, func(ctx context.Context) iter.Seq2[string, error] { return by.Hear(ctx, channel) })
				require.Equal(t, testkit.Step[string]{}, ear.Next(), "it begins to hear")
				return ear
			}
			call := func(by tracbus.Waker, channel, text string) {
				t.Helper()
				require.NoError(t, by.Call(testkit.Within(t), channel, text))
			}
			self, other, elsewhere := hear(a, here), hear(b, here), hear(b, there)
			for _, text := range []string{"one", "two", "two", "three"} { // each is waited for: what comes at once may be one
				call(a, here, text)
				assert.Equal(t, testkit.Step[string]{Value: text}, self.Next(), "who calls hears it too")
				assert.Equal(t, testkit.Step[string]{Value: text}, other.Next())
			}
			call(a, there, "last")
			assert.Equal(t, testkit.Step[string]{Value: "last"}, elsewhere.Next(), "and nothing of the other channel before")
			self.Stop()
			call(a, here, "nobody hears here")
			assert.Equal(t, "nobody hears here", other.Next().Value)

			w.cut(t)
			for _, ear := range []*testkit.Steps[string]{other, elsewhere} {
				assert.Error(t, ear.Next().Err)
			}
			w.resume()
			other.Stop()
			elsewhere.Stop()
			again := hear(b, here)
			testkit.Until(t, "calls go out again", func() bool { return a.Call(testkit.Within(t), here, "again") == nil })
			assert.Equal(t, "again", again.Next().Value)
		})
	}
}

// TestUnheardByAll: a waker that knows whether anybody hears says if nobody does.
func TestUnheardByAll(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	w := tracbus.NewRedisWaker(server.Admin())
	assert.ErrorIs(t, w.Call(testkit.Within(t), "tracbus:one:wake", "text"), tracbus.ErrUnheard)
}

// TestWake has a poll that comes too late for any test: processes wake each other, also
// after what they hear by was away.
func TestWake(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "postgresql")
	dsn := s.DSN(s.Name())
	for _, w := range wakers(t, s, dsn) {
		t.Run(w.name, func(t *testing.T) {
			log := testkit.NewNotes()
			seat := func() *desk.Desk {
				return desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{PollInterval: time.Hour, Waker: w.waker(t), Logger: log.Logger()}})
			}
			a, b := seat(), seat()
			hears := func(d *desk.Desk, comment string) {
				t.Helper()
				d.Until(t, comment, func(all, _ []tracbus.Event) bool { return slices.Contains(desk.Comments(all), comment) })
			}
			for i := range 5 {
				a.Say(t, fmt.Sprint("there", i), 1)
				hears(b, fmt.Sprint("there", i))
				b.Say(t, fmt.Sprint("back", i), 1)
				hears(a, fmt.Sprint("back", i))
			}
			w.cut(t)
			a.Say(t, "in between", 1) // it is heard when they listen again, as if it had been called then
			testkit.Until(t, "both notice", func() bool { return log.Count("do not wake each other: they poll") == 2 })
			w.resume()
			hears(b, "in between")
			testkit.Until(t, "both hear again", func() bool { return log.Count("wake each other again") == 2 })
			a.Say(t, "again", 1)
			hears(b, "again")
			b.Say(t, "and back", 1)
			hears(a, "and back")
			assert.Equal(t, 2, log.Count("do not wake each other: they poll"), "a line of each process for the outage")
		})
	}
}

// TestWakeByNotifyDeaf: a connection that listens and dies in silence is noticed, and another one is made.
func TestWakeByNotifyDeaf(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "postgresql")
	name := s.Name()
	dsn, proxy := s.DSN(name), testserver.Proxy(t, s.Postgres.Addr())
	log := testkit.NewNotes()
	seat := func(w *pgxbus.Waker) *desk.Desk {
		return desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{PollInterval: time.Hour, Waker: w, Logger: log.Logger()}})
	}
	a := seat(waker(t, s.Open(t, dsn), s.DSNVia(proxy.Addr(), name), 50*time.Millisecond))
	b := seat(waker(t, s.Open(t, dsn), dsn, 0))
	hears := func(comment string) {
		t.Helper()
		b.Say(t, comment, 1)
		a.Until(t, comment, func(all, _ []tracbus.Event) bool { return slices.Contains(desk.Comments(all), comment) })
	}
	hears("before")
	proxy.Swallow()
	testkit.Until(t, "it is noticed", func() bool { return log.Count("do not wake each other: they poll") == 1 })
	b.Say(t, "meanwhile", 1)
	proxy.Resume()
	a.Until(t, "meanwhile", func(all, _ []tracbus.Event) bool { return slices.Contains(desk.Comments(all), "meanwhile") })
	testkit.Until(t, "it listens again", func() bool { return log.Count("wake each other again") == 1 })
	hears("after")
}
