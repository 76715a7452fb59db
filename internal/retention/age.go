package retention

import (
	"context"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
)

// madeBefore returns the highest tid up to which all changes after a tid were made before a
// time, as far as they say, but none above upTo. A change that is dated after now tells
// nothing: it was made between its neighbours, for tids follow the commits. So it goes with
// the last one before the time, and stays if no such one comes after it. Rows that are of no
// change tell nothing either.
//
// It goes through the oldest, some at a time, until one is younger or after upTo: there is no
// index by time, and a database that is asked for all at once may look at every row there is.
func (r Rows) madeBefore(ctx context.Context, since, now time.Time, after, upTo int64) (tid int64, err error) {
	for tid = after; tid < upTo; {
		var last, young, old *int64 // null if there are none
		err := limit.QueryRow(ctx, r.db, r.store.SQL("SELECT max(tid) FROM (SELECT tid FROM {journal_change} WHERE tid > ? ORDER BY tid LIMIT ?) oldest"), after, pruneRows).Scan(&last)
		if err != nil || last == nil {
			return tid, err
		}
		err = limit.QueryRow(ctx, r.db, r.store.SQL("SELECT min(tid) FROM {journal_change} WHERE tid > ? AND tid <= ? AND changes > 0 AND time >= ? AND time <= ?"),
			after, *last, since.UnixMicro(), now.UnixMicro()).Scan(&young)
		if err != nil {
			return tid, err
		}
		before := *last + 1
		if young != nil {
			before = *young
		}
		err = limit.QueryRow(ctx, r.db, r.store.SQL("SELECT max(tid) FROM {journal_change} WHERE tid > ? AND tid < ? AND changes > 0 AND time < ?"),
			after, before, since.UnixMicro()).Scan(&old)
		if err != nil {
			return tid, err
		}
		if old != nil {
			tid = *old
		}
		if young != nil {
			break
		}
		after = *last
		limit.Progress(ctx)
	}
	return min(tid, upTo), nil
}
