package store_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestBeginFails: if what begins a transaction fails, with its first statement or alone,
// nothing else is run on that connection, though the application passes over the error, and
// nothing stays. An error of the first statement itself ends nothing.
func TestBeginFails(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	ctx := t.Context()
	dsn := s.DSN(s.Name())
	st, db := openOn(t, s, dsn)
	db.SetMaxOpenConns(1)
	root := s.Open(t, dsn)
	exec := func(text string) {
		t.Helper()
		_, err := root.Exec(text)
		require.NoError(t, err)
	}
	for _, text := range []string{"CREATE TABLE note (text VARCHAR(20) PRIMARY KEY)", "CREATE TABLE fault (how VARCHAR(20))", "DROP PROCEDURE journal_begin",
		`CREATE PROCEDURE journal_begin(p_own VARBINARY(10)) BEGIN
			IF EXISTS (SELECT 1 FROM fault WHERE how = 'at once') THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'at once'; END IF;
			START TRANSACTION;
			IF EXISTS (SELECT 1 FROM fault WHERE how = 'half way') THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'half way'; END IF;
			SAVEPOINT tracbus_begun;
		END`} {
		exec(text)
	}
	begin := func(fault string) *store.Conn {
		t.Helper()
		commit(t, st, 1) // so that the connection was used just now
		exec("INSERT INTO fault VALUES ('" + fault + "')")
		c, err := st.Begin(ctx)
		require.NoError(t, err)
		return c
	}
	insert := func(c *store.Conn, text string) error {
		_, err := c.ExecContext(ctx, "INSERT INTO note VALUES (?)", text)
		return err
	}
	row := func(c *store.Conn, text string) error {
		var n int
		return c.QueryRowContext(ctx, text).Scan(&n)
	}
	prepare := func(c *store.Conn) error {
		_, err := c.PrepareContext(ctx, "SELECT 1")
		return err
	}
	for what, first := range map[string]func(c *store.Conn) error{
		"exec": func(c *store.Conn) error { return insert(c, "first") },
		"query": func(c *store.Conn) error {
			rows, err := c.QueryContext(ctx, "SELECT text FROM note")
			if err == nil {
				err = rows.Close()
			}
			return err
		},
		"row":      func(c *store.Conn) error { return row(c, "SELECT 1") },
		"alone":    func(c *store.Conn) error { return row(c, "SELECT '?'") },
		"prepared": prepare,
	} {
		for _, fault := range []string{"at once", "half way"} {
			t.Run(what+", "+fault, func(t *testing.T) {
				c := begin(fault)
				assert.ErrorContains(t, first(c), fault)
				const want = "the transaction has not begun"
				assert.ErrorContains(t, insert(c, "new"), want)
				assert.ErrorContains(t, row(c, "SELECT 1"), want)
				assert.ErrorContains(t, prepare(c), want)
				assert.ErrorContains(t, st.StillOpen(ctx, c), want)
				_, committed, err := st.Append(ctx, c, "x", "o", changes(1, "a"), true)
				assert.ErrorContains(t, err, want)
				assert.NotErrorIs(t, err, store.ErrInDoubt)
				assert.False(t, committed)
				c.Rollback()
				exec("DELETE FROM fault")
				assert.Zero(t, one[int](t, root, "SELECT count(*) FROM note"))
				assert.Zero(t, one[int](t, db, "SELECT @@in_transaction LIMIT 1"), "of the connection that the pool has now")
			})
		}
	}
	for _, first := range []string{"INSERT INTO note VALUES ('twice'), ('twice')", "no statement", "INSERT INTO note VALUES ('kept'); no statement",
		"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'of the application'"} {
		t.Run(first, func(t *testing.T) {
			c := begin("none")
			_, err := c.ExecContext(ctx, first)
			assert.Error(t, err)
			require.NoError(t, insert(c, "new"))
			_, committed, err := st.Append(ctx, c, "x", "o", changes(1, "a"), true)
			require.NoError(t, err)
			assert.True(t, committed)
			c.Release()
			assert.Equal(t, 1, one[int](t, root, "SELECT count(*) FROM note WHERE text = 'new'"))
			exec("DELETE FROM note WHERE text = 'new'")
		})
	}
	assert.Equal(t, "kept", one[string](t, root, "SELECT text FROM note"))
}
