package tracbus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/store"
)

// DeadLetter is a change on which a [Durable] listener failed as often as its
// [DurableConfig.MaxAttempts] allows. What came behind it was told, it was not.
type DeadLetter struct {
	Consumer string // of the scope
	TID      int64
	Seq      int
	Resource Resource

	Err          string    // what the listener returned last
	Attempts     int       // how often it was called
	FailedAt     time.Time // when it was set aside
	Redelivering bool      // it is going to be told again
}

// DeadLetters iterates over the changes that are set aside for a name, in their
// order. An error is yielded once and ends it.
func (j *Journal) DeadLetters(ctx context.Context, name string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for tid, seq := int64(-1), -1; ; {
			some, err := j.store.DeadLetters(ctx, name, false, tid, seq, asidesAtOnce)
			if err != nil {
				yield(DeadLetter{}, fmt.Errorf("set aside for %q: %w", name, err))
				return
			}
			for _, a := range some {
				if !yield(setAsideOf(name, a), nil) {
					return
				}
				tid, seq = a.TID, a.Seq
			}
			if len(some) < asidesAtOnce {
				return
			}
		}
	}
}

// asidesAtOnce is how many are read at once.
const asidesAtOnce = 100

func setAsideOf(name string, a store.DeadLetter) DeadLetter {
	return DeadLetter{
		Consumer: name, TID: a.TID, Seq: a.Seq, Resource: Resource{Realm(a.Realm), a.ID},
		Err: a.Error, Attempts: a.Attempts, FailedAt: time.UnixMicro(a.Since).UTC(), Redelivering: a.Redeliver,
	}
}

// Redeliver has changes that are set aside told again, all of the name if none is
// given, by whoever holds the name, and returns how many. One that succeeds is
// set aside no more; one that fails is set aside as before. They are told out of
// order, for what came behind them was told before.
func (j *Journal) Redeliver(ctx context.Context, name string, which ...DeadLetter) (n int, err error) {
	count, err := j.store.RedeliverDeadLetters(ctx, name, asidesOf(which)...)
	if err != nil {
		return int(count), fmt.Errorf("retry what is set aside for %q: %w", name, err)
	}
	j.hint()
	return int(count), nil
}

// DropDeadLetters gives up changes that are set aside: nobody is told of them any more,
// and they do not keep [Journal.Prune] from anything. It returns how many.
func (j *Journal) DropDeadLetters(ctx context.Context, name string, which ...DeadLetter) (n int, err error) {
	count, err := j.store.DropDeadLetters(ctx, name, asidesOf(which)...)
	if err != nil {
		return int(count), fmt.Errorf("discard what is set aside for %q: %w", name, err)
	}
	return int(count), nil
}

func asidesOf(which []DeadLetter) (asides []store.DeadLetter) {
	for _, s := range which {
		asides = append(asides, store.DeadLetter{TID: s.TID, Seq: s.Seq})
	}
	return asides
}

// DropConsumer forgets a name whose listener is not registered anywhere any more, with
// how far it came and what is set aside for it, so that it does not keep [Prune]
// from anything. A process that still has the listener makes the name again, as
// a new one.
func (j *Journal) DropConsumer(ctx context.Context, name string) error {
	if err := j.store.DropConsumer(ctx, name); err != nil {
		return fmt.Errorf("retire %q: %w", name, err)
	}
	return nil
}

// asideEvery is how often the holder asks whether a change is to be told again.
const asideEvery = time.Second

// tellAgain tells what was set aside and is to be told again.
func (h *holder) tellAgain(ctx context.Context) error {
	if time.Since(h.asides) < asideEvery || h.chained != nil {
		return nil
	}
	h.asides = time.Now()
	some, err := h.store.DeadLetters(h.lease.ctx, h.duty.name, true, -1, -1, asidesAtOnce)
	if err != nil {
		return fmt.Errorf("ask what is to be told again: %w", err)
	}
	for _, a := range some {
		if ctx.Err() != nil || h.lease.ctx.Err() != nil {
			return nil
		}
		if err := h.tellAside(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// tellAside tells one change again, and notes what became of that.
func (h *holder) tellAside(ctx context.Context, a store.DeadLetter) error {
	attrs := []any{"consumer", h.duty.name, "listener", h.r.name, "resource", Resource{Realm(a.Realm), a.ID}.String(), "tid", a.TID, "seq", a.Seq}
	row, found, err := h.store.ReadOne(h.lease.ctx, h.db, a.TID, a.Seq, a.Realm)
	if err != nil {
		return fmt.Errorf("read tid %d, seq %d, which is set aside: %w", a.TID, a.Seq, err)
	}
	failed := fmt.Errorf("%w: the journal has it no more", ErrPruned)
	if found && row.CommitID != a.CommitID {
		failed = fmt.Errorf("%w: the journal has another change there", ErrRewound)
	} else if found {
		var e Event
		if e, failed = h.eventOf(row); failed == nil {
			failed = h.call(ctx, func(ctx context.Context) error { return h.duty.tellOne(ctx, e) })
		}
	}
	if h.lease.ctx.Err() != nil || ctx.Err() != nil && failed != nil {
		return nil
	}
	if failed == nil {
		h.config.Logger.Info("a change that was set aside is told", attrs...)
		h.duty.invoker.CountDelivered(1)
		return h.store.ForgetDeadLetter(h.lease.ctx, h.duty.name, h.lease.epoch, a.TID, a.Seq)
	}
	h.config.Logger.Error("a change that was set aside has failed again", append(attrs, "err", failed)...)
	if err := h.lease.stands(); err != nil {
		return err
	}
	a.Error, a.Attempts, a.Redeliver = failed.Error(), a.Attempts+1, false
	if err := h.lease.putAside(h.lease.place(), a); err != nil {
		return err
	}
	if errors.Is(failed, delivery.ErrHangs) || errors.Is(failed, errDeadline) {
		return failed
	}
	return nil
}

// tellOne tells one event, to a batch listener too.
func (d *durable) tellOne(ctx context.Context, e Event) error {
	switch {
	case !d.listener.Wants(e):
		return nil
	case d.listener.Batch != nil:
		return d.listener.Batch(ctx, []Event{e})
	}
	return d.listener.Tell(ctx, e)
}
