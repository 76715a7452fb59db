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
	assert.Zero(t, count(`SELECT count(*) FROM (SELECT tid FROM journal_change WHERE changes > 0 GROUP BY tid
		HAVING count(*) <> max(changes) OR min(changes) <> max(changes) OR min(seq) <> 0 OR max(seq) <> count(*) - 1 OR count(DISTINCT commit_id) <> 1 OR count(DISTINCT origin) <> 1) t`),
		"transactions that are not whole")
	for _, realm := range realms {
		assert.Zero(t, count(`SELECT count(*) FROM `+realm+`_history h WHERE NOT EXISTS (SELECT 1 FROM `+realm+`_journal j WHERE j.tid = h.tid AND j.seq = h.seq AND j.id = h.id)`),
			"history of %s without an entry", realm)
	}
	assert.Zero(t, count(`SELECT count(DISTINCT tid) - count(DISTINCT commit_id) FROM journal_change`), "commit ids that are not unique")
	floor := count(`SELECT floor FROM journal_facts`)
	assert.LessOrEqual(t, count(`SELECT count(*) FROM journal_facts`), int64(1), "facts")
	if dialect == "mysql" {
		decided := max(floor, count(`SELECT tid FROM journal_decided`))
		assert.Equal(t, decided-floor, count(fmt.Sprintf(`SELECT count(DISTINCT tid) FROM journal_change WHERE tid > %d AND tid <= %d`, floor, decided)), "tids without a gap up to %d, which are decided", decided)
		assert.Zero(t, count(`SELECT count(*) FROM journal_change WHERE changes = 0 AND (seq <> 0 OR realm <> '' OR document <> '')`), "tombstones that say something")
	}
}
