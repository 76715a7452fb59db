package store_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/probe"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestChanged: whoever asks whether there may be something to read never hears no if there
// is, whatever was committed, rolled back, pruned or put back meanwhile; and hears no, or
// on SQLite yes once, if there is not.
func TestChanged(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		w := probe.Of(st.Store, db)
		defer w.Close()
		place := func(tid int64, mark string) store.Place { return store.Place{TID: tid, CommitID: mark} }
		// expect asks twice if it is to hear no: SQLite says of each writing once that there was
		// one.
		expect := func(want bool, at store.Place, why string) {
			t.Helper()
			got := w.Changed(ctx, at)
			if s.Dialect != "sqlite" || want {
				assert.Equal(t, want, got, why)
			}
			if !want {
				assert.False(t, w.Changed(ctx, at), why)
			}
		}
		expect(false, store.Place{}, "nothing was ever committed")
		commit := func(tid int64) {
			put(t, st.Store, db, tid, 0, 2, "ticket", "1", 1)
			put(t, st.Store, db, tid, 1, 2, "wiki", "a", 1)
			count(t, db, s.Dialect, tid)
		}
		commit(1)
		expect(true, store.Place{}, "the first commit")
		expect(false, place(1, "m1"), "it was read")
		tx, err := db.Begin()
		require.NoError(t, err)
		_, err = tx.Exec("UPDATE journal_change SET time = 5 WHERE tid = 1")
		require.NoError(t, err)
		if s.Dialect != "sqlite" {
			expect(false, place(1, "m1"), "somebody writes")
		}
		require.NoError(t, tx.Rollback())
		expect(false, place(1, "m1"), "it was rolled back")
		commit(3)
		expect(true, place(1, "m1"), "a later commit")
		if s.Dialect != "sqlite" {
			yes := 0
			for range 1000 {
				if w.Changed(ctx, place(1, "m1")) {
					yes++
				}
			}
			assert.Less(t, yes, 200, "it is asked less and less whether what is held back can be read")
		}
		commit(2) // which took its tid before
		testkit.Until(t, "what was held back may be read", func() bool { return w.Changed(ctx, place(1, "m1")) })
		expect(false, place(3, "m3"), "both were read")
		_, err = db.Exec("DELETE FROM journal_change WHERE tid < 3")
		require.NoError(t, err)
		expect(false, place(3, "m3"), "the others are pruned")
		_, err = db.Exec("UPDATE journal_change SET commit_id = 'another' WHERE tid = 3")
		require.NoError(t, err)
		expect(true, place(3, "m3"), "the history went back, and came as far")
		_, err = db.Exec("UPDATE journal_change SET tid = 2 WHERE tid = 3")
		require.NoError(t, err)
		expect(true, place(3, "m3"), "the history went back")
		_, err = db.Exec("DELETE FROM journal_change")
		require.NoError(t, err)
		expect(false, place(3, "m3"), "all are pruned")
	})
}
