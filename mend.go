package tracbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/store"
)

// yieldAfter is for how long a listener may fail in one process before another
// is given the chance.
const yieldAfter = 30 * time.Second

// mend does what a failure asks for. What it returns ends the holding.
func (h *holder) mend(ctx context.Context, err error) error {
	if ctx.Err() != nil || h.duty.invoker.Context().Err() != nil { // it was cut short, which says nothing of the listener
		return err
	}
	var sink *elsewhere
	if errors.As(err, &sink) {
		if err = h.rejoin(ctx, sink); err == nil {
			if h.attempt++; h.attempt > 3 { // it keeps being elsewhere
				h.pause(ctx)
			}
			return nil
		}
	}
	if errors.Is(err, ErrRewound) {
		h.attempt++
		h.pause(ctx)
		return h.begin(ctx)
	}
	h.fails(err)
	over := errors.Is(err, delivery.ErrHangs) || errors.Is(err, errDeadline) || errors.Is(err, delivery.ErrClosed)
	var at *changeError
	if errors.As(err, &at) && at.events > 1 && over { // one by one they may have the time
		h.single = true
	}
	if at != nil && h.duty.config.MaxAttempts > 0 {
		switch set, failed := h.blame(at); {
		case failed != nil:
			return failed
		case set && !over: // a call that hangs is not over yet
			return nil
		}
	} else if time.Since(h.since) > yieldAfter {
		return errYield
	}
	if over {
		return err
	}
	h.attempt++
	h.repeated(err)
	h.pause(ctx)
	return nil
}

// pause waits before a step is made again, unless the lease ends.
func (h *holder) pause(ctx context.Context) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.lease.ctx, cancel)()
	sleep(waiting, h.duty.config.Backoff<<min(h.attempt-1, 6))
}

// blame counts the failures of a change, and sets it aside when they are too
// many. Of a batch that failed it is not known which change it was.
func (h *holder) blame(at *changeError) (set bool, err error) {
	if at.events > 1 {
		h.single = true
		return false, nil
	}
	key := [2]int64{at.row.TID, int64(at.row.Seq)}
	h.tries[key]++
	if h.tries[key] < h.duty.config.MaxAttempts {
		return false, nil
	}
	if err := h.lease.stands(); err != nil {
		return false, err
	}
	aside := store.DeadLetter{
		TID: at.row.TID, Seq: at.row.Seq, CommitID: at.row.CommitID, Realm: at.row.Realm, ID: at.row.ID,
		Error: at.err.Error(), Attempts: h.tries[key], Since: time.Now().UnixMicro(),
	}
	if err := h.lease.putAside(at.next, aside); err != nil {
		return false, err
	}
	delete(h.tries, key)
	h.config.Logger.Error("a change is set aside: the listener goes on without it", "consumer", h.duty.name, "listener", h.r.name,
		"resource", Resource{Realm(at.row.Realm), at.row.ID}.String(), "tid", at.row.TID, "seq", at.row.Seq, "tries", aside.Attempts, "err", at.err)
	h.duty.invoker.CountFailed()
	return true, nil
}

// told counts changes that the listener has handled.
func (h *holder) told(n int) {
	h.attempt = 0
	clear(h.tries)
	h.duty.invoker.CountDelivered(n)
}

// repeated counts a call that is made again.
func (h *holder) repeated(err error) {
	h.duty.invoker.CountRetried(err)
}

// fails says, once, that the listener does not get on.
func (h *holder) fails(err error) {
	if h.since.IsZero() {
		h.since = time.Now()
	}
	h.note(err)
	if !h.failing.IsZero() {
		return
	}
	h.failing = time.Now()
	attrs := []any{"consumer", h.duty.name, "listener", h.r.name, "epoch", h.lease.epoch}
	what := "a listener cannot be told, which is tried again until it can"
	var at *changeError
	if errors.As(err, &at) {
		what = "listener failed, and is told again until it succeeds"
		attrs = append(attrs, "resource", Resource{Realm(at.row.Realm), at.row.ID}.String(), "tid", at.row.TID, "seq", at.row.Seq, "events", at.events)
	}
	attrs = append(attrs, "err", err)
	var p *delivery.PanicError
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	h.config.Logger.Error(what, attrs...)
}

// note has the status show a failure.
func (h *holder) note(err error) {
	if text := err.Error(); text != h.noted && h.store.NoteFailure(h.lease.ctx, h.duty.name, h.lease.epoch, text) == nil {
		h.noted = text
	}
}

// works says, once, that it gets on again.
func (h *holder) works() {
	if h.noted != "" {
		if h.store.NoteFailure(h.lease.ctx, h.duty.name, h.lease.epoch, "") != nil {
			return
		}
		h.noted = ""
	}
	if !h.failing.IsZero() {
		h.config.Logger.Info("listener gets on again", "consumer", h.duty.name, "listener", h.r.name,
			"after", time.Since(h.failing).Round(time.Millisecond), "tid", h.lease.place().TID)
	}
	h.failing, h.since, h.attempt, h.gave = time.Time{}, time.Time{}, 0, nil
}

// relayState is what was logged last of a relay.
type relayState struct {
	blind bool // the name's row cannot be read
}

func (s *relayState) looked(w *relay, err error) {
	switch {
	case err != nil && !s.blind:
		w.config.Logger.Warn("the name of a listener cannot be looked for, which is tried again", "consumer", w.duty.name, "err", err)
	case err == nil && s.blind:
		w.config.Logger.Info("the name of a listener can be looked for again", "consumer", w.duty.name)
	}
	s.blind = err != nil
}

func (s *relayState) took(w *relay, row store.Consumer, epoch int64) {
	attrs := []any{"consumer", w.duty.name, "listener", w.r.name, "epoch", epoch, "tid", row.Cursor.TID}
	if row.Holder != "" {
		attrs = append(attrs, "instead of", row.Holder)
	}
	w.config.Logger.Info("this process tells the listener from now on", attrs...)
}

func (s *relayState) gaveUp(w *relay, epoch int64, err error) {
	w.config.Logger.Warn("this process gives up the listener's name, for another or for its next try",
		"consumer", w.duty.name, "listener", w.r.name, "epoch", epoch, "err", err)
}

// before returns the last place before a tid that the journal has.
func (h *holder) before(tid int64) (store.Place, error) {
	p, err := h.store.Before(h.lease.ctx, h.db, tid-1)
	if err == nil && p.TID == 0 {
		p.TID, err = h.store.PrunedTo(h.lease.ctx, h.db)
	}
	if err != nil {
		return p, fmt.Errorf("look for the last change before tid %d: %w", tid, err)
	}
	return p, nil
}
