package store_test

import (
	"bytes"
	"net"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestCopiedDatabase: a copy on the same server of MySQL, by a dump with procedures, has its
// changes, views and locks in itself, and goes on without the original.
func TestCopiedDatabase(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	original, copied := s.Name(), s.Name()
	st, db := openOn(t, s, s.DSN(original))
	require.EqualValues(t, 1, commit(t, st, 1))
	dump(t, s, original, copied)
	copyDB := s.Open(t, s.DSN(copied))
	inCopy, err := store.Open(t.Context(), copyDB, store.Config{Dialect: s.Dialect, Realms: twoRealms, Manual: true})
	require.NoError(t, err, "nothing is to be made")
	assert.EqualValues(t, 2, commit(t, inCopy, 1))
	assert.EqualValues(t, 3, commit(t, inCopy, 1))
	for q, want := range map[string]int{"journal_change": 1, "ticket_journal": 1} {
		assert.Equal(t, want, one[int](t, db, "SELECT count(*) FROM "+q), "%s of the original", q)
		assert.Equal(t, want+2, one[int](t, copyDB, "SELECT count(*) FROM "+q), "%s of the copy", q)
	}
	b, err := st.Read(t.Context(), db, store.Place{}, 10, twoRealms)
	require.NoError(t, err)
	assert.Equal(t, []int64{1}, tids(b))
	_, err = db.Exec("DROP DATABASE " + original)
	require.NoError(t, err)
	assert.EqualValues(t, 4, commit(t, inCopy, 1))
	b, err = inCopy.Read(t.Context(), copyDB, store.Place{}, 10, twoRealms)
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 2, 3, 4}, tids(b))
}

// dump copies what a database of MySQL has into an empty one, with procedures.
func dump(t *testing.T, s *testdatabase.Server, from, to string) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.MariaDB.Addr())
	require.NoError(t, err)
	client := []string{"--no-defaults", "--protocol=tcp", "--host=" + host, "--port=" + port, "--user=root", "--default-character-set=utf8mb4"}
	text, err := exec.Command("mariadb-dump", append(client, "--routines", from)...).Output()
	require.NoError(t, err)
	restore := exec.Command("mariadb", append(client, to)...)
	restore.Stdin = bytes.NewReader(text)
	out, err := restore.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
