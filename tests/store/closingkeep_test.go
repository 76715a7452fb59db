package store_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/retention"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestTidsAfterACrash: after a crash of the server, tids go on above all that were committed,
// also when the highest are of transactions that are gone, and what these have left is closed.
func TestTidsAfterACrash(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	st, db := openOn(t, s, s.DSN(s.Name()))
	for range 3 {
		commit(t, st, 1)
	}
	take(t, st, db, 2)
	n, err := retention.Of(st, db).Prune(t.Context(), retention.Rule{KeepLast: 1}, unneeded)
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	s.MariaDB.Kill()
	s.MariaDB.Restart()
	st, db = openOn(t, s, s.DSN("tracker1"))
	before, err := st.End(t.Context(), db)
	require.NoError(t, err)
	assert.EqualValues(t, 3, before.TID)
	last := commit(t, st, 1)
	assert.Greater(t, last, before.TID)
	b, err := st.Read(t.Context(), db, before, 10, twoRealms)
	require.NoError(t, err)
	assert.Equal(t, last, b.Places[len(b.Places)-1].TID)
	assert.Len(t, b.Changes, 1)
}

// TestPruneCountsNoTombstones: they are no transactions that are kept, and go with the
// others. What is kept is the last transaction, and the highest tid.
func TestPruneCountsNoTombstones(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	st, db := openOn(t, s, s.DSN(s.Name()))
	gone := func() {
		tx, _, _ := take(t, st, db, 1)
		require.NoError(t, tx.Rollback())
	}
	for range 3 { // 1, 3 and 5
		commit(t, st, 1)
		gone()
	}
	gone()
	last := commit(t, st, 1) // 8
	gone()
	_, err := db.Exec("ALTER TABLE journal_change AUTO_INCREMENT = 20")
	require.NoError(t, err)
	tx, _, _ := take(t, st, db, 1) // what is before it is closed
	end, err := st.End(t.Context(), db)
	require.NoError(t, err)
	assert.EqualValues(t, last, end.TID, "nothing after it is seen yet")
	_, err = st.Read(t.Context(), db, store.Place{}, 100, twoRealms)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	r := retention.Of(st, db)
	n, err := r.Prune(t.Context(), retention.Rule{KeepLast: 2}, unneeded)
	require.NoError(t, err)
	assert.EqualValues(t, 2, n, "transactions, without tombstones")
	n, err = r.Prune(t.Context(), retention.Rule{KeepLast: 1}, unneeded)
	require.NoError(t, err)
	assert.EqualValues(t, 1, n)
	b, err := st.Read(t.Context(), db, store.Place{TID: last - 1}, 100, twoRealms)
	require.NoError(t, err)
	assert.Len(t, b.Changes, 1, "the last transaction")
	assert.Greater(t, commit(t, st, 1), last)
}

// putMany stores a transaction for each of some tids, with commit ids that begin with a mark.
func putMany(t *testing.T, db *sql.DB, mark string, from, to int) {
	t.Helper()
	var rows []string
	for tid := from; tid <= to; tid++ {
		rows = append(rows, fmt.Sprintf("(%d, 0, 1, '%s%d', 'o', 'ticket', 'a', 'changed', 1, '', '', 0, '', 0, '')", tid, mark, tid))
	}
	_, err := db.Exec("INSERT INTO journal_change (tid, seq, changes, commit_id, origin, realm, id, `change`, time, author, ipnr, authenticated, comment, parts, document) VALUES " + strings.Join(rows, ", "))
	require.NoError(t, err)
}

