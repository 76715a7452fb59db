package store

import (
	"context"
	"fmt"
	"time"
)

// turnPatience bounds the wait for other transactions of this process: one that
// waits for itself should learn of it.
const turnPatience = 30 * time.Second

// TakeTurn lets one transaction of this process write at a time, in the order of
// their calls, if the database would let them compete for it. Whoever got a turn
// gives it back with GiveTurn.
func (s *Store) TakeTurn(ctx context.Context) error {
	if s.turn == nil {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
		return nil
	default:
	}
	timeout := time.NewTimer(turnPatience)
	defer timeout.Stop()
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("another transaction of this process is open: %w", ctx.Err())
	case <-timeout.C:
		return fmt.Errorf("another transaction of this process has been open for %v: %s has room for one, so no Update may wait within another", turnPatience, s.dialect.title)
	}
}

// GiveTurn lets the next transaction write.
func (s *Store) GiveTurn() {
	if s.turn != nil {
		<-s.turn
	}
}
