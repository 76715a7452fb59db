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

// TestPrune: a reader never takes a part of a transaction for all of it, and who
// does not know all realms prunes nothing.
func TestPrune(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		db := s.New(t)
		realms := []string{"ticket", "wiki"}
		st, err := store.Open(ctx, db, store.Config{Dialect: s.Dialect, Realms: realms})
		require.NoError(t, err)
		change := `INSERT INTO {REALM_journal} (tid, seq, id, "change", time, author, ipnr, authenticated, comment, parts, state) VALUES (?, ?, 'a', 'changed', 1, '', '', 0, '', 0, '')`
		for tid := range 3 {
			require.NoError(t, take(db, s.Dialect, tid+1))
			for seq, realm := range realms {
				_, err = db.Exec(st.SQL(strings.Replace(change, "REALM", realm, 1)), tid+1, seq)
				require.NoError(t, err)
			}
		}
		whole, err := st.Read(ctx, db, store.Place{}, 10, realms)
		require.NoError(t, err)
		require.Len(t, whole.Changes, 6)

		n, err := retention.Of(st, db, []string{"ticket"}).Prune(ctx, 2, unneeded)
		assert.ErrorContains(t, err, `realm "wiki"`)
		assert.Zero(t, n)
		floor, err := st.PrunedTo(ctx, db)
		require.NoError(t, err)
		assert.Zero(t, floor, "after a Prune that was refused")

		q := &between{db, "wiki_journal", func() {
			n, err := retention.Of(st, db, realms).Prune(ctx, 2, unneeded)
			assert.NoError(t, err)
			assert.EqualValues(t, 2, n)
		}}
		_, err = st.Read(ctx, q, store.Place{}, 10, realms)
		assert.ErrorIs(t, err, store.ErrPruned)
		assert.Nil(t, q.run, "pruned on the way")
		third := func() { // a fourth comes, so that the third can go
			require.NoError(t, take(db, s.Dialect, 4))
			for seq, realm := range realms {
				_, err := db.Exec(st.SQL(strings.Replace(change, "REALM", realm, 1)), 4, seq)
				require.NoError(t, err)
			}
			n, err := retention.Of(st, db, realms).Prune(ctx, 3, unneeded)
			assert.NoError(t, err)
			assert.EqualValues(t, 1, n)
		}
		rest, err := st.Read(ctx, db, whole.Places[1], 10, realms)
		require.NoError(t, err)
		assert.Equal(t, whole.Changes[4:], rest.Changes)

		// What a transaction has behind a change, pruned while it is read.
		some, err := st.Rest(ctx, db, whole.Places[2], 0, realms)
		require.NoError(t, err)
		assert.Equal(t, whole.Changes[5:], some)
		q = &between{db, "wiki_journal", third}
		some, err = st.Rest(ctx, q, whole.Places[2], 0, realms)
		assert.ErrorIs(t, err, store.ErrPruned)
		assert.Empty(t, some)
		assert.Nil(t, q.run, "pruned on the way")
	})
}

// take takes a tid for changes of both realms.
func take(db *sql.DB, dialect string, tid int) error {
	var err error
	switch dialect {
	case "postgresql":
		_, err = db.Exec("SELECT journal_allocate($1, 'o', 'ticket,wiki')", "m"+strings.Repeat("m", tid))
		return err
	case "mysql":
		_, err = db.Exec("UPDATE journal_head SET tid = tid + 1")
	}
	if err == nil {
		_, err = db.Exec("INSERT INTO journal_transaction (tid, mark, origin, realms) VALUES (?, ?, 'o', 'ticket,wiki')", tid, "m"+strings.Repeat("m", tid))
	}
	return err
}

// unneeded says that nobody needs any change: it is of a journal without consumers.
func unneeded(context.Context, store.SQL) (int64, error) { return 1 << 48, nil }