// TestDecidedIsNoted: whoever comes later does not look at all tids for one that is missing,
// and trusts nothing that was noted of a history that is gone.
func TestDecidedIsNoted(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	dsn := s.DSN(s.Name())
	st, db := openOn(t, s, dsn)
	const many = 2500
	putMany(t, db, "m", 1, many)
	_, err := st.Read(t.Context(), db, store.Place{}, many, twoRealms)
	require.NoError(t, err)
	noted := func() (tid int64) {
		require.NoError(t, db.QueryRow("SELECT tid FROM journal_decided").Scan(&tid))
		return tid
	}
	require.EqualValues(t, many, noted())

	_, err = db.Exec("DELETE FROM journal_change WHERE tid = 7") // that nobody looks at
	require.NoError(t, err)
	count := func(tid int) (n int) {
		require.NoError(t, db.QueryRow("SELECT count(*) FROM journal_change WHERE tid = ?", tid).Scan(&n))
		return n
	}
	late, own := openOn(t, s, dsn)
	end, err := late.End(t.Context(), own)
	require.NoError(t, err)
	assert.Equal(t, store.Place{TID: many, CommitID: "m2500"}, end)
	assert.Zero(t, count(7))

	_, err = db.Exec("UPDATE journal_change SET commit_id = 'of another history' WHERE tid = ?", many)
	require.NoError(t, err)
	later, own := openOn(t, s, dsn)
	end, err = later.End(t.Context(), own)
	require.NoError(t, err)
	assert.EqualValues(t, many, end.TID)
	assert.Equal(t, 1, count(7), "it was missing, and is closed")
	for range 600 {
		commit(t, later, 1)
	}
	_, err = later.End(t.Context(), own)
	require.NoError(t, err)
	var stands bool
	require.NoError(t, db.QueryRow("SELECT count(*) > 0 FROM journal_change c JOIN journal_decided d ON d.tid = c.tid AND d.commit_id = c.commit_id").Scan(&stands))
	assert.True(t, stands, "what is noted is of this history again")
}

// TestFollowerThatMayNotWrite: a user who may only read follows all the same. A tid that
// nobody has is closed by others; until then it waits, and its status says why.
func TestFollowerThatMayNotWrite(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	name := s.Name()
	st, db := openOn(t, s, s.DSN(name))
	for _, text := range []string{"CREATE USER reader", "GRANT SELECT ON " + name + ".* TO reader"} {
		_, err := db.Exec(text)
		require.NoError(t, err)
	}
	first := commit(t, st, 1)
	reader, own := openOn(t, s, strings.Replace(s.DSN(name), "root@", "reader@", 1))
	tx, held, _ := take(t, st, db, 1)
	last := commit(t, st, 1)
	read := func() []int64 {
		b, err := reader.Read(t.Context(), own, store.Place{}, 10, twoRealms)
		require.NoError(t, err)
		return tids(b)
	}
	assert.Equal(t, []int64{first}, read())
	status, err := reader.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, status.Blockers, 1)
	assert.Contains(t, status.Blockers[0].Session, "which this user may not see")
	require.NoError(t, tx.Rollback())
	for range 2 {
		assert.Equal(t, []int64{first}, read(), "it cannot know that nobody will")
	}
	status, err = reader.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, status.Blockers, 1)
	assert.Contains(t, status.Blockers[0].Session, fmt.Sprintf("nobody: tid %d was rolled back, and this process may not close it", held))
	assert.Contains(t, status.Blockers[0].Session, "1142")
	assert.True(t, status.HeldBack(first))

	c, err := reader.Begin(t.Context())
	require.NoError(t, err)
	_, _, err = reader.Append(t.Context(), c, "x", "o", changes(1, "a"), true)
	assert.ErrorContains(t, err, "execute command denied")
	c.Rollback()

	_, err = st.Read(t.Context(), db, store.Place{}, 10, twoRealms)
	require.NoError(t, err)
	assert.Equal(t, []int64{first, held, last}, read())
	status, err = reader.Status(t.Context())
	require.NoError(t, err)
	assert.Empty(t, status.Blockers)
}

