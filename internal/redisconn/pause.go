package redisconn

import (
	"context"
	"time"
)

// WithoutDeadline returns ctx, but one that does not say when it ends: a connection
// would take that for a time-out, and report it shortly before ctx ends.
func WithoutDeadline(ctx context.Context) context.Context { return undated{ctx} }

type undated struct{ context.Context }

// Deadline says that there is none.
func (undated) Deadline() (at time.Time, is bool) { return time.Time{}, false }

// within bounds a context by a client's time-out, of which a negative one is none.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

// Pause waits before the next try: 25 ms before try 0, twice as long before each
// one after it, and never longer than limit. It returns false if ctx ends first.
func Pause(ctx context.Context, try int, limit time.Duration) bool {
	timer := time.NewTimer(min(25*time.Millisecond<<min(try, 10), limit))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
