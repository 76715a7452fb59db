package journal_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestOutcomeOfWhatIsPruned asks what became of a transaction whose rows may have been
// pruned: that it is not there does not say that it was not committed.
func TestOutcomeOfWhatIsPruned(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
		unknown := func(tx *tracbus.ModelTransaction) {
			t.Helper()
			_, err := tx.Outcome(testkit.Within(t))
			require.ErrorIs(t, err, tracbus.ErrCommitUnknown)
			require.ErrorIs(t, err, tracbus.ErrPruned)
			require.NotErrorIs(t, err, tracbus.ErrNotCommitted)
		}
		prune := func() {
			t.Helper()
			d.Say(t, "after it", 2)
			require.NoError(t, d.Wait(testkit.Within(t), d.Say(t, "the last", 2)))
			_, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1})
			require.NoError(t, err)
		}

		q, commit, _ := begin(t, d, s.Dialect)
		landed := joined(t, d, q, "landed")
		commit()
		prune()
		unknown(landed)

		q, _, rollback := begin(t, d, s.Dialect)
		lost := joined(t, d, q, "rolled back")
		rollback()
		_, err := lost.Outcome(testkit.Within(t))
		require.ErrorIs(t, err, tracbus.ErrNotCommitted, "its tid is above what is pruned")
	})
}

// TestOutcomeUnheardAndPruned loses the answer to a round trip with COMMIT in it: so the
// tid is not known either.
func TestOutcomeUnheardAndPruned(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	d := sitFarAway(t, s, testdatabase.MySQLParameters)
	ctx := testkit.Within(t)
	tx, err := d.Begin(ctx)
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	require.NoError(t, tx.Record(ctx, desk.Remark(1, "unheard")))
	d.proxy.DropReplies()
	d.proxy.Refuse()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = tx.Commit(short)
	require.ErrorIs(t, err, tracbus.ErrCommitUnknown)
	require.Equal(t, 1, stored(t, d.direct, "unheard"))

	other := desk.Seat(t, s, "", desk.Config{DB: d.direct})
	require.NoError(t, other.Wait(ctx, other.Say(t, "the last", 1)))
	_, err = other.Prune(ctx, tracbus.Retention{KeepLast: 1})
	require.NoError(t, err)
	require.Zero(t, stored(t, d.direct, "unheard"))
	d.proxy.Resume()
	d.proxy.Accept()
	_, err = tx.Outcome(ctx)
	require.ErrorIs(t, err, tracbus.ErrCommitUnknown)
	require.ErrorIs(t, err, tracbus.ErrPruned)

	d.Follow() // what begins after that is pruned cannot be among it
	later := other.Say(t, "later", 1)
	require.NoError(t, d.Wait(ctx, later))
	tx, err = d.Begin(ctx)
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	require.NoError(t, tx.Record(ctx, desk.Remark(1, "never")))
	d.proxy.CutAfter(0)
	_, err = tx.Commit(ctx)
	require.ErrorIs(t, err, tracbus.ErrNotCommitted)
}

// TestOutcomeAfterACrash has a server that has forgotten, in a crash, that a tid was
// taken: nobody needs to write before it is known that nothing was committed under it.
func TestOutcomeAfterACrash(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
	first := d.Say(t, "first", 1)
	q, _, rollback := begin(t, d, s.Dialect)
	tx := joined(t, d, q, "lost")
	_, err := d.DB.ExecContext(testkit.Within(t), "SELECT setval('journal_tid', $1)", first) // as the server has it then
	require.NoError(t, err)
	short, cancel := context.WithTimeout(testkit.Within(t), 200*time.Millisecond)
	defer cancel()
	_, err = tx.Outcome(short)
	require.ErrorIs(t, err, tracbus.ErrCommitUnknown, "it is open")
	rollback()
	_, err = tx.Outcome(testkit.Within(t))
	require.ErrorIs(t, err, tracbus.ErrNotCommitted)
	last := d.Say(t, "last", 1)
	require.NoError(t, d.Wait(testkit.Within(t), last))
	all, _ := d.Heard()
	assert.Equal(t, []string{"first", "last"}, desk.Comments(all))
}
