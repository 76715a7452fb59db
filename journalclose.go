package tracbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// Wait returns when every listener of this process has been told of all changes
// up to a tid, or has given up on them, or when ctx ends. It waits for those
// that transactions of other processes hold back too, but not for listeners with
// the scope [Durable]: see [Registration.Wait]. A listener that calls it waits for
// itself.
func (j *Journal) Wait(ctx context.Context, tid int64) error {
	if err := j.reach(ctx, tid); err != nil {
		return fmt.Errorf("wait for tid %d: %w", tid, err)
	}
	for _, q := range j.bus.allQueues() {
		if err := q.Wait(ctx, tid); err != nil {
			return fmt.Errorf("wait for tid %d to be told: %w", tid, err)
		}
	}
	return nil
}

// reach waits until the bus was told up to a tid.
func (j *Journal) reach(ctx context.Context, tid int64) error {
	for {
		j.mu.Lock()
		reached, moved := j.place.TID >= tid, j.moved
		j.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close refuses new transactions, waits for open ones, ends Run, and tells the
// bus what this process committed and Run has not told, whether it was still
// running or not. It returns by the deadline of ctx, and then says what was not
// done. The bus and the database stay open: close the bus next, and then the
// database.
func (j *Journal) Close(ctx context.Context) error {
	j.mu.Lock()
	if !j.closed {
		j.closed = true
		if j.opened == 0 {
			close(j.idle)
		}
	}
	running, stop := j.running, j.stop
	j.mu.Unlock()

	select {
	case <-j.idle:
	case <-ctx.Done():
		if running != nil {
			stop()
		}
		return fmt.Errorf("close journal: transactions are open: %w", ctx.Err())
	}
	if running != nil {
		stop()
		select {
		case <-running:
		case <-ctx.Done():
			return fmt.Errorf("close journal: Run has not returned: %w", ctx.Err())
		}
	}
	if err := j.finish(ctx); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// finish tells the bus what this process committed, in the place of Run.
func (j *Journal) finish(ctx context.Context) error {
	j.finishing.Lock() // another Close may be at it
	defer j.finishing.Unlock()
	f := follower{Journal: j}
	for {
		own, err := f.lastOwn(ctx)
		if err == nil && f.place.TID >= own.TID && f.bus.caughtUp(own.TID) {
			return nil
		}
		if err == nil {
			err = f.follow(ctx)
		}
		if err == nil && f.place.TID >= own.TID && f.bus.caughtUp(own.TID) {
			return nil
		}
		select { // somebody holds it back, a queue is full, or the database is away
		case <-f.bus.room:
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the bus was told up to tid %d, and not to tid %d: %w", f.place.TID, own.TID, errors.Join(ctx.Err(), err))
		}
	}
}

// lastOwn returns the last that this process committed, as the database has it:
// it may have been put back, and the application may have rolled back what it
// flushed.
func (j *Journal) lastOwn(ctx context.Context) (store.Place, error) {
	j.mu.Lock()
	own, said := j.own, j.said
	j.mu.Unlock()
	for _, p := range []store.Place{said, own} {
		if p.TID == 0 || p == said && said.TID < own.TID {
			continue
		}
		if p.TID <= j.place.TID {
			return p, nil
		}
		stands, err := j.store.Has(ctx, j.db, p)
		if err != nil || stands {
			return p, err
		}
	}
	return store.Place{}, nil
}
