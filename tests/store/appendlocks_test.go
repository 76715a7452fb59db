package store_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestAppendLocks: who appends a change on MySQL has its resources locked from then on: another
// one, who here does not wait, takes no tid before the first has committed.
func TestAppendLocks(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	a, b, c := [2]string{"ticket", "a"}, [2]string{"ticket", "b"}, [2]string{"ticket", "c"}
	eachWay(t, s, func(t *testing.T, dsn string) {
		separator := "?"
		if strings.Contains(dsn, separator) {
			separator = "&"
		}
		st, db := openOn(t, s, dsn+separator+"innodb_lock_wait_timeout=0")
		appends := func(end bool, resources ...[2]string) (conn *store.Conn, committed bool, err error) {
			t.Helper()
			conn, err = st.Begin(t.Context())
			require.NoError(t, err)
			for _, r := range resources {
				conn.LockLater(r)
			}
			_, committed, err = st.Append(t.Context(), conn, rand.Text(), "o", changes(1, "b"), end)
			return conn, committed, err
		}
		for _, held := range [][][2]string{{b}, {a, b}} {
			first, _, err := appends(false, held...)
			require.NoError(t, err)
			for _, wanted := range [][][2]string{{b}, {b, c}} {
				second, committed, err := appends(true, wanted...)
				assert.True(t, sqltext.IsLocked(err), "%v while %v are held: %v", wanted, held, err)
				assert.NotErrorIs(t, err, store.ErrInDoubt)
				assert.False(t, committed)
				second.Rollback()
			}
			other, _, err := appends(false, c)
			require.NoError(t, err)
			other.Rollback()
			require.NoError(t, st.Commit(t.Context(), first))
			second, _, err := appends(false, b, c)
			require.NoError(t, err)
			require.NoError(t, st.Commit(t.Context(), second))
		}
		assert.Equal(t, 4, one[int](t, db, "SELECT count(*) FROM journal_change"))
	})
}

// TestAppendInAnotherSession: what comes to another session of the server than the transaction
// began in, as behind a proxy that shares sessions, is refused.
func TestAppendInAnotherSession(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	eachWay(t, s, func(t *testing.T, dsn string) {
		st, db := openOn(t, s, dsn)
		c, err := st.Begin(t.Context())
		require.NoError(t, err)
		c.Session.ID++
		_, committed, err := st.Append(t.Context(), c, rand.Text(), "o", changes(1, "b"), true)
		assert.ErrorContains(t, err, "'changes' cannot be null")
		assert.NotErrorIs(t, err, store.ErrInDoubt)
		assert.False(t, committed)
		c.Rollback()
		assert.Zero(t, one[int](t, db, "SELECT count(*) FROM journal_change"))
	})
}
