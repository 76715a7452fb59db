package capture_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// TestTakenInAndRolledBack: what a transaction took in of what others wrote waits again after a
// savepoint was rolled back to, and is told once; and what the transaction writes after that is
// still its own.
func TestTakenInAndRolledBack(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, how := range []string{"lock", "save", "nothing more"} {
			t.Run(how, func(t *testing.T) {
				r := newStill(t, s, 0)
				r.create()
				r.exec("UPDATE ticket SET owner = 'sue' WHERE id = 1")
				ours, err := r.db.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				defer ours.Rollback()
				exec := func(text string) {
					t.Helper()
					_, err := ours.ExecContext(t.Context(), text)
					require.NoError(t, err)
				}
				tx, err := r.journal.Join(ours)
				require.NoError(t, err)
				require.NoError(t, tx.Prepare(tracbus.Actor{Author: "go"}, ""))
				exec("SAVEPOINT a")
				if how == "lock" {
					require.NoError(t, tx.Lock(t.Context(), tracbus.TicketResource(1)))
				} else {
					require.NoError(t, tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"keywords": "never"}}))
				}
				exec("ROLLBACK TO SAVEPOINT a")
				if how != "nothing more" {
					require.NoError(t, tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"keywords": "kept"}}))
				}
				_, err = tx.Flush(t.Context())
				require.NoError(t, err)
				require.NoError(t, ours.Commit())
				tx.Notify()
				events := r.all()[1:] // after what created it
				if how == "nothing more" {
					assert.Equal(t, 1, r.waiting(), "it waits for the importer")
					assert.Empty(t, events)
					return
				}
				assert.Zero(t, r.waiting())
				require.Len(t, events, 2)
				foreign, own := events[0].(tracbus.TicketChanged), events[1].(tracbus.TicketChanged)
				assert.Equal(t, tracbus.Fields{"owner": "sue"}, foreign.New)
				assert.Equal(t, tracbus.Fields{"keywords": "kept"}, own.New)
				assert.Equal(t, "sue", own.Values["owner"])
			})
		}
	})
}
