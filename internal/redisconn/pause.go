package redisconn

import (
	"context"
	"time"
)

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
