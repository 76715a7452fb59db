package journal_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestFollowTombstones: rows that are of no change, before, among and after changes, are
// followed without a word; durable consumers get past them too, and so does who is pruned up
// to one.
func TestFollowTombstones(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		if s.Dialect == "postgresql" {
			return // it has none: tids have gaps
		}
		handled := make(chan string, 100)
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Before: func(b *tracbus.Bus) {
			tracbus.On(b, tracbus.Durable("mail"), func(_ context.Context, e tracbus.Event) error {
				handled <- e.About().Comment
				return nil
			})
		}})
		close := func() { // as if a transaction had been rolled back
			var tid int64
			require.NoError(t, d.DB.QueryRow("SELECT coalesce(max(tid), 0) + 1 FROM journal_change").Scan(&tid))
			tx, err := d.DB.Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			var heads int
			if s.Dialect == "mysql" && tx.QueryRow("SELECT count(*) FROM information_schema.tables WHERE table_schema = database() AND table_name = 'journal_head'").Scan(&heads) == nil && heads > 0 {
				_, err = tx.Exec("UPDATE journal_head SET tid = ?", tid)
				require.NoError(t, err)
			}
			change := map[string]string{"mysql": "`change`", "sqlite": "change"}[s.Dialect]
			_, err = tx.Exec(fmt.Sprintf(`INSERT INTO journal_change (tid, seq, changes, commit_id, origin, realm, id, %s, time, author, ipnr, authenticated, comment, parts, document)
				VALUES (%d, 0, 0, 'closed%d', '', '', '', '', 0, '', '', 0, '', 0, '')`, change, tid, tid))
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
		}
		var want []string
		var last int64
		for i := range 6 {
			for range i % 3 {
				close()
			}
			last = d.Say(t, fmt.Sprint(i), 1)
			want = append(want, fmt.Sprint(i))
		}
		close()
		require.NoError(t, d.Wait(testkit.Within(t), last))
		for _, comment := range want {
			assert.Equal(t, comment, <-handled)
		}
		all, primary := d.Heard()
		assert.Equal(t, want, desk.Comments(all))
		assert.Equal(t, want, desk.Comments(primary))
		next := d.Say(t, "after it", 1)
		assert.Equal(t, last+2, next)
		assert.Equal(t, "after it", <-handled)
		require.NoError(t, d.Wait(testkit.Within(t), next))

		n, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1, DropUnconsumedAfter: 1})
		require.NoError(t, err)
		assert.EqualValues(t, 6, n)
		var since []string
		for e, err := range d.Since(testkit.Within(t), last+1) {
			require.NoError(t, err)
			since = append(since, e.About().Comment)
		}
		assert.Equal(t, []string{"after it"}, since)
	})
}
