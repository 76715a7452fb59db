package store_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/retention"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// between runs something once, before the first SELECT with a word in it.
type between struct {
	store.SQL
	word string
	run  func()
}

func (b *between) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if run := b.run; run != nil && strings.Contains(query, b.word) {
		b.run = nil
		run()
	}
	return b.SQL.QueryContext(ctx, query, args...)
}

// TestPrune: a reader never takes a part of a transaction for all of it.
func TestPrune(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		db := s.New(t)
		st, err := store.Open(ctx, db, store.Config{Dialect: s.Dialect, Realms: twoRealms})
		require.NoError(t, err)
		commit := func(tid int64) {
			for seq, realm := range twoRealms {
				put(t, st, db, tid, seq, 2, realm, "a", 1)
			}
			count(t, db, s.Dialect, tid)
		}
		for tid := range int64(3) {
			commit(tid + 1)
		}
		whole, err := st.Read(ctx, db, store.Place{}, 10, twoRealms)
		require.NoError(t, err)
		require.Len(t, whole.Changes, 6)
		prune := func(want int64) func() {
			return func() {
				n, err := retention.Of(st, db).Prune(ctx, retention.Rule{KeepLast: 1}, unneeded)
				assert.NoError(t, err)
				assert.Equal(t, want, n)
			}
		}

		q := &between{db, "journal_change", prune(2)}
		_, err = st.Read(ctx, q, store.Place{}, 10, twoRealms)
		assert.ErrorIs(t, err, store.ErrPruned)
		assert.Nil(t, q.run, "pruned on the way")
		rest, err := st.Read(ctx, db, whole.Places[1], 10, twoRealms)
		require.NoError(t, err)
		assert.Equal(t, whole.Changes[4:], rest.Changes)

		// What a transaction has after a change, pruned before it is read.
		some, err := st.Rest(ctx, db, whole.Places[2], 0, twoRealms)
		require.NoError(t, err)
		assert.Equal(t, whole.Changes[5:], some)
		q = &between{db, "journal_change", func() {
			commit(4) // so that the third can go
			prune(1)()
		}}
		some, err = st.Rest(ctx, q, whole.Places[2], 0, twoRealms)
		assert.ErrorIs(t, err, store.ErrPruned)
		assert.Empty(t, some)
		assert.Nil(t, q.run, "pruned on the way")
	})
}

// unneeded says that nobody needs any change: it is of a journal without consumers.
func unneeded(context.Context, store.SQL) (int64, bool, error) { return 0, false, nil }
