package journal_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestJoinedSerializable has two serializable transactions of the application report
// changes of two tickets at the same time: the journal's rows are no reason to refuse one.
func TestJoinedSerializable(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
	d.Say(t, "the first", 1)
	var joined [2]*sql.Tx
	for i := range joined {
		own, err := d.DB.BeginTx(testkit.Within(t), &sql.TxOptions{Isolation: sql.LevelSerializable})
		require.NoError(t, err)
		t.Cleanup(func() { _ = own.Rollback() })
		joined[i] = own
	}
	for i, own := range joined {
		tx, err := d.Join(own)
		require.NoError(t, err)
		require.NoError(t, tx.Prepare(desk.Joe, ""))
		require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(int64(2+i), "at the same time")))
		_, err = tx.Flush(testkit.Within(t))
		require.NoError(t, err)
	}
	for i, own := range joined {
		require.NoError(t, own.Commit(), "transaction %d", i)
	}
	n := 0
	for c, err := range d.Since(testkit.Within(t), 0) {
		require.NoError(t, err)
		require.IsType(t, tracbus.TicketChanged{}, c)
		n++
	}
	require.Equal(t, 3, n)
}
