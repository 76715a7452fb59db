package journal_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestManyDamagedRows has a run of damaged rows that reaches over many batches: there
// is one line in the log and one Resync, with their number, for each run.
func TestManyDamagedRows(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		const transactions = 20
		each := 50
		if s.Dialect == "sqlite" {
			each = 1000
		}
		dsn := s.DSN(s.Name())
		log := new(testkit.LogRecorder)
		writer := desk.Seat(t, s, dsn, desk.Config{Idle: true, Journal: tracbus.JournalConfig{Logger: testkit.Quiet}})
		follower := desk.Seat(t, s, dsn, desk.Config{Idle: true, Journal: tracbus.JournalConfig{Logger: slog.New(log), BatchSize: 3}})

		last := writer.Create(t, "good1")
		for n := range transactions {
			_, err := writer.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				for i := range each {
					if err := tx.Record(testkit.Within(t), desk.NewPage(fmt.Sprintf("bad%d-%d", n, i))); err != nil {
						return err
					}
				}
				return nil
			})
			require.NoError(t, err)
		}
		through := last + transactions
		writer.Create(t, "good2", "bad-alone")
		last = writer.Create(t, "good3")
		_, err := writer.DB.Exec("UPDATE journal_change SET document = '[]' WHERE id LIKE 'bad%'")
		require.NoError(t, err)
		follower.Follow()
		require.NoError(t, follower.Wait(testkit.Within(t), last))

		all, primary := follower.Heard()
		var heard []string
		for _, e := range all {
			if r, ok := e.(tracbus.Resync); ok {
				heard = append(heard, fmt.Sprintf("(%s %d up to %d)", r.Reason, r.Missed, r.TID))
				assert.ErrorContains(t, r.Err, "seq 0, wiki \"bad")
			} else {
				heard = append(heard, e.Resource().ID)
			}
		}
		assert.Equal(t, []string{
			"good1", fmt.Sprintf("(unreadable %d up to %d)", transactions*each, through), "good2",
			fmt.Sprintf("(unreadable 1 up to %d)", through+2), "good3",
		}, heard)
		assert.Empty(t, primary)
		lines := log.With("cannot be read: listeners get a Resync")
		if assert.Len(t, lines, 2) {
			assert.Contains(t, lines[0], fmt.Sprintf(" changes=%d ", transactions*each))
		}
	})
}
