package tombstone

import (
	"context"
	"errors"

	"github.com/tracbus/tracbus/internal/limit"
)

// FirstGap moves a number and its identity to the last before the first that q does not
// show, and returns that one and the last of those that follow it and are not shown either;
// zero if there is none.
func (c *Closer) FirstGap(ctx context.Context, q limit.Querier, n *int64, id *string) (from, to int64, err error) {
	rows, err := q.QueryContext(ctx, c.All, *n)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var next int64
		var its string
		if err := rows.Scan(&next, &its); err != nil {
			return 0, 0, err
		}
		limit.Progress(ctx)
		if next > *n+1 {
			return *n + 1, next - 1, limit.Drain(ctx, rows)
		}
		*n, *id = next, its
	}
	return 0, 0, errors.Join(rows.Err(), rows.Close())
}

// noteEvery is how many numbers are decided before that is noted again: who comes later
// looks at no more than those.
const noteEvery = 1000

// Forget forgets what was noted last: the history went back.
func (c *Closer) Forget() { c.next.Store(0) }

// Note notes that all up to a number is decided, if that is far enough from what was noted
// last. Users that may not write leave it to others.
func (c *Closer) Note(ctx context.Context, n int64, id string) {
	next := c.next.Load()
	if n >= next && c.next.CompareAndSwap(next, n+noteEvery) {
		_ = c.Briefly(ctx, c.Mark, n, id, n)
	}
}
