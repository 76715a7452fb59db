package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// redeliverEvery is how often it is asked, for all consumers, whether dead letters are
// to be redelivered.
const redeliverEvery = time.Second

// deadLettersAtOnce is how many are read at once.
const deadLettersAtOnce = 100

// redeliver calls the listener with the dead letters that are to be redelivered.
func (s *session[E]) redeliver(ctx context.Context) error {
	if s.sink != nil || !s.memory.redeliver.Swap(false) {
		return nil
	}
	var some []progress.DeadLetter
	err := s.query(func(ctx context.Context) (err error) {
		some, err = s.journal.Tables.DeadLetters(ctx, s.config.Name, true, -1, -1, deadLettersAtOnce)
		return err
	})
	if err != nil {
		return fmt.Errorf("ask which dead letters to redeliver: %w", err)
	}
	for _, d := range some {
		if ctx.Err() != nil || s.lease.ctx.Err() != nil {
			return nil
		}
		if err := s.redeliverOne(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// redeliverOne calls the listener with one change again, and notes what became
// of that.
func (s *session[E]) redeliverOne(ctx context.Context, d progress.DeadLetter) error {
	attrs := []any{"consumer", s.config.Name, "listener", s.listener.Name, "resource", resource(d.Realm, d.ID), "tid", d.TID, "seq", d.Seq}
	var row store.Change
	var found bool
	err := s.query(func(ctx context.Context) (err error) {
		row, found, err = s.journal.Store.ReadOne(ctx, s.journal.DB, d.TID, d.Seq, d.Realm)
		return err
	})
	if err != nil {
		return fmt.Errorf("read tid %d, seq %d, which is a dead letter: %w", d.TID, d.Seq, err)
	}
	failed := fmt.Errorf("%w: the journal no longer has it", store.ErrPruned)
	if found && row.CommitID != d.CommitID {
		failed = fmt.Errorf("%w: the journal has another change there", store.ErrRewound)
	} else if found {
		var e E
		if e, failed = s.journal.Decode(row); failed == nil {
			failed = s.call(ctx, func(ctx context.Context) error { return s.handleOne(ctx, e) })
		}
	}
	if s.lease.ctx.Err() != nil || ctx.Err() != nil && failed != nil {
		return nil
	}
	if failed == nil {
		s.journal.Logger.Info("a dead letter was redelivered", attrs...)
		s.target.CountDelivered(1)
		return s.query(func(ctx context.Context) error {
			return s.journal.Tables.ForgetDeadLetter(ctx, s.config.Name, s.lease.claim.Token, d.TID, d.Seq)
		})
	}
	s.journal.Logger.Error("a dead letter has failed again", append(attrs, "err", failed)...)
	if err := s.lease.WaitStored(); err != nil {
		return err
	}
	d.Error, d.Attempts, d.Redeliver = failed.Error(), d.Attempts+1, false
	if err := s.lease.PutDeadLetter(s.lease.Cursor(), d); err != nil {
		return err
	}
	if errors.Is(failed, delivery.ErrHangs) || errors.Is(failed, errCallTimeout) {
		return failed
	}
	return nil
}

// handleOne calls the listener with one event, also if it takes batches.
func (s *session[E]) handleOne(ctx context.Context, e E) error {
	switch {
	case !s.listener.Wants(e):
		return nil
	case s.listener.Batch != nil:
		return s.listener.Batch(ctx, []E{e})
	}
	return s.listener.Deliver(ctx, e)
}
