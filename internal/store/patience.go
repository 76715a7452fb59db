package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/sqltext"
)

// patience is how long SQLite's one place for a writer is waited for. It is long
// enough for any queue of writers, and short enough for a program that waits for
// itself to say so.
const patience = 30 * time.Second

// patiently repeats what SQLite refuses because somebody else writes, for those
// who open it without a busy timeout, or with a short one.
func (s *Store) patiently(ctx context.Context, f func() error) error {
	err := f()
	if !s.dialect.oneWriter || !sqltext.IsBusy(err) {
		return err
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for pause := time.Millisecond; sqltext.IsBusy(err); pause = min(2*pause, 50*time.Millisecond) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-timeout.C:
			timer.Stop()
			return fmt.Errorf("another transaction has been writing for %v: %w", patience, err)
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("another transaction is writing: %w", ctx.Err())
		}
		err = f()
	}
	if err != nil && errors.Is(err, ctx.Err()) { // it ended in the midst of a try
		return fmt.Errorf("another transaction is writing: %w", err)
	}
	return err
}
