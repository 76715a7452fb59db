package journal_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// setCounter sets what hands out tids, as a restore of a part of a database does.
func setCounter(t *testing.T, d *desk.Desk, dialect string, tid int64) {
	t.Helper()
	for _, statement := range map[string][]string{
		"postgresql": {"SELECT setval('journal_tid', %d)"},
		"mysql":      {"DELETE FROM journal_change", "ALTER TABLE journal_change AUTO_INCREMENT = %d"}, // as of an older state
		"sqlite":     {"DELETE FROM journal_change"},                                                   // which has no other
	}[dialect] {
		if slices.Contains([]byte(statement), '%') {
			statement = fmt.Sprintf(statement, tid)
		}
		_, err := d.DB.ExecContext(testkit.Within(t), statement)
		require.NoError(t, err, statement)
	}
}

// TestCounterBehindItsTables has tids that were pruned handed out again: no change gets
// one of them.
func TestCounterBehindItsTables(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		a, b := desk.Seat(t, s, dsn, desk.Config{}), desk.Seat(t, s, dsn, desk.Config{})
		var last int64
		for i := range 6 {
			last = a.Say(t, fmt.Sprint(i), 1)
		}
		require.NoError(t, b.Wait(testkit.Within(t), last))
		_, err := a.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1})
		require.NoError(t, err)
		refused := func(n int64) {
			t.Helper()
			if setCounter(t, a, s.Dialect, n); s.Dialect == "sqlite" { // it is not behind what is pruned
				return
			}
			_, err = a.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				return tx.Record(testkit.Within(t), desk.Remark(1, "refused"))
			})
			require.ErrorIs(t, err, tracbus.ErrNotCommitted)
			require.ErrorContains(t, err, "the counter of tids is behind the journal's tables")
		}
		delivered := func(by *desk.Desk, comment string) {
			t.Helper()
			tid := by.Say(t, comment, 1)
			require.Greater(t, tid, int64(5))
			for _, d := range []*desk.Desk{a, b} {
				require.NoError(t, d.Wait(testkit.Within(t), tid))
				d.Hears(t, comment)
			}
		}
		refused(1)
		delivered(a, "after it was refused")
		refused(4) // the last before one that the tables have
		delivered(a, "after it was refused again")
		if s.Dialect != "sqlite" {
			q, _, rollback := begin(t, a, s.Dialect)
			setCounter(t, b, s.Dialect, 2)
			tx, err := a.Join(q)
			require.NoError(t, err)
			require.NoError(t, tx.Prepare(desk.Joe, ""))
			require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "refused")))
			_, err = tx.Flush(testkit.Within(t))
			require.ErrorContains(t, err, "the counter of tids is behind the journal's tables")
			rollback()
		}

		setCounter(t, a, s.Dialect, 1)
		log := testkit.NewNotes()
		c := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Logger: log.Logger()}})
		if s.Dialect != "sqlite" {
			assert.Equal(t, 1, log.Count("the counter of tids did not fit the journal's tables"))
		}
		delivered(c, "by one that came later")
		if s.Dialect == "mysql" { // a gap would hold back all that comes after it, for ever
			_, err := a.DB.ExecContext(testkit.Within(t), "ALTER TABLE journal_change AUTO_INCREMENT = 5000")
			require.NoError(t, err)
			delivered(b, "after a gap")
		}
		none := testkit.NewNotes()
		desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Logger: none.Logger()}})
		assert.Zero(t, none.Count("the counter of tids"))
		all, _ := b.Heard()
		assert.NotContains(t, desk.Comments(all), "refused")
	})
}

// TestResourceHeld has a transaction wait for a resource for longer than its session may:
// that says nothing about where the counter is.
func TestResourceHeld(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
	d.Say(t, "first", 1)
	holder, err := d.DB.BeginTx(testkit.Within(t), nil)
	require.NoError(t, err)
	defer holder.Rollback()
	var slot int64
	require.NoError(t, holder.QueryRowContext(testkit.Within(t), "SELECT count(*) FROM journal_lock FOR UPDATE").Scan(&slot))

	q, _, rollback := begin(t, d, s.Dialect)
	defer rollback()
	_, err = q.ExecContext(testkit.Within(t), "SET SESSION innodb_lock_wait_timeout = 1")
	require.NoError(t, err)
	tx, err := d.Join(q)
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	err = tx.Record(testkit.Within(t), desk.Remark(1, "second"))
	require.ErrorContains(t, err, "1205")
	assert.NotErrorIs(t, err, tracbus.ErrSchema)
	assert.NotContains(t, err.Error(), "the counter of tids is behind")
}
