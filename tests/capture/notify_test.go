package capture_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pgxbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// TestNotified: what others write is taken in when PostgreSQL says so, and not at the next poll.
func TestNotified(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	name := s.Name()
	db := s.Open(t, s.DSN(name))
	for _, statement := range tracdatabase.Schema("postgresql") {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	bus := tracbus.NewBus("test")
	told := make(chan tracbus.TicketCreated, 100)
	tracbus.On(bus, tracbus.Everywhere, func(_ context.Context, e tracbus.TicketCreated) error {
		told <- e
		return nil
	})
	config, err := pgx.ParseConfig(s.DSN(name))
	require.NoError(t, err)
	j, err := tracbus.OpenJournal(t.Context(), db, bus, tracbus.JournalConfig{
		Dialect: tracbus.PostgreSQL, PollInterval: time.Hour, Realms: allRealms(), Capture: trac.Capture{Install: true, Notify: true},
		Waker: pgxbus.WakerConfig{}.NewWakerDB(db, config),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, errors.Join(<-done, j.Close(context.Background()), bus.Close(context.Background())))
	})
	// Until the importer listens, a poll an hour away is all there is.
	for n := 0; n == 0; {
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %:inbox\"'").Scan(&n))
	}
	for range 5 {
		_, err := db.ExecContext(t.Context(), "INSERT INTO ticket (time, changetime, summary) VALUES (1, 1, 's')")
		require.NoError(t, err)
		assert.Equal(t, "s", (<-told).Values["summary"])
	}
	status, err := j.Status(t.Context())
	require.NoError(t, err)
	assert.Empty(t, status.Capture.Wrong)
	require.NoError(t, trac.UninstallCapture(t.Context(), db, tracbus.PostgreSQL, ""))
}
