package follow

import (
	"context"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// Reach waits until the sink was fed up to a tid of the journal's history as it is now,
// or ctx ends, or the journal could not be read for as long as a lock may be waited for.
// The place that was reached may be of a history that is gone, in which another
// transaction had the tid: so it does not count before the database was seen to have that
// place, by a read that began after this call, or else by a look.
func (f *Follower) Reach(ctx context.Context, tid int64) error {
	if tid <= 0 {
		return nil
	}
	most := f.config.Store.Limits().Lock
	f.mu.Lock()
	begun := f.reads
	f.mu.Unlock()
	var failing time.Time
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, most/4) {
		f.mu.Lock()
		place, stands, moved, err, since := f.place, f.verified > begun, f.moved, f.err, f.since
		f.mu.Unlock()
		reached := place.TID >= tid
		if reached && !stands {
			var failed error
			if stands, failed = f.stands(ctx, place); failed == nil {
				failing = time.Time{}
			} else if failing.IsZero() {
				failing = time.Now()
			}
			if err == nil { // Run may not run
				err, since = failed, failing
			}
			signal(f.kick) // it is about to find that the history went back
		}
		switch {
		case reached && stands:
			return nil
		case err != nil && time.Since(since) >= most:
			return fmt.Errorf("the journal cannot be followed for %v: %w", time.Since(since).Round(time.Millisecond), err)
		}
		signal(f.hurry)
		again := time.NewTimer(pause)
		select {
		case <-moved:
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		}
		again.Stop()
	}
}

// stands says whether the journal has a place, or is pruned up to there if its commit id
// is not known.
func (f *Follower) stands(ctx context.Context, p store.Place) (bool, error) {
	switch {
	case p.CommitID != "":
		return f.config.Store.Has(ctx, f.config.DB, p)
	case p.TID == 0:
		return true, nil
	}
	floor, err := f.config.Store.PrunedTo(ctx, f.config.DB)
	return floor >= p.TID, err
}

// next reads what is next after the place. Only the goroutine that reads calls it.
func (f *Follower) next(ctx context.Context) (store.Batch, error) {
	f.mu.Lock()
	f.reads++
	n := f.reads
	f.mu.Unlock()
	if f.place.CommitID == "" { // the read cannot compare it
		stands, err := f.stands(ctx, f.place)
		if err == nil && !stands {
			err = fmt.Errorf("%w: it was pruned up to tid %d, and is not", store.ErrRewound, f.place.TID)
		}
		if err != nil {
			return store.Batch{}, err
		}
	}
	f.reading = f.sink.Reading()
	batch, err := f.read(ctx, f.place)
	if err == nil {
		f.mu.Lock()
		f.verified = n
		f.mu.Unlock()
	}
	return batch, err
}
