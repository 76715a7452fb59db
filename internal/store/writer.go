package store

import (
	"context"
	"fmt"
	"time"
)

// writerPatience bounds the wait for other transactions of this process: one that
// waits for itself should learn of it.
const writerPatience = 30 * time.Second

// AcquireWriter lets one transaction of this process write at a time, in the order of
// their calls, if the database would let them compete for that. ReleaseWriter is
// called when the transaction has ended.
func (s *Store) AcquireWriter(ctx context.Context) error {
	if s.writer == nil {
		return nil
	}
	select {
	case s.writer <- struct{}{}:
		return nil
	default:
	}
	timeout := time.NewTimer(writerPatience)
	defer timeout.Stop()
	select {
	case s.writer <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("another transaction of this process is open: %w", ctx.Err())
	case <-timeout.C:
		return fmt.Errorf("another transaction of this process has been open for %v: %s has room for one, so no Update may wait within another", writerPatience, s.dialect.title)
	}
}

// ReleaseWriter lets the next transaction write.
func (s *Store) ReleaseWriter() {
	if s.writer != nil {
		<-s.writer
	}
}
