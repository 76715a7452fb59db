// Package retention deletes the oldest changes of a journal. Its secret is how that
// holds up nobody, deceives no reader, and reads what goes, however much stays.
package retention

import (
	"context"
	"database/sql"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store"
)

// Rows are the rows of a journal's changes. Their methods may be called concurrently.
type Rows struct {
	store *store.Store
	db    *sql.DB
}

// Of returns the rows of a journal that is in a database.
func Of(s *store.Store, db *sql.DB) Rows { return Rows{s, db} }

// Rule says what is kept: what is younger than KeepFor, as many of the last transactions
// as KeepLast, and what a consumer is not done with until it is older than
// DropUnconsumedAfter. Zero means that this keeps nothing, or drops nothing.
type Rule struct {
	KeepFor             time.Duration
	KeepLast            int64
	DropUnconsumedAfter time.Duration
}

// Slowest returns, asked with q, the tid up to which every consumer is done; found says
// whether there are consumers.
type Slowest func(ctx context.Context, q store.SQL) (tid int64, found bool, err error)

// unbounded is above every tid.
const unbounded = 1 << 48

// pruneRows is how many transactions one DELETE takes: a longer one would hold
// locks for long.
const pruneRows = 1000

// Prune deletes what a rule does not keep, but never the last transaction. It returns how
// many transactions it deleted, also with an error. First it says in journal_facts up to
// where, so that no reader takes what is left for all there was. What was said there
// before and is not deleted yet, because a process died, goes too.
func (r Rows) Prune(ctx context.Context, rule Rule, slowest Slowest) (deleted int64, err error) {
	defer r.store.Within(r.store.Limits().Lock, &ctx, &err)()
	p, err := r.plan(ctx, rule, slowest)
	if err != nil {
		return 0, err
	}
	upTo := p.floor
	if p.upTo > p.floor {
		if upTo, err = r.raiseFloor(ctx, p, slowest); err != nil {
			return 0, err
		}
	}
	for after := int64(0); ; {
		limit.Progress(ctx)
		n, last, err := r.pruneSome(ctx, after, upTo)
		deleted += n
		if err != nil || last == 0 {
			return deleted, err
		}
		after = last
	}
}

// Foresee returns how many transactions Prune would delete now. Where tids have gaps it counts
// as Prune does, and remembers the number.
func (r Rows) Foresee(ctx context.Context, rule Rule, slowest Slowest) (n int64, err error) {
	defer r.store.Within(r.store.Limits().Lock, &ctx, &err)()
	p, err := r.plan(ctx, rule, slowest)
	if err != nil {
		return 0, err
	}
	err = limit.QueryRow(ctx, r.db, r.store.SQL("SELECT count(DISTINCT CASE WHEN changes > 0 THEN tid END) FROM {journal_change} WHERE tid <= ?"), max(p.upTo, p.floor)).Scan(&n)
	return n, err
}

// plan is what is to go, as of a moment before it does.
type plan struct {
	floor   int64   // up to which it is pruned
	upTo    int64   // up to which all may go
	dropped int64   // up to which it may although a consumer is not done with it
	stay    counted // what stays then, if it was counted
}

// plan looks only at what may go, and at what came since the last time.
func (r Rows) plan(ctx context.Context, rule Rule, slowest Slowest) (p plan, err error) {
	end, err := r.store.End(ctx, r.db)
	if err != nil {
		return p, err
	}
	if p.floor, err = r.store.PrunedTo(ctx, r.db); err != nil {
		return p, err
	}
	all, err := r.number(ctx, p.floor, end, max(rule.KeepLast, 1))
	if err != nil || all.upTo <= p.floor {
		return p, err
	}
	p.upTo = all.upTo
	now := time.Now()
	done, found, err := slowest(ctx, r.db)
	if err != nil {
		return p, err
	}
	if found && rule.DropUnconsumedAfter > 0 { // what is kept by its age need not be looked at
		if p.dropped, err = r.madeBefore(ctx, now.Add(-max(rule.DropUnconsumedAfter, rule.KeepFor)), now, p.floor, p.upTo); err != nil {
			return p, err
		}
	}
	if found {
		p.upTo = min(p.upTo, max(done, p.dropped))
	}
	if rule.KeepFor > 0 {
		if p.upTo, err = r.madeBefore(ctx, now.Add(-rule.KeepFor), now, p.floor, p.upTo); err != nil {
			return p, err
		}
	}
	if all.counted.n > 0 {
		err = r.first(ctx, all, &p)
	}
	return p, err
}

// raiseFloor raises the floor to what a plan says, or to that up to which all is still done
// with: since that was asked, somebody may have begun at the oldest change. Nobody can while
// the floor is locked. It returns what the floor is now.
func (r Rows) raiseFloor(ctx context.Context, p plan, slowest Slowest) (floor int64, err error) {
	err = r.store.Transact(ctx, func(conn *store.Conn) error {
		if err := r.store.LockFloor(ctx, conn); err != nil {
			return err
		}
		was, err := r.store.PrunedTo(ctx, conn)
		if err != nil {
			return err
		}
		done, found, err := slowest(ctx, conn)
		if err != nil {
			return err
		}
		to := p.upTo
		if found {
			to = min(to, max(done, p.dropped))
		}
		if floor = max(was, to); floor == was {
			return nil
		}
		if _, err = conn.ExecContext(ctx, r.store.SQL("UPDATE {journal_facts} SET floor = ? WHERE one = 1"), floor); err != nil {
			return err
		}
		if p.stay.n > 0 && was == p.floor && floor == p.upTo { // else it is another number
			if err := limit.QueryRow(ctx, conn, r.store.SQL(oldest), floor).Scan(&p.stay.first); err != nil {
				return err
			}
			return r.remember(ctx, conn, p.stay)
		}
		return nil
	})
	return floor, err
}

// pruneSome deletes some of the oldest transactions after a tid, up to another. It returns how
// many these were, and the last row's tid: 0 if there was none.
func (r Rows) pruneSome(ctx context.Context, after, upTo int64) (n, last int64, err error) {
	var some *int64 // null if there are none
	err = limit.QueryRow(ctx, r.db, r.store.SQL("SELECT max(tid), count(DISTINCT CASE WHEN changes > 0 THEN tid END) FROM (SELECT tid, changes FROM {journal_change} WHERE tid > ? AND tid <= ? ORDER BY tid LIMIT ?) oldest"),
		after, upTo, pruneRows).Scan(&some, &n)
	if err != nil || some == nil {
		return 0, 0, err
	}
	err = r.store.Transact(ctx, func(conn *store.Conn) error {
		result, err := conn.ExecContext(ctx, r.store.SQL("DELETE FROM {journal_change} WHERE tid > ? AND tid <= ?"), after, *some)
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		if rows == 0 { // another process was faster
			n = 0
		}
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	return n, *some, nil
}
