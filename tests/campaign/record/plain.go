package tracbus_test

import (
	"context"
	"database/sql"
	"time"

	"github.com/tracbus/tracbus"
)

// plainTables are the journals that the proposal's reader reads in an attack. On
// MariaDB it is one of AUTO_INCREMENT, as the proposal has it, because from a
// journal whose tids stand in the order of the commits even that reader loses
// one in fifty thousand only. On SQLite, where one transaction writes at a time,
// it loses nothing.
var plainTables = map[tracbus.Dialect]string{
	tracbus.SQLite:     "journal_transaction",
	tracbus.PostgreSQL: "journal_transaction",
	tracbus.MySQL:      "plain_journal",
}

// readPlainly is the reader of Trac's journaling proposal: all tids greater than
// the last one.
func readPlainly(ctx context.Context, db *sql.DB, d tracbus.Dialect, log *attackLog) {
	var last int64
	started := false
	for ; ctx.Err() == nil; attackWait(ctx, 50*time.Millisecond) {
		if !started {
			row := db.QueryRowContext(ctx, "SELECT COALESCE(MAX(tid), 0) FROM "+plainTables[d])
			if row.Scan(&last) == nil {
				started = true
				_ = log.write(attackLine{Word: plainStart, attackPlace: attackPlace{TID: last}})
			}
			continue
		}
		tids, _ := readTIDs(ctx, db, attackMarks(d, "SELECT tid FROM "+plainTables[d]+" WHERE tid > ? ORDER BY tid"), last)
		for _, tid := range tids {
			_ = log.write(attackLine{Word: plainRead, attackPlace: attackPlace{TID: tid}})
			last = tid
		}
	}
}

func readTIDs(ctx context.Context, db *sql.DB, query string, args ...any) (tids []int64, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var tid int64
		if err := rows.Scan(&tid); err != nil {
			return nil, err
		}
		tids = append(tids, tid)
	}
	return tids, rows.Err()
}

// checkPlain holds what the plain readers read against the table as it is at
// last.
func checkPlain(tids []int64, runs []attackRun) (v *attackVerdict, read int) {
	v = &attackVerdict{index: map[attackPlace]int{}}
	for i, tid := range tids {
		c := attackChange{attackPlace: attackPlace{TID: tid}, resource: "a transaction", by: "anybody"}
		v.truth.changes = append(v.truth.changes, c)
		v.index[c.attackPlace] = i
	}
	for _, r := range runs {
		if starts := r.with(plainStart); len(starts) > 0 {
			lines := r.with(plainRead)
			read += len(lines)
			v.checkSequence(r.name, true, starts[0].TID, lines)
		}
	}
	return v, read
}
