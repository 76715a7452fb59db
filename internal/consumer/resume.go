package consumer

import (
	"context"
	"fmt"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// Where a consumer goes on if the journal's history went back, or was pruned. That it
// went back is noticed by lookBack and begin in this file, by Runner.compare from the
// consumer's row, by the lease if the cursor is another than was stored ([ErrMoved]),
// and by the follower, through [Memory.Rewound]. Whoever notices it, the listener gets
// a Resync before its next change (owe, deliverResync). No new change is left out:
// the listener goes on at the restored cursor, or at the last place that is known to
// exist (goBack).

// begin finds where to go on: usually at the cursor. If the changes after it are
// pruned, it is after those; if the journal's history went back, where the journal
// is known to be what the listener was called with.
func (s *session[E]) begin(ctx context.Context) error {
	c := s.lease.Cursor()
	floor, err := s.keeper.floor(s.lease.ctx)
	if err != nil {
		return fmt.Errorf("read up to where the journal is pruned: %w", err)
	}
	back, err := s.lookBack(floor)
	if err != nil {
		return err
	}
	if !back {
		s.compareCursor(c)
	}
	s.at = c.Place
	exists, err := s.exists(c.Place, floor)
	switch {
	case err != nil:
		return err
	case c.TID < floor:
		s.skipPruned(floor)
		return nil
	case !exists: // the row is of another history than the transactions
		return s.goBack(ctx, c, back)
	case c.Partial && s.sink != nil: // its places are whole transactions
		s.at, err = s.before(c.TID)
	}
	if err == nil && s.memory.checkpoints.Empty() {
		s.memory.checkpoints, err = s.keeper.begin(ctx, c.Place)
	}
	return err
}

// exists says whether the journal has a place, or begins there.
func (s *session[E]) exists(p store.Place, floor int64) (bool, error) {
	exists, err := s.keeper.has(s.lease.ctx, p, floor)
	if err != nil {
		return false, fmt.Errorf("look for tid %d: %w", p.TID, err)
	}
	return exists, nil
}

// before returns the last place before a tid that the journal has.
func (s *session[E]) before(tid int64) (store.Place, error) {
	p, err := s.keeper.before(s.lease.ctx, tid)
	if err != nil {
		return p, fmt.Errorf("look for the last change before tid %d: %w", tid, err)
	}
	return p, nil
}

// skipPruned goes on after the tid up to which changes are pruned that the
// listener was not called with. The cursor stays until the listener knows that it
// missed them, here or in another process.
func (s *session[E]) skipPruned(floor int64) {
	c := s.lease.Cursor()
	err := fmt.Errorf("%w: up to tid %d, and the consumer was at tid %d", store.ErrPruned, floor, c.TID)
	s.journal.Logger.Error("changes were pruned before a consumer handled them: it goes on after them",
		"consumer", s.config.Name, "listener", s.listener.Name, "tid", c.TID, "pruned to", floor)
	s.addGap(delivery.NewGap(delivery.Pruned, err))
	s.at = store.Place{TID: floor}
	s.pruned = true
}

// compareCursor makes a Resync due if the cursor is before one that this process has
// stored, although nothing else went back: the consumer's row alone did, in a moment in
// which nobody held the lease. The listener is going to be called again with what it has
// handled.
func (s *session[E]) compareCursor(c progress.Cursor) {
	last := s.memory.stored
	s.memory.stored = c
	if c.TID > last.TID || c.TID == last.TID && (!c.Partial || last.Partial && c.Seq >= last.Seq) {
		return
	}
	s.addGap(delivery.NewGap(delivery.Rewound, fmt.Errorf("%w: the cursor of the consumer %q was stored at tid %d, and is at tid %d",
		store.ErrRewound, s.config.Name, last.TID, c.TID)))
}

// lookBack sees whether the journal still has what this process has handled: the
// consumer's row may have gone back together with it.
func (s *session[E]) lookBack(floor int64) (back bool, err error) {
	for _, p := range []store.Place{s.memory.delivered, s.journal.Position()} {
		if p.TID <= floor {
			continue
		}
		exists, err := s.exists(p, floor)
		if err != nil {
			return false, err
		}
		if !exists {
			s.noteRewind(p)
			s.memory.delivered = store.Place{}
			return true, nil
		}
		if p == s.memory.gone { // the history went forward again
			s.memory.gone = store.Place{}
		}
	}
	return false, nil
}

// goBack goes on where the journal is known to be what the listener was called
// with. If this process does not know that, all it can take is the last place
// before the cursor that exists: changes that are there now may have replaced
// those that the listener was called with.
func (s *session[E]) goBack(ctx context.Context, c progress.Cursor, noted bool) error {
	p, err := s.before(c.TID)
	if err == nil && !s.memory.checkpoints.Empty() {
		var last store.Place
		err = s.keeper.slots.use(ctx, unlimited, func(ctx context.Context) (err error) {
			last, err = s.memory.checkpoints.LastKept(ctx, s.journal.Store, s.journal.DB, false)
			return err
		})
		if last.TID < p.TID {
			p = last
		}
	}
	if err != nil {
		return err
	}
	if !noted {
		s.noteRewind(c.Place)
	}
	s.at = p
	return s.moveAndWait(progress.Cursor{Place: p})
}

// noteRewind logs that the history went back to before a place, and makes a Resync
// due: once, although a session may end before it has stored where to go on.
func (s *session[E]) noteRewind(p store.Place) {
	s.keeper.reader.forget()
	if p == s.memory.gone {
		return
	}
	s.memory.gone = p
	g := delivery.NewGap(delivery.Rewound, fmt.Errorf("%w: tid %d with the commit id %s is not in it", store.ErrRewound, p.TID, p.CommitID))
	s.journal.Logger.Error("the journal's history went back: a consumer goes on where the journal is known to be what it handled",
		"consumer", s.config.Name, "listener", s.listener.Name, "tid", p.TID, "err", g.Err)
	s.addGap(g)
}

// addGap adds a gap to the Resync that is due before the next change.
func (s *session[E]) addGap(g delivery.Gap) {
	s.keeper.reader.forget() // it may be gone
	if s.listener.Resync == nil {
		return
	}
	if s.memory.pendingResync == nil {
		s.memory.pendingResync = &g
		return
	}
	s.memory.pendingResync.Add(g)
}

// deliverResync delivers the Resync that is due, if there is one.
func (s *session[E]) deliverResync(ctx context.Context) error {
	s.memory.mu.Lock()
	err := s.memory.missed
	s.memory.missed = nil
	s.memory.mu.Unlock()
	if err != nil {
		s.addGap(delivery.NewGap(delivery.Rewound, err))
	}
	if s.memory.pendingResync == nil {
		return nil
	}
	g := *s.memory.pendingResync
	if err := s.call(ctx, func(ctx context.Context) error { return s.listener.Resync(ctx, g) }); err != nil {
		return fmt.Errorf("resync: %w", err)
	}
	s.memory.pendingResync = nil
	return nil
}
