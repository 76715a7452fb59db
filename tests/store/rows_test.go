package store_test

import (
	"database/sql"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// document is one of a change of no field.
const document = `{"changed":[],"state":{}}`

// put writes a change as if somebody had committed it with a tid. counts says how many its
// transaction has.
func put(t *testing.T, st *store.Store, db *sql.DB, tid int64, seq, counts int, realm, id string, made int64) {
	t.Helper()
	_, err := db.Exec(st.SQL(`INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, comment, parts, document)
		VALUES (?, ?, ?, ?, 'o', ?, ?, 'changed', ?, '', '', 0, '', 0, ?)`), tid, seq, counts, "m"+strconv.FormatInt(tid, 10), realm, id, made, document)
	require.NoError(t, err)
}

// count moves the counter of tids to one that was put, where there is a counter.
func count(t *testing.T, db *sql.DB, dialect string, tid int64) {
	t.Helper()
	if dialect == "postgresql" {
		_, err := db.Exec("SELECT setval('journal_tid', $1)", tid)
		require.NoError(t, err)
	}
}

// TestRowMissing: a transaction of which a row was deleted is told as it is, and a change
// that cannot be read in the place of the row.
func TestRowMissing(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		st, db := open(t, s)
		fill(t, st, db, s.Dialect, 3)
		for _, seq := range []int{1, 3} {
			_, err := db.Exec(st.SQL("DELETE FROM {journal_change} WHERE tid = 2 AND seq = ?"), seq)
			require.NoError(t, err)
			check := func(how string, all []store.Change) {
				t.Helper()
				var missing []store.Change
				for i, c := range all {
					if c.Damage != nil {
						missing = append(missing, c)
					}
					assert.True(t, i == 0 || all[i-1].TID < c.TID || all[i-1].Seq < c.Seq, "%s: the order", how)
				}
				if assert.Len(t, missing, 1, how) {
					assert.ErrorContains(t, missing[0].Damage, "of its 4 rows", how)
					assert.Equal(t, []any{int64(2), "m2"}, []any{missing[0].TID, missing[0].CommitID}, how)
				}
			}
			b, err := st.Read(t.Context(), db, store.Place{}, 100, twoRealms)
			require.NoError(t, err)
			require.Len(t, b.Places, 3)
			check("on", b.Changes)
			b, err = st.Read(t.Context(), db, b.Places[0], 1, twoRealms)
			require.NoError(t, err)
			check("on, one by one", b.Changes)
			all, first, err := st.ReadBack(t.Context(), db, 3, 100, twoRealms)
			require.NoError(t, err)
			assert.EqualValues(t, 1, first)
			check("back", all)
			all, _, err = st.ReadBack(t.Context(), db, 2, 1, twoRealms)
			require.NoError(t, err)
			check("back, one by one", all)
			all, err = st.Store.Rest(t.Context(), db, b.Places[0], 0, twoRealms)
			require.NoError(t, err)
			check("the rest", all)
		}
	})
}
