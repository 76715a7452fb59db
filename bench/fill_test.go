package bench_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus"
)

// changeColumns are those of the journal's table, but for the first.
const changeColumns = "seq, changes, commit_id, origin, realm, id, CHANGE, time, author, ipnr, authenticated, env, comment, parts, document"

// fill grows a journal to so many changes as if another process had committed them. The
// first ones are committed one by one, and the database makes the rest of them.
func (k *tracker) fill(ctx context.Context, j *tracbus.Journal, want int64) error {
	first, have, err := k.ends(ctx)
	commit := k.recording(j)
	for err == nil && have < min(want, 100) {
		if err = commit(ctx); err == nil {
			first, have, err = k.ends(ctx)
		}
	}
	if err != nil || have >= want {
		return err
	}
	quote := `"`
	if k.dialect == tracbus.MySQL {
		quote = "`"
	}
	columns := strings.Replace(changeColumns, "CHANGE", quote+"change"+quote, 1)
	for have < want {
		more := min(have-first+1, want-have, 50_000)
		_, err := k.db.ExecContext(ctx, fmt.Sprintf("INSERT INTO journal_change (tid, %s) SELECT tid + %d, %s FROM journal_change WHERE tid > %d",
			columns, more, columns, have-more))
		if err != nil {
			return err
		}
		have += more
	}
	after := map[tracbus.Dialect][]string{
		tracbus.PostgreSQL: {"SELECT setval('journal_tid', %d)", "VACUUM ANALYZE journal_change -- %d"}, // as its daemon does in time
		tracbus.SQLite:     {"PRAGMA wal_checkpoint(TRUNCATE) -- %d"},
	}
	for _, statement := range after[k.dialect] {
		if _, err := k.db.ExecContext(ctx, fmt.Sprintf(statement, have)); err != nil {
			return err
		}
	}
	return nil
}

// ends returns the first tid and the last.
func (k *tracker) ends(ctx context.Context) (first, last int64, err error) {
	err = k.db.QueryRowContext(ctx, "SELECT coalesce((SELECT min(tid) FROM journal_change), 1), coalesce((SELECT max(tid) FROM journal_change), 0)").Scan(&first, &last)
	return first, last, err
}
