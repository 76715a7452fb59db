package record

import (
	"context"
	"database/sql"
	"time"

	"github.com/tracbus/tracbus"
)

// PlainTables are the journals that the proposal's reader reads in an attack. On
// MariaDB it is one of AUTO_INCREMENT, as the proposal has it, because from a
// journal whose tids stand in the order of the commits even that reader loses
// one in fifty thousand only. On SQLite, where one transaction writes at a time,
// it loses nothing.
var PlainTables = map[tracbus.Dialect]string{
	tracbus.SQLite:     "journal_change",
	tracbus.PostgreSQL: "journal_change",
	tracbus.MySQL:      "plain_journal",
}

// ReadPlainly is the reader of Trac's journaling proposal: all tids greater than
// the last one.
func ReadPlainly(ctx context.Context, db *sql.DB, d tracbus.Dialect, log *Log) {
	var last int64
	started := false
	for ; ctx.Err() == nil; Sleep(ctx, 50*time.Millisecond) {
		if !started {
			row := db.QueryRowContext(ctx, "SELECT COALESCE(MAX(tid), 0) FROM "+PlainTables[d])
			if row.Scan(&last) == nil {
				started = true
				_ = log.Write(Line{Word: PlainStart, Place: Place{TID: last}})
			}
			continue
		}
		tids, _ := ReadTIDs(ctx, db, marks(d, "SELECT DISTINCT tid FROM "+PlainTables[d]+" WHERE tid > ? ORDER BY tid"), last)
		for _, tid := range tids {
			_ = log.Write(Line{Word: PlainRead, Place: Place{TID: tid}})
			last = tid
		}
	}
}

// ReadTIDs reads a column of tids.
func ReadTIDs(ctx context.Context, db *sql.DB, query string, args ...any) (tids []int64, err error) {
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

// CheckPlain holds what the plain readers read against the table as it is at
// last.
func CheckPlain(tids []int64, runs []Run) (v *Verdict, read int) {
	v = &Verdict{Index: map[Place]int{}}
	for i, tid := range tids {
		c := Change{Place: Place{TID: tid}, Resource: "a transaction", By: "anybody"}
		v.Truth.Changes = append(v.Truth.Changes, c)
		v.Index[c.Place] = i
	}
	for _, r := range runs {
		if starts := r.With(PlainStart); len(starts) > 0 {
			lines := r.With(PlainRead)
			read += len(lines)
			v.checkSequence(r.Name, true, starts[0].TID, lines)
		}
	}
	return v, read
}
