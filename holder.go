package tracbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/store"
)

// holder tells one listener what the journal has, while its relay holds the name.
// Each step reads behind the place that is reached; after a failure the next step
// reads there again, so that there is nothing to be remembered but the place.
type holder struct {
	*relay
	lease   *lease
	chained chained     // nil unless the listener keeps its own place
	at      store.Place // of a chained listener, as far as is known
	sure    time.Time   // when it was last known
	pruned  bool        // at is the floor, and the name's place is to follow

	reading reading
	since   time.Time // when it began to fail here; zero while all is well
	attempt int       // how many steps have failed in a row
	noted   string    // the failure that the name's row has; empty: none
	asides  time.Time // when it was last asked which are to be told again

	branch   int64 // of the sink, as the name's row has it
	reserved int64 // the same while no sink is known to have begun it; else -1
}

// begin finds where to go on.
func (h *holder) begin(ctx context.Context) error {
	c := h.lease.place()
	floor, err := h.store.PrunedTo(h.lease.ctx, h.db)
	if err != nil {
		return fmt.Errorf("read the journal's floor: %w", err)
	}
	back, err := h.lookBack(ctx, floor)
	if err != nil {
		return err
	}
	h.at = c.Place
	stands, err := h.stands(c.Place, floor)
	switch {
	case err != nil:
		return err
	case c.TID < floor:
		h.skip(floor)
		return nil
	case !stands: // the row is of another history than the transactions
		return h.goBack(ctx, c, back)
	case c.Partial && h.chained != nil: // its places are whole transactions
		h.at, err = h.before(c.TID)
	}
	if err == nil && h.way.Empty() {
		err = h.way.Begin(ctx, h.store, h.db, c.Place)
	}
	return err
}

// stands says whether the journal has a place, or began there.
func (h *holder) stands(p store.Place, floor int64) (bool, error) {
	if p.TID == floor {
		return true, nil
	}
	stands, err := h.store.Has(h.lease.ctx, h.db, p)
	if err != nil {
		return false, fmt.Errorf("look for tid %d: %w", p.TID, err)
	}
	return stands, nil
}

// skip goes on behind the floor, up to which changes are pruned that the listener
// was not told. The name's place stays until the listener was told that, here or
// in another process.
func (h *holder) skip(floor int64) {
	c := h.lease.place()
	err := fmt.Errorf("%w: up to tid %d, and the name was at tid %d", ErrPruned, floor, c.TID)
	h.config.Logger.Error("changes were pruned before a listener was told: it goes on behind them",
		"consumer", h.duty.name, "listener", h.r.name, "behind", c.TID, "up to", floor)
	h.owe(delivery.NewGap(delivery.Pruned, err))
	h.at = store.Place{TID: floor}
	h.pruned = true
}

// lookBack sees whether the journal still has what this process was told: the
// name's row may have gone back together with it.
func (h *holder) lookBack(ctx context.Context, floor int64) (back bool, err error) {
	for _, p := range []store.Place{h.last, h.Journal.stands()} {
		if p.TID <= floor {
			continue
		}
		stands, err := h.stands(p, floor)
		if err != nil {
			return false, err
		}
		if !stands {
			h.rewound(p)
			h.last = store.Place{}
			return true, nil
		}
	}
	return false, nil
}

// goBack goes on where the journal is known to be what the listener was told. If
// this process does not know that, what is there in the place of what is gone
// may have come meanwhile; the last before c that is there is all it can take.
func (h *holder) goBack(ctx context.Context, c store.Cursor, said bool) error {
	p, err := h.before(c.TID)
	if err == nil && !h.way.Empty() {
		var stands store.Place
		if stands, err = h.way.LastKept(ctx, h.store, h.db, false); stands.TID < p.TID {
			p = stands
		}
	}
	if err != nil {
		return err
	}
	if !said {
		h.rewound(c.Place)
	}
	h.at = p
	return h.moveTo(store.Cursor{Place: p})
}

