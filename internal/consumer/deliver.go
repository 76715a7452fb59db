package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// deliverEach calls the listener with one change after the other. The cursor is
// stored after each, before the next call, so that a crash repeats one call at
// most.
func (s *session[E]) deliverEach(ctx context.Context, b *batch[E]) error {
	for i, c := range b.changes {
		if ctx.Err() != nil {
			return nil
		}
		if c.err == nil && !s.listener.Wants(c.event) {
			continue
		}
		err := c.err
		if err == nil {
			err = s.call(ctx, func(ctx context.Context) error { return s.listener.Deliver(ctx, c.event) })
		}
		if err != nil {
			return &changeError{c.row, b.through(i), 1, err, c.err != nil}
		}
		s.countDelivered(1)
		if err := s.moveAndWait(b.through(i)); err != nil {
			return err
		}
	}
	s.move(progress.Cursor{Place: b.end()}, false)
	return nil
}

// deliverBatches calls the listener with as many changes at once as the bus
// allows.
func (s *session[E]) deliverBatches(ctx context.Context, b *batch[E]) error {
	most := s.config.BatchSize
	if s.runner.single {
		most = 1
	}
	var events []E
	first := 0 // of events, in b.changes
	for i, c := range b.changes {
		if c.err == nil && s.listener.Wants(c.event) {
			if len(events) == 0 {
				first = i
			}
			events = append(events, c.event)
		}
		last := i == len(b.changes)-1
		full := len(events) == most
		if full || len(events) > 0 && (last || b.changes[i+1].err != nil) { // what cannot be read goes alone
			if ctx.Err() != nil {
				return nil
			}
			if err := s.call(ctx, func(ctx context.Context) error { return s.listener.Batch(ctx, events) }); err != nil {
				return &changeError{b.changes[first].row, b.through(first), len(events), err, false}
			}
			s.countDelivered(len(events))
			if err := s.moveAndWait(b.through(i)); err != nil {
				return err
			}
			events = nil // the listener may have kept it
		}
		if c.err != nil {
			return &changeError{c.row, b.through(i), 1, c.err, true}
		}
	}
	s.runner.single = false
	s.move(progress.Cursor{Place: b.end()}, false)
	return nil
}

// deliverToSink sends a batch to the listener's sink. An empty batch asks whether
// the sink is still where it was.
func (s *session[E]) deliverToSink(ctx context.Context, b *batch[E]) error {
	if bad := slices.IndexFunc(b.changes, func(c change[E]) bool { return c.err != nil }); bad >= 0 {
		c := b.changes[bad]
		if b = b.before(c.row.TID); len(b.places) == 0 {
			return &changeError{c.row, progress.Cursor{}, 1, c.err, true}
		}
	}
	var events []E
	for _, c := range b.changes {
		if s.listener.Wants(c.event) {
			events = append(events, c.event)
		}
	}
	span := Span{Journal: s.journal.Store.UUID(), Consumer: s.config.Name, From: s.at, To: s.at, Generation: s.sinkGeneration}
	if len(b.places) > 0 {
		span.To = b.end()
	}
	if err := s.send(ctx, span, events); err != nil {
		if len(events) == 0 {
			return err
		}
		return &changeError{b.changes[0].row, progress.Cursor{}, len(events), err, false}
	}
	s.countDelivered(len(events))
	s.reached(span.To, len(events) > 0)
	return nil
}

func (s *session[E]) send(ctx context.Context, span Span, events []E) error {
	return s.call(ctx, func(ctx context.Context) error { return s.sink.Send(ctx, span, events) })
}

// call has the listener called under the lease; see [Lease.callContext].
func (s *session[E]) call(ctx context.Context, f func(context.Context) error) error {
	calling, cancel := s.lease.callContext(ctx, s.config.CallTimeout)
	defer cancel()
	err := s.target.Call(calling, f)
	if err != nil && errors.Is(context.Cause(calling), errCallTimeout) && !errors.As(err, new(*Away)) {
		err = fmt.Errorf("%w: %w", errCallTimeout, err)
	}
	return err
}

// countDelivered counts changes that the listener has handled.
func (s *session[E]) countDelivered(n int) {
	s.failures, s.realigned = 0, 0
	s.runner.unread = false
	clear(s.runner.attempts)
	s.target.CountDelivered(n)
}

// changeError says on which change a listener failed.
type changeError struct {
	row    store.Change
	next   progress.Cursor // after it
	events int             // that the call was about
	err    error
	unread bool // there was no call: the row cannot be read
}

// Error names the change.
func (e *changeError) Error() string {
	return fmt.Sprintf("tid %d, seq %d, %s: %v", e.row.TID, e.row.Seq, resource(e.row.Realm, e.row.ID), e.err)
}

// Unwrap returns what the listener returned.
func (e *changeError) Unwrap() error { return e.err }

// resource is how logs and errors name what a change is of.
func resource(realm, id string) string { return realm + " " + id }
