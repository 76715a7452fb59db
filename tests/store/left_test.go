package store_test

import (
	"crypto/rand"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// eachWay calls f with the parameters by which much goes in one round trip to MySQL, and
// without them.
func eachWay(t *testing.T, s *testdatabase.Server, f func(t *testing.T, dsn string)) {
	t.Run("at once", func(t *testing.T) { f(t, s.DSN(s.Name())) })
	t.Run("one by one", func(t *testing.T) { f(t, s.MariaDB.DSN(s.Name())) })
}

// TestSettingsLeftInTheSession: a transaction of the library's own whose session the application
// has made unfit for what comes next is not committed, whether it records something or not,
// and the pool never hands out that session again, also if it is rolled back.
func TestSettingsLeftInTheSession(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	ends := map[string]func(st *store.Store, c *store.Conn) error{
		"append": func(st *store.Store, c *store.Conn) error {
			_, _, err := st.Append(t.Context(), c, rand.Text(), "o", changes(1, "b"), true)
			return err
		},
		"nothing": func(st *store.Store, c *store.Conn) error { return st.StillOpen(t.Context(), c) },
		"no end":  func(st *store.Store, c *store.Conn) error { return store.ErrUnsupported },
	}
	eachWay(t, s, func(t *testing.T, dsn string) {
		st, db := openOn(t, s, dsn)
		db.SetMaxOpenConns(1)
		for setting, fits := range map[string]bool{
			"SET autocommit = 0": false,
			"SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED": false,
			"SET sql_mode = ''":        false,
			"SET sql_select_limit = 0": true, // reads do without it
			"SET time_zone = '+00:00'": true,
			"SET no_statement":         true,
		} {
			for how, end := range ends {
				commit(t, st, 1) // so that the connection is fresh
				before := one[int64](t, db, "SELECT connection_id() LIMIT 1")
				c, err := st.Begin(t.Context())
				require.NoError(t, err)
				_, _ = c.ExecContext(t.Context(), setting)
				err = end(st, c)
				c.Rollback()
				what := setting + ", " + how
				if !fits {
					assert.ErrorIs(t, err, store.ErrUnsupported, what)
				} else if how != "no end" {
					assert.NoError(t, err, what)
				}
				assert.Equal(t, fits, before == one[int64](t, db, "SELECT connection_id() LIMIT 1"), what)
			}
			_, err := db.Exec("SET sql_select_limit = DEFAULT")
			require.NoError(t, err)
		}
		commit(t, st, 1)
		_, err := db.Exec("SET autocommit = 0") // before it
		require.NoError(t, err)
		c, err := st.Begin(t.Context())
		require.NoError(t, err)
		err = ends["append"](st, c)
		assert.ErrorIs(t, err, store.ErrUnsupported)
		assert.ErrorContains(t, err, "autocommit is OFF")
		assert.NotErrorIs(t, err, store.ErrInDoubt)
		c.Rollback()
		commit(t, st, 1)
	})
}

// TestAutocommitLeftOff: in a session of the pool that the application has left without
// autocommit, a tombstone is committed all the same, and no lock is left behind.
func TestAutocommitLeftOff(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	eachWay(t, s, func(t *testing.T, dsn string) {
		st, db := openOn(t, s, dsn)
		other, otherDB := openOn(t, s, dsn)
		db.SetMaxOpenConns(1)
		hole := func() (want []int64) {
			tx, _, _ := take(t, other, otherDB, 1)
			last := commit(t, other, 1)
			require.NoError(t, tx.Rollback())
			_, err := db.Exec("SET autocommit = 0")
			require.NoError(t, err)
			for tid := range last {
				want = append(want, tid+1)
			}
			return want
		}
		read := func(st *store.Store, db *sql.DB, want []int64) {
			t.Helper()
			b, err := st.Read(t.Context(), db, store.Place{}, 10, twoRealms)
			require.NoError(t, err)
			assert.Equal(t, want, tids(b))
		}
		want := hole()
		read(st, db, want)
		read(other, otherDB, want)
		want = hole()
		end, err := st.End(t.Context(), db)
		require.NoError(t, err)
		assert.EqualValues(t, len(want), end.TID)
		read(other, otherDB, want)
		assert.EqualValues(t, len(want)+1, commit(t, other, 1))
	})
}
