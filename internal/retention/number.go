package retention

import (
	"context"
	"database/sql"
	"errors"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store"
)

// allowed is what may go so that a number of the last transactions stay.
type allowed struct {
	upTo    int64   // a tid that this is not above
	most    int64   // how many after the floor, if they were counted
	counted counted // all after the floor, if they were
}

// counted is that there are n transactions from one to another.
type counted struct {
	n     int64 // 0: it is not known
	first int64
	last  store.Place
}

// number returns what may go after the floor so that n transactions up to the end stay.
//
// Where every tid up to the end is a row, only those that are of no change have to be
// counted: those after end - n, then as many before as were found, and so on. On PostgreSQL
// tids have gaps that nobody knows of. There it counts every transaction once, and remembers
// the number.
func (r Rows) number(ctx context.Context, floor int64, end store.Place, n int64) (a allowed, err error) {
	a.upTo = end.TID - n
	if !r.store.Contiguous() {
		if n > 1 && a.upTo > floor { // the end itself is a transaction
			a.counted, err = r.count(ctx, floor, end)
			a.most = a.counted.n - n
			if a.most <= 0 {
				return allowed{}, err
			}
		}
		return a, err
	}
	for above := end.TID; a.upTo > floor; {
		var none int64
		err := limit.QueryRow(ctx, r.db, r.store.SQL("SELECT count(*) FROM {journal_change} WHERE realm = '' AND id = '' AND tid > ? AND tid <= ?"), a.upTo, above).Scan(&none)
		if err != nil || none == 0 {
			return a, err
		}
		above, a.upTo = a.upTo, a.upTo-none
	}
	return a, nil
}

// first bounds a plan by the first of what may go, and says what stays.
func (r Rows) first(ctx context.Context, all allowed, p *plan) error {
	n, last, err := r.some(ctx, p.floor, p.upTo, all.most)
	if err != nil {
		return err
	}
	if n == all.most {
		p.upTo = last
	}
	p.stay = counted{all.counted.n - n, 0, all.counted.last}
	return nil
}

// countRows is how many one statement counts.
const countRows = 100_000

// some counts transactions after a tid, up to another and to a number of them; it returns
// the last too.
func (r Rows) some(ctx context.Context, after, upTo, most int64) (n, last int64, err error) {
	for n < most {
		var found int64
		var to *int64 // null if there are none
		step := min(most-n, countRows)
		err := limit.QueryRow(ctx, r.db, r.store.SQL("SELECT count(*), max(tid) FROM (SELECT tid FROM {journal_change} WHERE seq = 0 AND tid > ? AND tid <= ? ORDER BY tid LIMIT ?) oldest"),
			after, upTo, step).Scan(&found, &to)
		if err != nil || to == nil {
			return n, last, err
		}
		n, last, after = n+found, *to, *to
		if found < step {
			break
		}
		limit.Progress(ctx)
	}
	return n, last, nil
}

// oldest is the first transaction after a tid.
const oldest = "SELECT tid FROM {journal_change} WHERE seq = 0 AND tid > ? ORDER BY tid LIMIT 1"

// count counts the transactions after the floor up to the end, of which those that are in
// journal_count were counted before. What is there stays true of the history that has both
// its first and its last transaction, which is checked: others may have pruned since, or
// deleted by hand, and the database may have been put back.
func (r Rows) count(ctx context.Context, floor int64, end store.Place) (c counted, err error) {
	var first int64
	if err := limit.QueryRow(ctx, r.db, r.store.SQL(oldest), floor).Scan(&first); err != nil {
		return c, err
	}
	err = limit.QueryRow(ctx, r.db, r.store.SQL("SELECT n, first, tid, commit_id FROM {journal_count} WHERE one = 1")).Scan(&c.n, &c.first, &c.last.TID, &c.last.CommitID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, err
	}
	known := c.n > 0 && c.first == first && c.last.TID <= end.TID
	if known {
		if known, err = r.store.Has(ctx, r.db, c.last); err != nil {
			return c, err
		}
	}
	if !known {
		c = counted{0, first, store.Place{TID: first - 1}}
	}
	more, _, err := r.some(ctx, c.last.TID, end.TID, unbounded)
	if err != nil || more == 0 {
		return c, err
	}
	c.n, c.last = c.n+more, end
	return c, r.store.Transact(ctx, func(conn *store.Conn) error { return r.remember(ctx, conn, c) })
}

// remember keeps a number for the next time.
func (r Rows) remember(ctx context.Context, conn *store.Conn, c counted) error {
	_, err := conn.ExecContext(ctx, r.store.SQL("UPDATE {journal_count} SET n = ?, first = ?, tid = ?, commit_id = ? WHERE one = 1"), c.n, c.first, c.last.TID, c.last.CommitID)
	return err
}
