package store_test

import (
	"context"
	"database/sql"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestReadCost: what is read of a journal costs as many rows in a large one as in a small one,
// also by statements that were prepared long ago, whose plan does not know their values.
// SQLite does not say how many; there each has to search.
func TestReadCost(t *testing.T) {
	const next = 50
	reads := map[string]func(ctx context.Context, st tables, db *sql.DB, at store.Place) (any, error){
		"Since": func(ctx context.Context, st tables, db *sql.DB, at store.Place) (any, error) {
			return st.Read(ctx, db, at, next, twoRealms)
		},
		"Before": func(ctx context.Context, st tables, db *sql.DB, at store.Place) (any, error) {
			all, _, err := st.ReadBack(ctx, db, at.TID, next, twoRealms)
			return all, err
		},
		"Resume": func(ctx context.Context, st tables, db *sql.DB, at store.Place) (any, error) {
			return st.Store.Rest(ctx, db, at, 0, twoRealms)
		},
		"History": func(ctx context.Context, st tables, db *sql.DB, _ store.Place) (any, error) {
			return st.History(ctx, db, "ticket", "few", 0, -1, next)
		},
		"HistoryBefore": func(ctx context.Context, st tables, db *sql.DB, _ store.Place) (any, error) {
			return st.HistoryBefore(ctx, db, "ticket", "few", 1<<48, 0, next)
		},
		"History of what has most": func(ctx context.Context, st tables, db *sql.DB, _ store.Place) (any, error) {
			return st.History(ctx, db, "ticket", "a", 0, -1, next)
		},
		"HistoryBefore of what has most": func(ctx context.Context, st tables, db *sql.DB, _ store.Place) (any, error) {
			return st.HistoryBefore(ctx, db, "ticket", "a", 1<<48, 0, next)
		},
		"History of what is not there": func(ctx context.Context, st tables, db *sql.DB, _ store.Place) (any, error) {
			return st.History(ctx, db, "ticket", "none", 0, -1, next)
		},
		"one change": func(ctx context.Context, st tables, db *sql.DB, at store.Place) (any, error) {
			c, _, err := st.ReadOne(ctx, db, at.TID, 0, "ticket")
			return c, err
		},
		"the end": func(ctx context.Context, st tables, db *sql.DB, _ store.Place) (any, error) { return st.End(ctx, db) },
		"a place": func(ctx context.Context, st tables, db *sql.DB, at store.Place) (any, error) {
			return st.Has(ctx, db, at)
		},
		"Status": func(ctx context.Context, st tables, _ *sql.DB, _ store.Place) (any, error) {
			return st.Store.Status(ctx)
		},
		"the lag": func(ctx context.Context, st tables, db *sql.DB, _ store.Place) (any, error) {
			end, err := st.End(ctx, db)
			if err != nil {
				return nil, err
			}
			return st.Lags(ctx, []progress.Cursor{at(end.TID-next, "")}, twoRealms)
		},
		"the counter": func(ctx context.Context, st tables, _ *sql.DB, _ store.Place) (any, error) {
			was, _, err := st.FitCounter(ctx)
			return was, err
		},
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		const small, large, slack = 2000, 8000, 300
		costs := map[string]map[int]int64{}
		for _, size := range []int{small, large} {
			dsn := s.DSN(s.Name())
			var asked []string
			db := s.Hooked(t, dsn, func(_ context.Context, query string) error {
				if strings.Contains(query, "journal_change") && !strings.HasPrefix(query, "EXPLAIN") {
					asked = append(asked, query)
				}
				return nil
			})
			db.SetMaxOpenConns(1) // whose statistics are read, and whose statements are prepared
			st, err := openTables(t.Context(), db, store.Config{Dialect: s.Dialect, Realms: twoRealms})
			require.NoError(t, err)
			p := &past{t: t, random: rand.New(rand.NewPCG(1, 2)), st: st, db: db, dialect: s.Dialect, consumers: map[string]int64{}}
			p.commit(size, 10_000, time.Now)
			_, err = db.Exec(st.SQL("UPDATE {journal_change} SET id = 'few' WHERE tid IN (7, 1007, 1907) AND seq = 0"))
			require.NoError(t, err)
			_, err = db.Exec(map[string]string{"sqlite": "ANALYZE", "postgresql": "VACUUM ANALYZE journal_change", "mysql": "ANALYZE TABLE journal_change"}[s.Dialect])
			require.NoError(t, err)
			at := store.Place{TID: p.transactions[size/2].tid}
			for name, read := range reads {
				once := func() {
					_, err := read(t.Context(), st, db, at)
					require.NoError(t, err, name)
				}
				for range 8 { // then PostgreSQL makes a plan for any values
					once()
				}
				if s.Dialect == "sqlite" {
					asked = nil
					once()
					searchesOnly(t, db, asked)
					continue
				}
				before := rowsRead(t, db, s.Dialect)
				once()
				if costs[name] == nil {
					costs[name] = map[int]int64{}
				}
				costs[name][size] = rowsRead(t, db, s.Dialect) - before
			}
		}
		for _, name := range slices.Sorted(maps.Keys(costs)) {
			t.Logf("%s: %v", name, costs[name])
			assert.LessOrEqual(t, costs[name][large], costs[name][small]+slack, name)
		}
	})
}
