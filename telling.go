package tracbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// tellEach tells one change after the other. Each is noted before the next is
// told, so that a crash repeats one at most.
func (h *holder) tellEach(ctx context.Context, b *portion) error {
	for i, c := range b.changes {
		if ctx.Err() != nil {
			return nil
		}
		if c.err == nil && !h.duty.listener.Wants(c.event) {
			continue
		}
		err := c.err
		if err == nil {
			err = h.call(ctx, func(ctx context.Context) error { return h.duty.listener.Tell(ctx, c.event) })
		}
		if err != nil {
			return &changeError{c, b.upTo(i), 1, err}
		}
		h.told(1)
		if err := h.moveTo(b.upTo(i)); err != nil {
			return err
		}
	}
	h.move(store.Cursor{Place: b.end()})
	return nil
}

// tellBatches tells as many changes in one call as the bus allows.
func (h *holder) tellBatches(ctx context.Context, b *portion) error {
	most := h.bus.config.BatchSize
	if h.single {
		most = 1
	}
	var events []Event
	first := 0 // of events, in b.changes
	for i, c := range b.changes {
		if c.err == nil && h.duty.listener.Wants(c.event) {
			if len(events) == 0 {
				first = i
			}
			events = append(events, c.event)
		}
		if last := i == len(b.changes)-1; len(events) == most || len(events) > 0 && (last || b.changes[i+1].err != nil) {
			if ctx.Err() != nil {
				return nil
			}
			if err := h.call(ctx, func(ctx context.Context) error { return h.duty.listener.Batch(ctx, events) }); err != nil {
				return &changeError{b.changes[first], b.upTo(first), len(events), err}
			}
			h.told(len(events))
			if err := h.moveTo(b.upTo(i)); err != nil {
				return err
			}
			events = nil // the listener may have kept it
		}
		if c.err != nil {
			return &changeError{c, b.upTo(i), 1, c.err}
		}
	}
	h.single = false
	h.move(store.Cursor{Place: b.end()})
	return nil
}

// tellChained hands a portion to a listener that keeps its own place. Without
// anything to tell it asks whether that place is still the one it was.
func (h *holder) tellChained(ctx context.Context, b *portion) error {
	if bad := slices.IndexFunc(b.changes, func(c change) bool { return c.err != nil }); bad >= 0 {
		c := b.changes[bad]
		if b = b.until(c.row.TID); len(b.places) == 0 {
			return &changeError{c, store.Cursor{}, 1, c.err}
		}
	}
	var events []Event
	for _, c := range b.changes {
		if h.duty.listener.Wants(c.event) {
			events = append(events, c.event)
		}
	}
	c := chain{journal: h.store.UUID(), name: h.duty.name, before: h.at, end: h.at}
	if len(b.places) > 0 {
		c.end = b.end()
	}
	if err := h.hand(ctx, c, events); err != nil {
		if len(events) == 0 {
			return err
		}
		row := b.changes[0].row
		return &changeError{change{row: row}, store.Cursor{}, len(events), err}
	}
	h.told(len(events))
	h.reached(c.end)
	return nil
}

func (h *holder) hand(ctx context.Context, c chain, events []Event) error {
	return h.call(ctx, func(ctx context.Context) error { return h.chained.handleChained(ctx, c, events) })
}

// stopGrace is for how long a call may go on after Run was told to end.
const stopGrace = 2 * time.Second

// call has the listener called, in this process's turn.
func (h *holder) call(ctx context.Context, f func(context.Context) error) error {
	turn := Lease{Consumer: h.duty.name, JournalUUID: h.store.UUID(), Token: h.lease.epoch}
	calling, cancel := context.WithTimeoutCause(context.WithValue(h.lease.ctx, turnKey{}, turn), h.duty.config.CallTimeout, errDeadline)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()
	err := h.duty.invoker.Call(calling, f)
	if err != nil && errors.Is(context.Cause(calling), errDeadline) {
		err = fmt.Errorf("%w: %w", errDeadline, err)
	}
	return err
}

// errDeadline says that a call took longer than it may: another process is to
// try.
var errDeadline = errors.New("the call took longer than DurableConfig.CallTimeout")

// changeError says on which change a listener failed.
type changeError struct {
	change
	next   store.Cursor // behind it
	events int          // that the call was about
	err    error
}

// Error names the change.
func (e *changeError) Error() string {
	return fmt.Sprintf("tid %d, seq %d, %s %s: %v", e.row.TID, e.row.Seq, e.row.Realm, e.row.ID, e.err)
}

// Unwrap returns what the listener returned.
func (e *changeError) Unwrap() error { return e.err }
