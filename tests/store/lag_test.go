package store_test

import (
	"database/sql"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/retention"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// fill makes transactions, each with two changes of both realms, in turn. The time of a
// change is 1000 for each tid and 1 for each seq.
func fill(t *testing.T, st tables, db *sql.DB, dialect string, transactions int) []store.Place {
	t.Helper()
	for tid := 1; tid <= transactions; tid++ {
		for seq := range 4 {
			put(t, st.Store, db, int64(tid), seq, 4, twoRealms[seq%2], "a", int64(1000*tid+seq))
		}
	}
	count(t, db, dialect, int64(transactions))
	b, err := st.Read(t.Context(), db, store.Place{}, 100, twoRealms)
	require.NoError(t, err)
	require.Len(t, b.Places, transactions)
	return b.Places
}

// TestLag: what is not told yet is counted to the change.
func TestLag(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		st, db := open(t, s)
		var others []progress.Cursor // that are asked for with it
		lag := func(c progress.Cursor, realms []string, want ...int64) {
			t.Helper()
			lags, err := st.Lags(t.Context(), append(others, c, c), realms)
			assert.NoError(t, err)
			assert.Equal(t, progress.Lag{Changes: want[0], Oldest: want[1]}, lags[c])
		}
		lag(at(0, ""), twoRealms, 0, 0)
		places := fill(t, st, db, s.Dialect, 3)
		mark := func(tid int) string { return places[tid-1].CommitID }
		lag(at(0, ""), twoRealms, 12, 1000)
		for i := range int64(120) { // more than one statement is about
			others = append(others, at(i/5, "x"), within(i/5, "x", int(i%5)))
		}
		lag(at(0, ""), []string{"wiki"}, 6, 1001)
		lag(within(1, mark(1), 0), twoRealms, 11, 1001)
		others = nil // which takes SQLite half a minute with the race detector
		lag(at(0, ""), nil, 0, 0)
		lag(at(1, mark(1)), twoRealms, 8, 2000)
		lag(within(1, mark(1), -1), twoRealms, 12, 1000)
		lag(within(1, mark(1), 0), []string{"ticket"}, 5, 1002)
		lag(within(1, mark(1), 2), twoRealms, 9, 1003)
		lag(within(1, mark(1), 2), []string{"ticket"}, 4, 2000)
		lag(within(1, mark(1), 3), twoRealms, 8, 2000)
		lag(within(3, mark(3), 2), twoRealms, 1, 3003)
		lag(at(3, mark(3)), twoRealms, 0, 0)
		lag(at(99, "x"), twoRealms, 0, 0)
		_, err := retention.Of(st.Store, db).Prune(t.Context(), retention.Rule{KeepLast: 1}, unneeded)
		require.NoError(t, err)
		lag(at(0, ""), twoRealms, 4, 3000)
		lag(within(1, mark(1), 2), twoRealms, 4, 3000)
		lag(at(2, mark(2)), twoRealms, 4, 3000)
	})
}

// TestReadOne: a change read alone is the one that was read with the others.
func TestReadOne(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		fill(t, st, db, s.Dialect, 3)
		b, err := st.Read(ctx, db, store.Place{}, 100, twoRealms)
		require.NoError(t, err)
		require.Len(t, b.Changes, 12)
		for _, want := range b.Changes {
			assert.Equal(t, "m"+strconv.FormatInt(want.TID, 10), want.CommitID)
			assert.Equal(t, document, want.Document)
			c, found, err := st.ReadOne(ctx, db, want.TID, want.Seq, want.Realm)
			assert.NoError(t, err)
			assert.True(t, found)
			assert.Equal(t, want, c)
		}
		_, err = retention.Of(st.Store, db).Prune(ctx, retention.Rule{KeepLast: 1}, unneeded)
		require.NoError(t, err)
		for _, c := range []store.Change{{TID: 1, Realm: "ticket"}, {TID: 3, Realm: "wiki"}, {TID: 3, Seq: 4, Realm: "ticket"}, {TID: 4, Realm: "ticket"}} {
			_, found, err := st.ReadOne(ctx, db, c.TID, c.Seq, c.Realm)
			assert.NoError(t, err)
			assert.False(t, found, "%d.%d of %s", c.TID, c.Seq, c.Realm)
		}
	})
}

// TestSlowestOnce: what anybody has yet to be told of is not done.
func TestSlowestOnce(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		slowest := func(want int64, wantFound bool) {
			t.Helper()
			tid, found, err := st.SlowestConsumer(ctx, db)
			assert.NoError(t, err)
			assert.Equal(t, []any{want, wantFound}, []any{tid, found})
		}
		slowest(0, false)
		places := fill(t, st, db, s.Dialect, 6)
		require.NoError(t, st.AddConsumer(ctx, "a", places[3]))
		slowest(4, true)
		require.NoError(t, st.AddConsumer(ctx, "b", places[4]))
		slowest(4, true)
		a := takeOnce(t, st, "a", "one")
		is(t, true)(st.MoveCursor(ctx, "a", a, at(4, places[3].CommitID), within(5, places[4].CommitID, 1), time.Hour))
		slowest(4, true)
		is(t, true)(st.MoveCursor(ctx, "a", a, within(5, places[4].CommitID, 1), within(6, places[5].CommitID, 1), time.Hour))
		slowest(5, true)
		is(t, true)(st.MoveCursor(ctx, "a", a, within(6, places[5].CommitID, 1), at(6, places[5].CommitID), time.Hour))
		slowest(5, true)
		b := takeOnce(t, st, "b", "one")
		is(t, true)(st.PutDeadLetter(ctx, "b", b, at(5, places[4].CommitID), at(6, places[5].CommitID), time.Hour, progress.DeadLetter{TID: 3, CommitID: places[2].CommitID, Realm: "wiki", ID: "a"}))
		slowest(2, true)
		_, err := retention.Of(st.Store, db).Prune(ctx, retention.Rule{KeepLast: 3}, unneeded) // of one who does not ask
		require.NoError(t, err)
		slowest(6, true)
		require.NoError(t, st.DropConsumer(ctx, "b"))
		require.NoError(t, st.DropConsumer(ctx, "a"))
		slowest(0, false)
	})
}
