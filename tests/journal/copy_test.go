package journal_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestCopiedSchema: a journal that was copied into another schema of its database is
// refused, until it was made one of its own. The original is not.
func TestCopiedSchema(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	db := s.New(t)
	in := func(schema string) error {
		return open(t, db, tracbus.JournalConfig{Dialect: tracbus.PostgreSQL, Schema: schema})
	}
	for _, schema := range []string{"original", "The copy"} {
		_, err := db.Exec(`CREATE SCHEMA "` + schema + `"`)
		require.NoError(t, err)
		require.NoError(t, in(schema))
	}
	_, err := db.Exec(`UPDATE "The copy".journal_facts SET (uuid, lock_class) = (SELECT uuid, lock_class FROM original.journal_facts)`) // as a dump has them
	require.NoError(t, err)

	assert.NoError(t, in("original"))
	err = in("The copy")
	require.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase)
	assert.ErrorContains(t, err, `the journal in schema "The copy" is a copy of that in schema original`)
	_, statement, found := strings.Cut(err.Error(), "and run: ")
	require.True(t, found)
	_, err = db.Exec(statement)
	require.NoError(t, err, statement)
	assert.NoError(t, in("The copy"))
	assert.NoError(t, in("original"))
	var different bool
	require.NoError(t, db.QueryRow(`SELECT a.uuid <> b.uuid AND a.lock_class <> b.lock_class FROM original.journal_facts a, "The copy".journal_facts b`).Scan(&different))
	assert.True(t, different)
}

// TestOtherJournals: a journal is opened although another one of its database goes, or is
// locked, in that moment. All others are read in one statement.
func TestOtherJournals(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	dsn := s.DSN(s.Name())
	db := s.Open(t, dsn)
	exec := func(statement string) {
		_, err := db.ExecContext(testkit.Within(t), statement)
		require.NoError(t, err)
	}
	read, going := 0, ""
	hooked := s.Hooked(t, dsn, func(_ context.Context, query string) error {
		if strings.Contains(query, "max(lock_class)") {
			if read++; going != "" {
				exec("DROP SCHEMA " + going + " CASCADE")
				going = ""
			}
		}
		return nil
	})
	in := func(schema string) error {
		return open(t, hooked, tracbus.JournalConfig{Dialect: tracbus.PostgreSQL, Schema: schema})
	}
	for _, schema := range []string{"a", "b", "c", "d"} {
		exec("CREATE SCHEMA " + schema)
		require.NoError(t, in(schema))
	}
	read = 0
	require.NoError(t, in("a"))
	assert.Equal(t, 1, read, "statements for three others")

	going = "b"
	assert.NoError(t, in("a"), "one has gone since they were listed")

	exec("UPDATE d.journal_facts SET (uuid, lock_class) = (SELECT uuid, lock_class FROM a.journal_facts)")
	tx, err := db.BeginTx(testkit.Within(t), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.ExecContext(testkit.Within(t), "LOCK TABLE c.journal_facts")
	require.NoError(t, err)
	assert.NoError(t, in("a"), "one is locked")
	assert.ErrorContains(t, in("d"), "is a copy of that in schema a", "the others are read nevertheless")
}
