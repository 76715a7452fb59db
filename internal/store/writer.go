package store

import (
	"context"
	"fmt"
	"time"
)

// AcquireWriter lets one transaction of this process write at a time, in the order of
// their calls, if the database would let them compete for that. ReleaseWriter is
// called when the transaction has ended. The wait for others is bounded, because one that
// waits for itself should learn of it.
func (s *Store) AcquireWriter(ctx context.Context) error {
	if s.writer == nil {
		return nil
	}
	select {
	case s.writer <- struct{}{}:
		return nil
	default:
	}
	timeout := time.NewTimer(s.limits.Writer)
	defer timeout.Stop()
	select {
	case s.writer <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("another transaction of this process is open: %w", ctx.Err())
	case <-timeout.C:
		return fmt.Errorf("another transaction of this process has been open for %v: %s has room for one, so no Update may wait within another", s.limits.Writer, s.dialect.title)
	}
}

// ReleaseWriter lets the next transaction write.
func (s *Store) ReleaseWriter() {
	if s.writer != nil {
		<-s.writer
	}
}
