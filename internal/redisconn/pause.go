package redisconn

import (
	"context"
	"time"
)

// WithoutDeadline returns a context that ends with ctx, but does not say when: a
// connection would take that for a time-out, and report it shortly before ctx ends.
func WithoutDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	return life, func() { stop(); end() }
}

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
