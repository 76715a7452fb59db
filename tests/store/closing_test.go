package store_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// openOn opens a journal on a pool of its own.
func openOn(t *testing.T, s *testdatabase.Server, dsn string) (*store.Store, *sql.DB) {
	t.Helper()
	db := s.Open(t, dsn)
	st, err := store.Open(t.Context(), db, store.Config{Dialect: s.Dialect, Realms: twoRealms})
	require.NoError(t, err)
	return st, db
}

// changes are n of them, each of a resource of its own.
func changes(n int, id string) (all []store.Change) {
	for i := range n {
		all = append(all, store.Change{Realm: twoRealms[i%2], ID: id, Kind: "changed", Document: document})
	}
	return all
}

// take takes a tid in a transaction that stays open.
func take(t *testing.T, st *store.Store, db *sql.DB, n int) (tx *sql.Tx, tid int64, commitID string) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	commitID = rand.Text()
	tid, _, err = st.Append(t.Context(), tx, commitID, "o", changes(n, "a"), false)
	require.NoError(t, err)
	return tx, tid, commitID
}

// commit commits changes, as a journal does.
func commit(t *testing.T, st *store.Store, n int) (tid int64) {
	t.Helper()
	c, err := st.Begin(t.Context())
	require.NoError(t, err)
	tid, committed, err := st.Append(t.Context(), c, rand.Text(), "o", changes(n, "b"), true)
	require.NoError(t, err)
	if !committed {
		require.NoError(t, st.Commit(t.Context(), c))
		return tid
	}
	c.Release()
	return tid
}

func tids(b store.Batch) (all []int64) {
	for _, p := range b.Places {
		all = append(all, p.TID)
	}
	return all
}

// TestRolledBackIsClosed: many who read at once close a tid whose transaction was rolled
// back, and all of them see the same in its place.
func TestRolledBackIsClosed(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	dsn := s.DSN(s.Name())
	st, db := openOn(t, s, dsn)
	for range 3 {
		tx, _, _ := take(t, st, db, 2)
		require.NoError(t, tx.Rollback())
	}
	last := commit(t, st, 3)
	require.EqualValues(t, 4, last)
	batches := make([]store.Batch, 8)
	var reading sync.WaitGroup
	for i := range batches {
		reader, own := openOn(t, s, dsn)
		reading.Go(func() {
			for len(batches[i].Places) < 4 { // another may have been about to close it
				var err error
				if batches[i], err = reader.Read(t.Context(), own, store.Place{}, 10, twoRealms); !assert.NoError(t, err) {
					return
				}
			}
		})
	}
	reading.Wait()
	for _, b := range batches {
		assert.Equal(t, []int64{1, 2, 3, 4}, tids(b))
		assert.Equal(t, batches[0], b)
		assert.Len(t, b.Changes, 3)
	}
	all, first, err := st.ReadBack(t.Context(), db, 4, 10, twoRealms)
	require.NoError(t, err)
	assert.EqualValues(t, 1, first)
	assert.Len(t, all, 3)
	all, err = st.History(t.Context(), db, "ticket", "b", 0, -1, 10)
	require.NoError(t, err)
	assert.Len(t, all, 2)
	for _, view := range []string{"ticket_journal", "wiki_journal", "ticket_history"} {
		var n int
		require.NoError(t, db.QueryRow("SELECT count(*) FROM "+view+" WHERE tid < 4").Scan(&n))
		assert.Zero(t, n, view)
	}
}

// TestOpenIsWaitedFor: nothing is read after a tid of a transaction that is open, also if
// nobody is there any more who could end it but an administrator; and no other writer waits.
func TestOpenIsWaitedFor(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	st, db := openOn(t, s, s.DSN(s.Name()))
	tx, held, _ := take(t, st, db, 2)
	ctx := t.Context()
	conn, err := s.Open(t, s.DSN("tracker1")).Conn(ctx)
	require.NoError(t, err)
	_, err = conn.ExecContext(ctx, "XA START 'left'")
	require.NoError(t, err)
	prepared, _, err := st.Append(ctx, conn, "left", "o", changes(1, "c"), false)
	require.NoError(t, err)
	for _, text := range []string{"XA END 'left'", "XA PREPARE 'left'"} {
		_, err = conn.ExecContext(ctx, text)
		require.NoError(t, err)
	}
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // it is closed, and not given back
	last := commit(t, st, 1)
	require.Equal(t, []int64{1, 2, 3}, []int64{held, prepared, last})

	nothing := func(blockers ...string) {
		t.Helper()
		b, err := st.Read(ctx, db, store.Place{}, 10, twoRealms)
		require.NoError(t, err)
		assert.Empty(t, b.Places)
		end, err := st.End(ctx, db)
		require.NoError(t, err)
		assert.Zero(t, end.TID)
		status, err := st.Status(ctx)
		require.NoError(t, err)
		assert.Equal(t, last, status.Head)
		assert.True(t, status.HeldBack(end.TID))
		require.Len(t, status.Blockers, len(blockers))
		for i, words := range blockers {
			assert.Contains(t, status.Blockers[i].Session, words)
		}
	}
	for range 3 {
		nothing("sleep, with tid 1", "with tid 2")
	}
	require.NoError(t, tx.Rollback())
	nothing("with tid 2")
	_, err = db.ExecContext(ctx, "XA COMMIT 'left'")
	require.NoError(t, err)
	b, err := st.Read(ctx, db, store.Place{}, 10, twoRealms)
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 2, 3}, tids(b))
	status, err := st.Status(ctx)
	require.NoError(t, err)
	assert.Empty(t, status.Blockers)
	assert.False(t, status.HeldBack(3))
}

