package store_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/retention"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestTombstones: a row that is of no change is a place like others, which readers pass and
// may stand at, at either end too, and several in a row; but no change is read of it, nobody
// is behind for its sake, and it does not count as one that is kept.
func TestTombstones(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		closed := []int64{1, 2, 5, 6, 7, 10, 11} // of 11
		var want []int64
		for tid := int64(1); tid <= 11; tid++ {
			if slices.Contains(closed, tid) {
				put(t, st.Store, db, tid, 0, 0, "", "", 1)
				continue
			}
			put(t, st.Store, db, tid, 0, 1, "ticket", "a", 1000*tid)
			want = append(want, tid)
		}
		count(t, db, s.Dialect, 11)
		tids := func(all []store.Change) (tids []int64) {
			for _, c := range all {
				require.NoError(t, c.Damage)
				tids = append(tids, c.TID)
			}
			return tids
		}
		for _, most := range []int{1, 2, 3, 100} {
			var places, got []int64
			for at := (store.Place{}); ; {
				b, err := st.Read(ctx, db, at, most, twoRealms)
				require.NoError(t, err)
				got = append(got, tids(b.Changes)...)
				for _, p := range b.Places {
					places = append(places, p.TID)
					at = p
				}
				if len(b.Places) == 0 {
					break
				}
			}
			assert.Equal(t, want, got, "Since, %d at once", most)
			assert.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, places)

			got = nil
			for last := int64(11); last > 0; {
				all, first, err := st.ReadBack(ctx, db, last, most, twoRealms)
				require.NoError(t, err)
				got = append(tids(all), got...)
				last = first - 1
			}
			assert.Equal(t, want, got, "Before, %d at once", most)
		}
		all, err := st.History(ctx, db, "ticket", "a", 0, -1, 100)
		require.NoError(t, err)
		assert.Equal(t, want, tids(all))
		all, err = st.HistoryBefore(ctx, db, "ticket", "a", 11, 0, 100)
		require.NoError(t, err)
		assert.Equal(t, want, tids(all))
		end, err := st.End(ctx, db)
		require.NoError(t, err)
		assert.Equal(t, store.Place{TID: 11, CommitID: "m11"}, end)
		all, err = st.Store.Rest(ctx, db, end, 0, twoRealms)
		require.NoError(t, err)
		assert.Empty(t, all)
		cursor := at(9, "m9")
		lags, err := st.Lags(ctx, []progress.Cursor{cursor}, twoRealms)
		require.NoError(t, err)
		assert.Equal(t, progress.Lag{}, lags[cursor])

		for keep, left := range map[int64][]int64{4: {3, 4, 8, 9}, 3: {4, 8, 9}, 1: {9}} {
			if s.Dialect == "postgresql" {
				break // which has none: there each row is one that is kept
			}
			t.Run("", func(t *testing.T) {
				st, db := open(t, s)
				for tid := int64(1); tid <= 11; tid++ {
					if slices.Contains(closed, tid) {
						put(t, st.Store, db, tid, 0, 0, "", "", 1)
					} else {
						put(t, st.Store, db, tid, 0, 1, "ticket", "a", 1000*tid)
					}
				}
				count(t, db, s.Dialect, 11)
				n, err := retention.Of(st.Store, db).Prune(ctx, retention.Rule{KeepLast: keep}, unneeded)
				require.NoError(t, err)
				assert.EqualValues(t, 4-len(left), n)
				all, err := st.History(ctx, db, "ticket", "a", 0, -1, 100)
				require.NoError(t, err)
				assert.Equal(t, left, tids(all))
			})
		}
	})
}
