package store_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestBeginsWithItsFirstStatement: on a connection of MySQL that was used just now, what
// begins a transaction goes in one round trip with its first statement, whatever that is, and
// that is part of the transaction.
func TestBeginsWithItsFirstStatement(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	ctx := t.Context()
	var mu sync.Mutex
	var asked []string
	db := s.Hooked(t, s.DSN(s.Name()), func(_ context.Context, query string) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, query)
		return nil
	})
	db.SetMaxOpenConns(1)
	st, err := store.Open(ctx, db, store.Config{Dialect: s.Dialect, Realms: twoRealms})
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE note (id INTEGER AUTO_INCREMENT PRIMARY KEY, text LONGTEXT)")
	require.NoError(t, err)
	insert := func(text string) func(*store.Conn) {
		return func(c *store.Conn) {
			result, err := c.ExecContext(ctx, "INSERT INTO note (text) VALUES (?), (?)", text, "second")
			require.NoError(t, err)
			n, err := result.RowsAffected()
			assert.NoError(t, err)
			assert.EqualValues(t, 2, n)
			id, err := result.LastInsertId()
			assert.NoError(t, err)
			assert.NotZero(t, id)
		}
	}
	for name, c := range map[string]struct {
		first func(*store.Conn)
		trips int
	}{
		"exec": {insert("first"), 1},
		"no value": {func(c *store.Conn) {
			_, err := c.ExecContext(ctx, "INSERT INTO note (text) VALUES ('no')")
			require.NoError(t, err)
		}, 1},
		"query": {func(c *store.Conn) {
			rows, err := c.QueryContext(ctx, "SELECT ? UNION ALL SELECT 'b' ORDER BY 1", "a")
			require.NoError(t, err)
			var all, one string
			for rows.Next() {
				require.NoError(t, rows.Scan(&one))
				all += one
			}
			require.NoError(t, rows.Close())
			assert.Equal(t, "ab", all)
		}, 1},
		"one row": {func(c *store.Conn) {
			var n int
			require.NoError(t, c.QueryRowContext(ctx, "SELECT ?", 7).Scan(&n))
			assert.Equal(t, 7, n)
		}, 1},
		"a mark in a text": {func(c *store.Conn) {
			var text string
			require.NoError(t, c.QueryRowContext(ctx, "SELECT '?'").Scan(&text))
			assert.Equal(t, "?", text)
		}, 2},
		"a long value": {insert(strings.Repeat("long", 1<<19)), 2},
		"prepared": {func(c *store.Conn) {
			stmt, err := c.PrepareContext(ctx, "INSERT INTO note (text) VALUES (?)")
			require.NoError(t, err)
			_, err = stmt.ExecContext(ctx, "prepared")
			require.NoError(t, err)
			require.NoError(t, stmt.Close())
		}, 2},
		"an error": {func(c *store.Conn) {
			_, err := c.ExecContext(ctx, "INSERT INTO nowhere VALUES (1)")
			assert.ErrorContains(t, err, "nowhere")
		}, 2}, // the second to see that it is not of what begins
		"many": {func(c *store.Conn) {
			var working sync.WaitGroup
			for range 4 {
				working.Go(func() {
					_, err := c.ExecContext(ctx, "INSERT INTO note (text) VALUES ('many')")
					assert.NoError(t, err)
				})
			}
			working.Wait()
		}, 4},
		"nothing": {func(*store.Conn) {}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			commit(t, st, 1) // so that the connection was used
			mu.Lock()
			asked = nil
			mu.Unlock()
			conn, err := st.Begin(ctx)
			require.NoError(t, err)
			c.first(conn)
			mu.Lock()
			assert.Len(t, asked, c.trips)
			if c.trips > 0 {
				assert.Contains(t, asked[0], "journal_begin")
			}
			mu.Unlock()
			insertMore(t, conn)
			conn.Rollback()
			var n int
			require.NoError(t, db.QueryRow("SELECT count(*) FROM note").Scan(&n))
			assert.Zero(t, n, "it was rolled back")
		})
	}
}

func insertMore(t *testing.T, q interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}) {
	t.Helper()
	_, err := q.ExecContext(t.Context(), "INSERT INTO note (text) VALUES ('more')")
	require.NoError(t, err)
}
