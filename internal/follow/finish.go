package follow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// Finish feeds the sink what this process committed, in the place of Run, which
// has ended for good.
func (f *Follower) Finish(ctx context.Context) error {
	if f.config.WriteOnly {
		return f.hush(ctx)
	}
	select {
	case f.finishing <- struct{}{}:
		defer func() { <-f.finishing }()
	case <-ctx.Done():
		return fmt.Errorf("another Close has not returned: %w", ctx.Err())
	}
	for {
		last, err := f.lastCommitted(ctx)
		if err == nil && f.finished(last) && !f.inDoubt() {
			return nil
		}
		if err == nil {
			err = f.follow(ctx)
		}
		if err == nil && f.finished(last) {
			return nil
		}
		select { // somebody holds it back, a queue is full, or the database is away
		case <-f.sink.Room():
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the bus has all up to tid %d, and not up to tid %d: %w", f.place.TID, last.TID, errors.Join(ctx.Err(), err))
		}
	}
}

// finished says whether the sink has all up to a place. Only the goroutine that
// reads calls it.
func (f *Follower) finished(last store.Place) bool {
	return f.place.TID >= last.TID && f.sink.HasRead(last.TID)
}

// inDoubt says whether this process has committed what may be of another history than the
// place, and nothing was read since.
func (f *Follower) inDoubt() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.doubtful > 0 && f.verified <= f.doubtful
}

// lastCommitted returns the last place that this process committed, as the
// database has it: it may have been put back, and the application may have rolled
// back what it flushed. Only the goroutine that reads calls it.
func (f *Follower) lastCommitted(ctx context.Context) (store.Place, error) {
	f.mu.Lock()
	committed, flushed := f.committed, f.flushed
	f.mu.Unlock()
	for _, p := range []store.Place{flushed, committed} {
		if p.TID == 0 || p == flushed && flushed.TID < committed.TID {
			continue
		}
		if p.TID <= f.place.TID {
			return p, nil
		}
		exists, err := f.config.Store.Has(ctx, f.config.DB, p)
		if err != nil || exists {
			return p, err
		}
		floor, err := f.config.Store.PrunedTo(ctx, f.config.DB)
		if err != nil || floor >= p.TID { // listeners have to learn of that
			return p, err
		}
	}
	return store.Place{}, nil
}
