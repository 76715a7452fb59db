package trac_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/trac"
)

// A Trac on the same database locks no page. These are the places where it can
// come in between; SQLite has none, for there only one writes at a time.
func TestATracThatWritesAtTheSameTime(t *testing.T) {
	const add = "INSERT INTO wiki (name, version, time, author, text, comment, readonly) VALUES ('P', 2, 6, 'trac', 'theirs', '', 0)"
	const lock = "UPDATE wiki SET readonly = 0 WHERE name = 'P'"
	theirs := []string{"P 1 5 ann one - 0", "P 2 6 trac theirs - 0"}

	cases := []struct {
		what  string
		trac  []string
		ours  any
		rows  []string // if ours came after Trac's, as it may where the database makes it wait
		after string   // what is told then
	}{
		{
			"both add a version", []string{add}, trac.PageEdit{Name: "P", Text: new("ours")},
			append(theirs[:2:2], "P 3 now joe ours - 0"), "changed P 3 now joe ours - 0 | was theirs",
		},
		{
			"both add a version; ours to one that it waits for", []string{lock, add}, trac.PageEdit{Name: "P", Text: new("ours")},
			append(theirs[:2:2], "P 3 now joe ours - 0"), "changed P 3 now joe ours - 0 | was theirs",
		},
		{
			"both add a version; ours saw the one before", []string{add}, trac.PageEdit{Name: "P", Text: new("ours"), Base: 1},
			nil, "",
		},
		{
			"Trac adds a version to what is deleted", []string{lock, add}, deleted{trac.PageEdit{Name: "P"}},
			nil, "deleted P 2 6 trac theirs - 0",
		},
		{
			"Trac adds a version to what is renamed", []string{lock, add}, trac.PageRename{Name: "P", NewName: "Q"},
			[]string{"Q 1 5 ann one - 0", "Q 2 6 trac theirs - 0"}, "renamed Q 2 6 trac theirs - 0 | was P",
		},
		{
			"Trac adds a version to what gets readonly", []string{lock, add}, trac.PageEdit{Name: "P", Readonly: new(true)},
			[]string{"P 1 5 ann one - 1", "P 2 6 trac theirs - 1"}, "changed P 2 now joe theirs - 1 | was theirs",
		},
	}
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		if r.dialect == tracbus.SQLite {
			return
		}
		for _, c := range cases {
			t.Run(c.what, func(t *testing.T) {
				r.clear(t)
				r.page(t, "P", "1 5 ann one - 0")
				told, now, err := r.changeBehind(t, c.trac, c.ours)
				if err == nil {
					require.NotEmpty(t, c.after)
					assert.Equal(t, []string{c.after}, told)
					assert.Equal(t, c.rows, r.rows(t, now))
					return
				}
				require.ErrorIs(t, err, tracbus.ErrConflict)
				assert.Equal(t, theirs, r.rows(t, now))
			})
		}
	})
}

// changeBehind makes a change while Trac has a transaction open, which commits
// when the change waits for it.
func (r *pageRig) changeBehind(t *testing.T, trac []string, step any) (told []string, now time.Time, err error) {
	tx, err := r.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	require.NoError(t, err)
	defer tx.Rollback()
	for _, statement := range trac {
		_, err := tx.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		told, now, err = r.change(t, joe, step)
	}()
	require.Eventually(t, func() bool { return r.waits(t) }, 10*time.Second, time.Millisecond, "the change waits")
	require.NoError(t, tx.Commit())
	<-ended
	return told, now, err
}

// A page edit returns ErrConflict if the version that it inserts is there already.
// Its test without a database is beside it.
func TestTheSameVersionTwiceIsAConflict(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		r.page(t, "P", "1 5 ann one - 0")
		for statement, duplicate := range map[string]bool{
			"INSERT INTO wiki (name, version, text) VALUES ('P', 1, '')": r.dialect != tracbus.SQLite,
			"SELECT nonsense": false,
		} {
			_, err := r.journal.Update(t.Context(), joe, func(tx *tracbus.ModelTransaction) error {
				_, err := tx.SQL().ExecContext(t.Context(), statement)
				assert.Error(t, err, statement)
				assert.Equal(t, duplicate, sqltext.IsDuplicate(err), "%s: %v", statement, err)
				return err
			})
			require.ErrorIs(t, err, tracbus.ErrNotCommitted)
		}
	})
}

// waits says whether some transaction waits for a lock.
func (r *pageRig) waits(t *testing.T) bool {
	query := "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'innodb_row_lock_current_waits'"
	if r.dialect == tracbus.PostgreSQL {
		query = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted"
	}
	var n int
	require.NoError(t, r.db.QueryRowContext(t.Context(), query).Scan(&n))
	return n > 0
}