// rewound says that the history went back to before a place, and has the listener
// told.
func (h *holder) rewound(p store.Place) {
	missed := delivery.NewGap(delivery.Rewound, nil)
	missed.Err = fmt.Errorf("%w: tid %d with the mark %s is not in it", ErrRewound, p.TID, p.CommitID)
	h.config.Logger.Error("the journal's history went back: a listener goes on where it is known to stand",
		"consumer", h.duty.name, "listener", h.r.name, "err", missed.Err)
	h.owe(missed)
}

func (w *relay) owe(g delivery.Gap) {
	if w.duty.listener.Resync == nil {
		return
	}
	if w.owed == nil {
		w.owed = &g
		return
	}
	w.owed.Add(g)
}

// moveTo stores a place, and waits until it stands.
func (h *holder) moveTo(c store.Cursor) error {
	h.move(c)
	return h.lease.stands()
}

// move has a place stored, soon.
func (h *holder) move(c store.Cursor) {
	h.last = c.Place
	if !c.Partial {
		h.way.Add(c.Place)
	}
	h.lease.move(c)
}

// step tells what there is next, or waits until there may be something.
func (h *holder) step(ctx context.Context) error {
	if err := h.tellOwed(ctx); err != nil {
		return err
	}
	if h.pruned {
		if err := h.moveTo(store.Cursor{Place: h.at}); err != nil {
			return err
		}
		h.pruned = false
	}
	if err := h.tellAgain(ctx); err != nil {
		return err
	}
	from, after := h.from()
	batch, err := h.reading.take(h, from)
	switch {
	case errors.Is(err, ErrPruned):
		floor, failed := h.store.PrunedTo(h.lease.ctx, h.db)
		if failed != nil {
			return failed
		}
		h.skip(floor)
		return nil
	case err != nil:
		return fmt.Errorf("read behind tid %d: %w", from.TID, err)
	case len(batch.places) == 0:
		return h.idle(ctx)
	}
	if after.Partial {
		if batch.places[0] != after.Place {
			return fmt.Errorf("%w: tid %d with the mark %s is not in it", ErrRewound, after.TID, after.CommitID)
		}
		batch.dropUpTo(after)
	}
	if batch.more {
		h.reading.ahead(h, batch.end())
	}
	if h.chained != nil {
		err = h.tellChained(ctx, batch)
	} else if h.duty.listener.Batch != nil {
		err = h.tellBatches(ctx, batch)
	} else {
		err = h.tellEach(ctx, batch)
	}
	if err == nil && ctx.Err() == nil { // else it may have told nothing
		h.works()
	}
	return err
}

// from returns the place to read behind, and in after what of the first
// transaction was told already.
func (h *holder) from() (from store.Place, after store.Cursor) {
	c := h.lease.place()
	switch {
	case h.chained != nil:
		return h.at, store.Cursor{}
	case c.Partial:
		return store.Place{TID: c.TID - 1}, c
	}
	return c.Place, store.Cursor{}
}

// idle waits until there may be something to tell.
func (h *holder) idle(ctx context.Context) error {
	if h.chained != nil && time.Since(h.sure) > h.duty.config.LeaseFor {
		if err := h.tellChained(ctx, &portion{}); err != nil {
			return err
		}
	}
	h.works()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.lease.ctx, cancel)()
	h.await(waiting, h.duty.kick, fullPoll)
	return nil
}

// tellOwed tells the listener that it missed changes, if it did.
func (h *holder) tellOwed(ctx context.Context) error {
	h.duty.mu.Lock()
	err := h.duty.rewound
	h.duty.rewound = nil
	h.duty.mu.Unlock()
	if err != nil {
		h.owe(delivery.NewGap(delivery.Rewound, err))
	}
	if h.owed == nil {
		return nil
	}
	owed := *h.owed
	if err := h.call(ctx, func(ctx context.Context) error { return h.duty.listener.Resync(ctx, owed) }); err != nil {
		return fmt.Errorf("resync: %w", err)
	}
	h.owed = nil
	return nil
}
