package consumer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// yieldAfter is for how long a listener may fail in one process before another
// is given the chance.
const yieldAfter = 30 * time.Second

// errYield says that a listener has failed for so long that another process
// should try.
var errYield = errors.New("the listener fails here; another process may do better")

// recover does what an error of a step asks for, as long as the lease lasts. If
// it returns nil, the step is made again, at the cursor; if it returns an error,
// the lease is given up.
//
//	the call was cut short because the process stops  give up
//	the sink is elsewhere (Mismatch)                   go on there, or reset the sink: see realign
//	the journal's history went back                    pause, then find where to go on: see begin
//	the listener failed MaxAttempts times on a change  make the change a dead letter: see attribute
//	a change cannot be read, as the one before it      the same at once
//	it has failed for yieldAfter, without MaxAttempts  give up: another process may do better
//	the call hangs, or took longer than CallTimeout    give up: another process may do better
//	the listener is closed                             give up
//	the sink is Away, also if it took CallTimeout       pause as long as it allows, then try again
//	  to find that out
//	anything else, e.g. the database is away           pause, then try again
//
// A batch that fails or takes too long is delivered change by change from then on
// if that can help.
func (s *session[E]) recover(ctx context.Context, err error) error {
	if ctx.Err() != nil || s.target.Context().Err() != nil { // it was cut short, which says nothing of the listener
		return err
	}
	var mismatch *Mismatch
	if errors.As(err, &mismatch) {
		if err = s.realign(ctx, mismatch); err == nil {
			if s.realigned++; s.realigned > 3 { // it keeps being elsewhere
				s.pause(ctx, s.realigned-3, nil)
			}
			return nil
		}
	}
	if errors.Is(err, store.ErrRewound) {
		s.failures++
		s.pause(ctx, s.failures, nil)
		return s.begin(ctx)
	}
	s.noteFailure(err)
	over := errors.Is(err, delivery.ErrHangs) || errors.Is(err, errCallTimeout) || errors.Is(err, delivery.ErrClosed)
	var at *changeError
	if errors.As(err, &at) && at.events > 1 && over { // one by one they may have the time
		s.runner.single = true
	}
	if at != nil && s.config.MaxAttempts > 0 {
		switch dead, failed := s.attribute(at); {
		case failed != nil:
			return failed
		case dead && !over: // a call that hangs is not over yet
			return nil
		}
	} else if time.Since(s.failingSince) > yieldAfter {
		if away, ok := errors.AsType[*Away](err); ok {
			return &Away{Err: errYield, Pause: away.Pause}
		}
		return errYield
	}
	if over {
		return err
	}
	s.failures++
	s.target.CountRetried(err)
	s.pause(ctx, s.failures, err)
	return nil
}

// pause waits before a step is made again that was in vain so many times, unless the
// lease ends. A sink that is away bounds it, because it knows when it is back no sooner
// than it is called.
func (s *session[E]) pause(ctx context.Context, times int, why error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.lease.ctx, cancel)()
	long := s.config.Backoff << min(times-1, 6)
	if away, ok := errors.AsType[*Away](why); ok {
		long = min(long, away.Pause)
	}
	store.Sleep(waiting, long)
}

// attribute counts the failures of a change, and makes it a dead letter when they
// are too many. If a batch failed, it is not known because of which change.
func (s *session[E]) attribute(at *changeError) (dead bool, err error) {
	if at.events > 1 {
		s.runner.single = true
		return false, nil
	}
	id := changeID{at.row.TID, at.row.Seq}
	s.runner.attempts[id]++
	further := at.unread && s.runner.unread // of a run: it is as the one before it
	if s.runner.attempts[id] < s.config.MaxAttempts && !further {
		return false, nil
	}
	if err := s.lease.WaitStored(); err != nil {
		return false, err
	}
	d := progress.DeadLetter{
		TID: at.row.TID, Seq: at.row.Seq, CommitID: at.row.CommitID, Realm: at.row.Realm, ID: at.row.ID,
		Error: at.err.Error(), Attempts: s.runner.attempts[id], Since: time.Now().UnixMicro(),
	}
	if err := s.lease.PutDeadLetter(at.next, d); err != nil {
		return false, err
	}
	delete(s.runner.attempts, id)
	if s.runner.unread = at.unread; !further {
		s.journal.Logger.Error("a change has become a dead letter: the consumer goes on without it", "consumer", s.config.Name, "listener", s.listener.Name,
			"resource", resource(d.Realm, d.ID), "tid", d.TID, "seq", d.Seq, "attempts", d.Attempts, "err", at.err)
	}
	s.target.CountFailed()
	return true, nil
}

// noteFailure says, once, that the consumer fails: in the consumer's row, and in the
// log unless its sink does.
func (s *session[E]) noteFailure(err error) {
	if s.failingSince.IsZero() {
		s.failingSince = time.Now()
	}
	s.note(err)
	if _, said := errors.AsType[*Away](err); said || !s.runner.failing.IsZero() {
		return
	}
	s.runner.failing = time.Now()
	attrs := []any{"consumer", s.config.Name, "listener", s.listener.Name, "token", s.lease.claim.Token}
	what := "a consumer cannot go on, and tries again until it can"
	var at *changeError
	if errors.As(err, &at) {
		what = "a consumer's listener failed, and is called again until it succeeds"
		attrs = append(attrs, "resource", resource(at.row.Realm, at.row.ID), "tid", at.row.TID, "seq", at.row.Seq, "events", at.events)
	}
	attrs = append(attrs, "err", err)
	var p *delivery.PanicError
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	s.journal.Logger.Error(what, attrs...)
}

// note has the consumer's row show a failure.
func (s *session[E]) note(err error) {
	if text := err.Error(); text != s.noted && s.store(text) == nil {
		s.noted = text
	}
}

// store has the consumer's row show a failure; an empty one means that it succeeds.
func (s *session[E]) store(failure string) error {
	return s.query(func(ctx context.Context) error {
		return s.journal.Tables.NoteFailure(ctx, s.config.Name, s.lease.claim.Token, failure)
	})
}

// noteSuccess says, once, that the consumer succeeds again.
func (s *session[E]) noteSuccess() {
	if s.noted != "" {
		if s.store("") != nil {
			return
		}
		s.noted = ""
	}
	if !s.runner.failing.IsZero() {
		s.journal.Logger.Info("a consumer's listener succeeds again", "consumer", s.config.Name, "listener", s.listener.Name,
			"after", time.Since(s.runner.failing).Round(time.Millisecond), "tid", s.lease.Cursor().TID)
	}
	s.runner.failing, s.failingSince, s.failures, s.runner.givenUp = time.Time{}, time.Time{}, 0, nil
}
