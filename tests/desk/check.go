package desk

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
)

// CheckJournal looks for what must never be in a journal's tables.
func CheckJournal(t *testing.T, db *sql.DB, dialect string, realms ...string) {
	t.Helper()
	ctx := testkit.Within(t)
	count := func(query string) (n int64) {
		require.NoError(t, db.QueryRowContext(ctx, query).Scan(&n), query)
		return n
	}
	for _, realm := range realms {
		assert.Zero(t, count(`SELECT count(*) FROM `+realm+`_journal j WHERE NOT EXISTS (SELECT 1 FROM journal_transaction t WHERE t.tid = j.tid)`),
			"entries of %s without a transaction", realm)
		assert.Zero(t, count(`SELECT count(*) FROM `+realm+`_history h WHERE NOT EXISTS (SELECT 1 FROM `+realm+`_journal j WHERE j.tid = h.tid AND j.seq = h.seq AND j.id = h.id)`),
			"history of %s without an entry", realm)
		assert.Zero(t, count(`SELECT count(*) FROM journal_transaction t WHERE realms LIKE '%`+realm+`%' AND NOT EXISTS (SELECT 1 FROM `+realm+`_journal j WHERE j.tid = t.tid)`),
			"transactions without their entries of %s", realm)
	}
	assert.Zero(t, count(`SELECT count(*) - count(DISTINCT mark) FROM journal_transaction`), "marks that are not unique")
	floor := count(`SELECT floor FROM journal_facts`)
	assert.LessOrEqual(t, count(`SELECT count(*) FROM journal_facts`), int64(1), "facts")
	if dialect == "mysql" {
		head := count(`SELECT tid FROM journal_head`)
		assert.Equal(t, head-floor, count(`SELECT count(*) FROM journal_transaction WHERE tid > `+fmt.Sprint(floor)), "tids without a gap up to the counter %d", head)
	}
}
