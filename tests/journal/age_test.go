package journal_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestPruneByAge: a change with a wrong date keeps nothing that is old, and takes
// nothing with it that is young.
func TestPruneByAge(t *testing.T) {
	const old, young, future, past = -40 * 24 * time.Hour, -time.Hour, 10 * 365 * 24 * time.Hour, -30 * 365 * 24 * time.Hour
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, test := range []struct {
			name string
			ages []time.Duration // of transactions, in the order of their commits
			kept int
		}{
			{"as it should be", []time.Duration{old, old, young, young}, 2},
			{"the future among the old", []time.Duration{old, future, old, old, young}, 1},
			{"the future first", []time.Duration{future, old, old, young}, 1},
			{"the future between the old and the young", []time.Duration{old, future, young}, 2},
			{"the future last, and nothing young", []time.Duration{old, old, future, future}, 2},
			{"nothing but the future", []time.Duration{future, future, future}, 3},
			{"the past among the young", []time.Duration{old, young, past, young}, 3},
			{"the past and the future among the young", []time.Duration{old, young, future, past, young}, 4},
			{"the last is always kept", []time.Duration{old, old, old}, 1},
		} {
			t.Run(test.name, func(t *testing.T) {
				d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Idle: true})
				for _, age := range test.ages {
					_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
						e := desk.Remark(1, "")
						e.Time = time.Now().Add(age)
						return tx.Record(testkit.Within(t), e)
					})
					require.NoError(t, err)
				}
				n, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepFor: 30 * 24 * time.Hour})
				require.NoError(t, err)
				assert.EqualValues(t, len(test.ages)-test.kept, n)
				var left int
				require.NoError(t, d.DB.QueryRow("SELECT count(*) FROM ticket_journal").Scan(&left))
				assert.Equal(t, test.kept, left)
			})
		}
	})
}
