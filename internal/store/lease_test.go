package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testdatabase"
)

// at is a cursor behind all of a transaction.
func at(tid int64, mark string) store.Cursor {
	return store.Cursor{Place: store.Place{TID: tid, Mark: mark}}
}

// within is a cursor behind a change of a transaction that has more.
func within(tid int64, mark string, seq int) store.Cursor {
	return store.Cursor{Place: store.Place{TID: tid, Mark: mark}, Seq: seq, Rest: true}
}

// find reads a name that must be known.
func find(t *testing.T, st *store.Store, name string) store.Once {
	t.Helper()
	o, found, err := st.FindOnce(t.Context(), name)
	require.NoError(t, err)
	require.True(t, found, "name %q is not known", name)
	return o
}

// takeOnce takes a lease that must be free.
func takeOnce(t *testing.T, st *store.Store, name, holder string) int64 {
	t.Helper()
	epoch, taken, err := st.TakeOnce(t.Context(), find(t, st, name), holder, time.Hour, false)
	require.NoError(t, err)
	require.True(t, taken, "the lease of %q was not taken", name)
	return epoch
}

// open opens the store of an empty database.
func open(t *testing.T, s *testdatabase.Server) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), s.New(t), store.Config{Dialect: s.Dialect, Realms: []string{"ticket", "wiki"}})
	require.NoError(t, err)
	return st
}

// TestOnceTrail: a name is added, taken, told, fails, sets aside, and is given
// back.
func TestOnceTrail(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st := open(t, s)
		_, found, err := st.FindOnce(ctx, "mail")
		require.NoError(t, err)
		assert.False(t, found)
		require.NoError(t, st.AddOnce(ctx, "mail", store.Place{TID: 3, Mark: "c"}))
		require.NoError(t, st.AddOnce(ctx, "mail", store.Place{TID: 9, Mark: "x"}))
		assert.Equal(t, store.Once{Name: "mail", Cursor: at(3, "c"), Branch: -1}, find(t, st, "mail"))

		epoch := takeOnce(t, st, "mail", "host 1")
		moved, err := st.MoveOnce(ctx, "mail", epoch, at(3, "c"), within(4, "d", 0), time.Hour)
		require.NoError(t, err)
		assert.True(t, moved)
		moved, err = st.PutAside(ctx, "mail", epoch, within(4, "d", 0), at(4, "d"), time.Hour, store.Aside{TID: 4, Seq: 1, Mark: "d", Realm: "wiki", ID: "a", Error: "no", Tries: 3})
		require.NoError(t, err)
		assert.True(t, moved)
		require.NoError(t, st.NoteOnce(ctx, "mail", epoch, "away"))
		held, err := st.BranchOnce(ctx, "mail", epoch, 7)
		require.NoError(t, err)
		assert.True(t, held)
		held, err = st.RenewOnce(ctx, "mail", epoch, time.Hour)
		require.NoError(t, err)
		assert.True(t, held)

		o := find(t, st, "mail")
		assert.Equal(t, at(4, "d"), o.Cursor)
		assert.Equal(t, epoch, o.Epoch)
		assert.Equal(t, "host 1", o.Holder)
		assert.EqualValues(t, 7, o.Branch)
		assert.Equal(t, "away", o.Error)
		assert.Equal(t, 1, o.Aside)
		assert.Greater(t, o.Left, 50*time.Minute)
		assert.LessOrEqual(t, o.Left, time.Hour)
		assert.Less(t, o.Held, 10*time.Minute)
		assert.Less(t, o.Failing, 10*time.Minute)

		require.NoError(t, st.ReleaseOnce(ctx, "mail", epoch))
		o = find(t, st, "mail")
		assert.Empty(t, o.Holder)
		assert.Zero(t, o.Left)
		require.NoError(t, st.DropOnce(ctx, "mail"))
		all, err := st.AllOnce(ctx)
		require.NoError(t, err)
		assert.Empty(t, all)
		asides, err := st.Asides(ctx, "mail", false, 0, -1, 10)
		require.NoError(t, err)
		assert.Empty(t, asides)
	})
}
