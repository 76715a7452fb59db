package tracbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// reached notes where the sink stands now. The name's own place never goes back
// for it.
func (h *holder) reached(p store.Place) {
	h.at, h.sure, h.reserved = p, time.Now(), -1
	if c := h.lease.place(); p.TID > c.TID || p.TID == c.TID && c.Partial {
		h.move(store.Cursor{Place: p})
	}
}

// rejoin finds where to go on with a sink that stands elsewhere than was
// thought. A place of the journal is taken as it is: either the sink has more
// than was noted before a crash, or it lost what it had, and gets it again.
// Where the journal does not have it, the sink begins anew.
func (h *holder) rejoin(ctx context.Context, e *elsewhere) error {
	floor, err := h.store.PrunedTo(h.lease.ctx, h.db)
	if err != nil {
		return fmt.Errorf("read the journal's floor: %w", err)
	}
	c := h.lease.place()
	if e.empty {
		return h.anew(ctx, e.standing, c, floor)
	}
	stands, err := h.stands(e.place, floor)
	switch {
	case err != nil:
		return err
	case e.place.TID < floor:
		err := fmt.Errorf("%w: up to tid %d, and the sink was put back to tid %d", ErrPruned, floor, e.place.TID)
		h.config.Logger.Error("the sink of a listener lost what is pruned already: it begins anew behind it",
			"consumer", h.duty.name, "listener", h.r.name, "sink", e.place.TID, "floor", floor, "err", err)
		return h.beginAnew(ctx, e.standing, store.Place{TID: floor})
	case stands && e.within:
		h.config.Logger.Error("the sink of a listener stands within a change that is not the next one, as other settings had it: it begins anew",
			"consumer", h.duty.name, "listener", h.r.name, "sink", e.place.TID, "tid", h.at.TID)
		return h.beginAnew(ctx, e.standing, h.at)
	case !stands:
		err := fmt.Errorf("%w: the sink stands at tid %d with the mark %s, which is not in it", ErrRewound, e.place.TID, e.place.CommitID)
		h.config.Logger.Error("the sink of a listener is ahead of the journal, whose history went back: it begins anew",
			"consumer", h.duty.name, "listener", h.r.name, "sink", e.place.TID, "tid", c.TID, "err", err)
		if e.within { // what it has whole is before that, as was thought
			c = store.Cursor{Place: h.at}
		}
		return h.anew(ctx, e.standing, c, floor)
	case e.place.TID < c.TID:
		h.config.Logger.Warn("the sink of a listener lost what it had: that is sent again",
			"consumer", h.duty.name, "listener", h.r.name, "sink", e.place.TID, "tid", c.TID)
	}
	h.reached(e.place)
	return nil
}

// anew has the sink begin anew at the name's place.
func (h *holder) anew(ctx context.Context, was standing, c store.Cursor, floor int64) error {
	at := c.Place
	if c.Partial {
		var err error
		if at, err = h.before(c.TID); err != nil {
			return err
		}
	}
	if at.TID < floor {
		at = store.Place{TID: floor}
	}
	if was.empty && h.reserved < 0 && (h.branch >= 0 || was.branch >= 0) {
		h.config.Logger.Error("the sink of a listener was emptied: it begins anew",
			"consumer", h.duty.name, "listener", h.r.name, "tid", at.TID)
	}
	return h.beginAnew(ctx, was, at)
}

// beginAnew begins a new branch, if the sink still stands where it was found.
func (h *holder) beginAnew(ctx context.Context, was standing, at store.Place) error {
	if h.reserved <= was.branch {
		if err := h.reserve(nextBranch(max(was.branch, h.branch))); err != nil {
			return err
		}
	}
	c := chain{journal: h.store.UUID(), name: h.duty.name, before: at, end: at, anew: true, expect: was, branch: h.reserved}
	err := h.hand(ctx, c, nil)
	var sink *elsewhere
	if errors.As(err, &sink) { // somebody else was faster: the next step sees where it stands
		return nil
	}
	if err == nil {
		h.reached(at)
	}
	return err
}

// reserve notes in the name's row that a branch is going to be used, before it
// is: whoever comes next takes another.
func (h *holder) reserve(branch int64) error {
	held, err := h.store.NoteGeneration(h.lease.ctx, h.duty.name, h.lease.epoch, branch)
	switch {
	case err != nil:
		return fmt.Errorf("store branch %d: %w", branch, err)
	case !held:
		return errDeposed
	}
	h.branch, h.reserved = branch, branch
	return nil
}

// lastBranch is the highest there can be: ids of a stream have 16 bits for it.
const lastBranch = 1<<16 - 1

// nextBranch returns the branch after one, -1 for none. It counts days since
// 1970 where that is more, so that it is a new one even where all who remember
// the last were put back to an older state.
func nextBranch(last int64) int64 {
	if last < 0 {
		return 0
	}
	return min(max(last+1, time.Now().Unix()/(24*60*60)), lastBranch)
}