// TestTidClosedBeforeItsRow: a transaction whose tid was closed before it inserted a row takes
// another one. What it did before stays, and its rows have one tid. The session is made to
// take a tid that is closed.
func TestTidClosedBeforeItsRow(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	for _, parameters := range []string{testdatabase.MySQLParameters, ""} {
		name := s.Name()
		st, db := openOn(t, s, s.MariaDB.DSN(name)+parameters)
		ctx := t.Context()
		_, err := db.ExecContext(ctx, "CREATE TABLE note (n INTEGER)")
		require.NoError(t, err)
		tx, closed, _ := take(t, st, db, 1)
		require.NoError(t, tx.Rollback())
		commit(t, st, 1)
		_, err = st.Read(ctx, db, store.Place{}, 10, twoRealms)
		require.NoError(t, err)
		for _, n := range []int{1, 3} {
			own, err := st.Begin(ctx)
			require.NoError(t, err)
			joined, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			for _, q := range []store.SQL{own, joined} {
				for _, text := range []string{"INSERT INTO note VALUES (1)", fmt.Sprintf("SET insert_id = %d", closed)} {
					_, err = q.ExecContext(ctx, text)
					require.NoError(t, err)
				}
				tid, committed, err := st.Append(ctx, q, rand.Text(), "o", changes(n, fmt.Sprintf("%p", q)), q == store.SQL(own))
				require.NoError(t, err)
				assert.Greater(t, tid, closed+1)
				var rows int
				require.NoError(t, q.QueryRowContext(ctx, "SELECT count(*) FROM journal_change WHERE tid = ?", tid).Scan(&rows))
				assert.Equal(t, n, rows)
				switch {
				case q == store.SQL(joined):
					require.NoError(t, joined.Commit())
				case committed:
					own.Release()
				default:
					require.NoError(t, st.Commit(ctx, own))
				}
			}
		}
		var notes int
		require.NoError(t, db.QueryRow("SELECT count(*) FROM note").Scan(&notes))
		assert.Equal(t, 4, notes)

		// A row that is refused for another key is an error, and soon.
		for _, text := range []string{"CREATE TABLE other (n INTEGER, UNIQUE KEY of_another (n))", "INSERT INTO other VALUES (1)",
			"CREATE TRIGGER refuses AFTER INSERT ON journal_change FOR EACH ROW INSERT INTO other VALUES (1)"} {
			_, err := db.ExecContext(ctx, text)
			require.NoError(t, err)
		}
		c, err := st.Begin(ctx)
		require.NoError(t, err)
		_, _, err = st.Append(ctx, c, rand.Text(), "o", changes(1, "x"), true)
		assert.ErrorContains(t, err, "of_another")
		c.Rollback()
		_, err = db.ExecContext(ctx, "DROP TRIGGER refuses")
		require.NoError(t, err)
		b, err := st.Read(ctx, db, store.Place{}, 100, twoRealms)
		require.NoError(t, err)
		next := commit(t, st, 1)
		assert.LessOrEqual(t, next-b.Places[len(b.Places)-1].TID, int64(3), "it tried once")
	}
}

// TestFindWaitsForTheHolder: what became of a transaction whose tid is known is not known
// while the tid is held, and final after it.
func TestFindWaitsForTheHolder(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	st, db := openOn(t, s, s.DSN(s.Name()))
	for _, lands := range []bool{true, false} {
		tx, tid, commitID := take(t, st, db, 2)
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, _, err := st.Find(short, commitID, tid, store.Place{}, store.Session{})
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		if lands {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
		for _, known := range []int64{tid, 0} {
			_, landed, err := st.Find(t.Context(), commitID, known, store.Place{}, store.Session{})
			require.NoError(t, err)
			assert.Equal(t, lands, landed)
		}
	}
}
