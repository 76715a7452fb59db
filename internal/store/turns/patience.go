package turns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/sqltext"
)

// Patiently repeats what SQLite refuses because somebody else writes, for those
// who open it without a busy timeout, or with a short one: for as long as most.
func Patiently(ctx context.Context, most time.Duration, f func() error) error {
	err := f()
	if !sqltext.IsBusy(err) {
		return err
	}
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	for pause := time.Millisecond; sqltext.IsBusy(err); pause = min(2*pause, 50*time.Millisecond) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-timeout.C:
			timer.Stop()
			return fmt.Errorf("another transaction has been writing for %v: %w", most, err)
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
