package journal_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
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