// TestProcedures: those that a restored dump lacks are made anew, unless the application
// makes all tables; one that would cut what is too long is refused.
func TestProcedures(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	dsn := s.DSN(s.Name())
	openOn(t, s, dsn)
	reopen := func(parameters string, manual bool) (*sql.DB, error) {
		db := s.Open(t, dsn+parameters)
		_, err := store.Open(t.Context(), db, store.Config{Dialect: s.Dialect, Realms: twoRealms, Manual: manual})
		return db, err
	}
	for _, name := range []string{"journal_begin", "journal_append"} {
		db, err := reopen("", true)
		require.NoError(t, err)
		_, err = db.Exec("DROP PROCEDURE " + name)
		require.NoError(t, err)
		_, err = reopen("", true)
		assert.ErrorIs(t, err, store.ErrSchema)
		assert.ErrorContains(t, err, name)
		_, err = reopen("", false)
		assert.NoError(t, err)
		_, err = reopen("", true)
		assert.NoError(t, err)
	}
	text, err := store.Text("mysql", "", []string{"ticket"}, false)
	require.NoError(t, err)
	makeProcedures := func(db *sql.DB, how func(string) string) {
		for statement := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
			if strings.Contains(statement, "PROCEDURE") {
				_, err := db.Exec(how(statement))
				require.NoError(t, err, statement)
			}
		}
	}
	db := s.Open(t, dsn)
	makeProcedures(db, func(statement string) string { // as another formats it
		return strings.ReplaceAll(strings.ReplaceAll(statement, "\t", "   "), "\n", "\r\n")
	})
	_, err = reopen("", true)
	assert.NoError(t, err)
	makeProcedures(db, func(statement string) string {
		return strings.ReplaceAll(statement, "journal_lock", "`another`.journal_lock")
	})
	_, err = reopen("", true)
	assert.ErrorIs(t, err, store.ErrSchema)
	assert.ErrorContains(t, err, "not those of this library: journal_append")
	st, _ := openOn(t, s, dsn)
	commit(t, st, 1)
	_, err = reopen("", true)
	assert.NoError(t, err)
	lax := s.Open(t, dsn+"&sql_mode=%27%27")
	for statement := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		_, err := lax.Exec(statement)
		require.NoError(t, err, statement)
	}
	_, err = reopen("", true)
	assert.ErrorIs(t, err, store.ErrUnsupported)
	assert.ErrorContains(t, err, "would cut what is too long")
}

// TestDecidedAfterARestore: a process that runs through a restore does not read all tids since
// that at each look for one that is missing.
func TestDecidedAfterARestore(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	st, db := openOn(t, s, s.DSN(s.Name()))
	db.SetMaxOpenConns(1) // so that its statistics are seen
	ctx := t.Context()
	end := func() (p store.Place, read int64) {
		t.Helper()
		before := rowsRead(t, db, s.Dialect)
		p, err := st.End(ctx, db)
		require.NoError(t, err)
		return p, rowsRead(t, db, s.Dialect) - before
	}
	putMany(t, db, "m", 1, 1000)
	end()
	putMany(t, db, "m", 1001, 9000)
	end()
	_, err := db.Exec("DELETE FROM journal_change WHERE tid > 1000") // a backup of that time is restored
	require.NoError(t, err)
	_, err = db.Exec("UPDATE journal_decided SET tid = 1000, commit_id = 'm1000'")
	require.NoError(t, err)
	putMany(t, db, "n", 1001, 8000)
	for at := (store.Place{TID: 1000, CommitID: "m1000"}); at.TID < 8000; { // as one who follows
		b, err := st.Read(ctx, db, at, 500, twoRealms)
		require.NoError(t, err)
		require.NotEmpty(t, b.Places)
		at = b.Places[len(b.Places)-1]
	}
	end()
	assert.Equal(t, 8000, one[int](t, db, "SELECT tid FROM journal_decided"))
	putMany(t, db, "n", 8001, 8900) // too few to be noted
	end()
	p, read := end()
	assert.Equal(t, store.Place{TID: 8900, CommitID: "n8900"}, p)
	assert.Less(t, read, int64(500))
	assert.Equal(t, 8000, one[int](t, db, "SELECT tid FROM journal_decided"))
}

// TestFindReadsWhatCameAfter: what became of a transaction without its tid is looked for above
// the place from which on it may be, and everywhere if that place is of another history.
func TestFindReadsWhatCameAfter(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	st, db := openOn(t, s, s.DSN(s.Name()))
	db.SetMaxOpenConns(1)
	putMany(t, db, "m", 1, 5000)
	end := store.Place{TID: 4900, CommitID: "m4900"}
	for _, c := range []struct {
		commitID string
		after    store.Place
		want     int64
		most     int64
	}{
		{"none", end, 0, 500},
		{"m4950", end, 4950, 500},
		{"m7", store.Place{TID: 4900, CommitID: "of another history"}, 7, 20_000},
		{"m7", store.Place{TID: 9000, CommitID: "m9000"}, 7, 20_000},
		{"m7", store.Place{}, 7, 20_000},
	} {
		before := rowsRead(t, db, s.Dialect)
		found, landed, err := st.Find(t.Context(), c.commitID, 0, c.after, store.Session{})
		require.NoError(t, err)
		assert.Equal(t, c.want, found)
		assert.Equal(t, c.want != 0, landed)
		assert.Less(t, rowsRead(t, db, s.Dialect)-before, c.most, "%s after %v", c.commitID, c.after)
	}
}
