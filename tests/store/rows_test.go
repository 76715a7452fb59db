package store_test

import (
	"database/sql"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
)

// document is one of a change of no field.
const document = `{"changed":[],"state":{}}`

// put writes a change as if somebody had committed it with a tid. counts says how many its
// transaction has.
func put(t *testing.T, st *store.Store, db *sql.DB, tid int64, seq, counts int, realm, id string, made int64) {
	t.Helper()
	_, err := db.Exec(st.SQL(`INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, comment, parts, document)
		VALUES (?, ?, ?, ?, 'o', ?, ?, 'changed', ?, '', '', 0, '', 0, ?)`), tid, seq, counts, "m"+strconv.FormatInt(tid, 10), realm, id, made, document)
	require.NoError(t, err)
}

// count moves the counter of tids to one that was put, where there is a counter.
func count(t *testing.T, db *sql.DB, dialect string, tid int64) {
	t.Helper()
	var err error
	switch dialect {
	case "postgresql":
		_, err = db.Exec("SELECT setval('journal_tid', $1)", tid)
	case "mysql":
		_, err = db.Exec("UPDATE journal_head SET tid = ?", tid)
	}
	require.NoError(t, err)
}
