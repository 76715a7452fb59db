package consumer_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestManyUnreadable has damaged rows, one after the other, before a durable listener:
// each becomes a dead letter, to be redelivered when it is mended, the first after
// MaxAttempts and the others at once, and the log has one line for all.
func TestManyUnreadable(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		const damaged = 100
		dsn := s.DSN(s.Name())
		writer := desk.Seat(t, s, dsn, desk.Config{Idle: true})
		writer.Create(t, "good1")
		for range damaged / 20 {
			var tickets []int64
			for id := range int64(20) {
				tickets = append(tickets, id+1)
			}
			writer.Say(t, "bad", tickets...)
		}
		writer.Create(t, "good2")
		writer.Say(t, "bad", 1)
		writer.Create(t, "good3")
		_, err := writer.DB.Exec("UPDATE journal_change SET document = '{' WHERE realm = 'ticket'")
		require.NoError(t, err)

		log, lines := newDeliveries(), new(testkit.LogRecorder)
		config := tracbus.DurableConfig{MaxAttempts: 3, Backoff: time.Millisecond, FromOldest: true}
		d := desk.Seat(t, s, dsn, desk.Config{
			Journal: tracbus.JournalConfig{Logger: slog.New(lines)},
			Before:  func(bus *tracbus.Bus) { tracbus.On(bus, config.Durable("log"), log.handle) },
		})
		log.until(t, 3)
		all, _ := d.ListDeadLetters(t)
		require.Len(t, all, damaged+1)
		for i, a := range all {
			want := 1
			if i == 0 || i == damaged {
				want = 3
			}
			assert.Equal(t, want, a.Attempts, "attempts of %d", i)
		}
		assert.Len(t, lines.With("a change has become a dead letter"), 2, "a line for each run")
	})
}
