package tracbus_test

import (
	"context"
	"time"
)

// attackWait waits for a time, or until ctx ends.
func attackWait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
