package journal_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestTIDTaken: if the tid that the server gives has a row, as when a reader has closed it
// just before, the commit takes the next one.
func TestTIDTaken(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	for name, parameters := range map[string]string{"one round trip": "", "statement by statement": "&multiStatements=false&interpolateParams=false"} {
		t.Run(name, func(t *testing.T) {
			d := desk.Seat(t, s, s.DSN(s.Name())+parameters, desk.Config{})
			taken := d.Say(t, "first", 1)
			for i := range 3 {
				tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
					if _, err := tx.SQL().ExecContext(testkit.Within(t), fmt.Sprint("SET insert_id = ", taken)); err != nil {
						return err
					}
					return tx.Record(testkit.Within(t), desk.Remark(1, fmt.Sprint("after ", i)))
				})
				require.NoError(t, err)
				assert.Greater(t, tid, taken)
				taken = tid
			}
			require.NoError(t, d.Wait(testkit.Within(t), taken))
			all, _ := d.Heard()
			assert.Equal(t, []string{"first", "after 0", "after 1", "after 2"}, desk.Comments(all))
		})
	}
}
