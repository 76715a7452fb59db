package journal_test

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
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

// TestWakeByNotify has a poll that comes too late for any test: processes wake each other
// by LISTEN and NOTIFY, also after the connections that listen were cut.
func TestWakeByNotify(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "postgresql")
	dsn := s.DSN(s.Name())
	db := s.Open(t, dsn)
	log := testkit.NewNotes()
	seat := func() *desk.Desk {
		return desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{PollInterval: time.Hour, Waker: waker(t, db, dsn, 0), Logger: log.Logger()}})
	}
	a, b := seat(), seat()
	reaches := func(from, to *desk.Desk, comment string) {
		t.Helper()
		from.Say(t, comment, 1)
		to.Until(t, comment, func(all, _ []tracbus.Event) bool { return slices.Contains(desk.Comments(all), comment) })
	}
	for i := range 5 {
		reaches(a, b, fmt.Sprint("there", i))
		reaches(b, a, fmt.Sprint("back", i))
	}
	var cut int
	require.NoError(t, db.QueryRow("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'").Scan(&cut))
	require.Equal(t, 2, cut)
	a.Say(t, "in between", 1) // it is heard when they listen again, as if it had been called then
	b.Until(t, "in between", func(all, _ []tracbus.Event) bool { return slices.Contains(desk.Comments(all), "in between") })
	testkit.Until(t, "both listen again", func() bool { return log.Count("wake each other again") == 2 })
	reaches(a, b, "again")
	reaches(b, a, "and back")
	assert.Equal(t, 2, log.Count("do not wake each other: they poll"), "a line of each process for the outage")
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
