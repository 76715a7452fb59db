package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// session calls one listener with what the journal has, while its runner holds
// the lease. Each step reads after the cursor that is reached. After a failure
// the next step reads there again, so that nothing has to be remembered but the
// cursor.
type session[E any] struct {
	runner   *Runner[E]
	config   Config
	journal  Journal[E]
	listener delivery.Listener[E]
	target   Target
	memory   *Memory
	lease    *Lease
	keeper   *Keeper[E]
	trim     func(*store.Change) // nil: it uses all of a row

	prefetch prefetch[E]
	all      store.Place // up to which all was delivered that there was when heard was the number
	heard    int         // how often the journal may have had something new by then; -1: not all was delivered
	pruned   bool        // the session goes on after pruned changes, and the cursor is to follow
	at       store.Place // to read after: with a sink, the sink's place as far as is known; after pruned changes, theirs

	// Of a consumer with a sink.
	sink               Sink[E]   // nil unless the listener keeps its own offset
	confirmed          time.Time // when the sink last was at its place
	generation         int64     // the highest that was used, as the consumer's row has it
	sinkGeneration     int64     // that the sink is in, as far as is known
	reservedGeneration int64     // the same while no sink is known to have begun it; else -1

	// Of failures.
	failingSince time.Time // when it began to fail here; zero while all is well
	failures     int       // how many steps have failed in a row
	realigned    int       // how often the sink was elsewhere since it last took something
	noted        string    // the failure that the consumer's row has; empty: none
}

func newSession[E any](r *Runner[E], l *Lease) *session[E] {
	return &session[E]{
		runner: r, config: r.config, journal: r.journal, listener: r.listener, target: r.target, memory: r.memory, lease: l, keeper: r.keeper, trim: r.trim,
		sink: r.sink, generation: l.row.Generation, sinkGeneration: l.row.Generation, reservedGeneration: -1, noted: l.row.Error, heard: -1,
	}
}

// run calls the listener with what comes, until the lease ends, ctx does, or
// there is a reason to give the lease up.
func (s *session[E]) run(ctx context.Context) error {
	defer s.prefetch.stop()
	defer s.keeper.listen(s.config.Name, s.memory)()
	s.memory.redeliver.Store(s.lease.row.DeadLetters > 0)
	if s.runner.givenUp != nil && s.noted == "" { // else nobody would see one who never keeps a lease
		s.note(fmt.Errorf("the lease was given up: %w", s.runner.givenUp))
	}
	err := s.begin(ctx)
	for err == nil && ctx.Err() == nil {
		err = s.step(ctx)
		if err != nil && s.lease.ctx.Err() == nil {
			err = s.recover(ctx, err)
		}
	}
	if s.lease.ctx.Err() != nil {
		err = context.Cause(s.lease.ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return cmp.Or(err, ErrGivenUp)
}

// step delivers what there is next, or waits until there may be something.
func (s *session[E]) step(ctx context.Context) error {
	if err := s.deliverResync(ctx); err != nil {
		return err
	}
	if s.pruned {
		if err := s.moveAndWait(progress.Cursor{Place: s.at}); err != nil {
			return err
		}
		s.pruned = false
	}
	if err := s.redeliver(ctx); err != nil {
		return err
	}
	from, after := s.from()
	if s.heard >= 0 && from == s.all { // it need not be read that there is no more
		return s.idle(ctx)
	}
	b, err := s.prefetch.take(s, from)
	switch {
	case errors.Is(err, store.ErrPruned):
		floor, failed := s.keeper.floor(s.lease.ctx)
		if failed != nil {
			return failed
		}
		s.skipPruned(floor)
		return nil
	case err != nil:
		return fmt.Errorf("read after tid %d: %w", from.TID, err)
	case len(b.places) == 0:
		s.all, s.heard = from, b.heard
		return s.idle(ctx)
	}
	if after.Partial {
		if b.places[0] != after.Place {
			return fmt.Errorf("%w: tid %d with the commit id %s is not in it", store.ErrRewound, after.TID, after.CommitID)
		}
		b.dropThrough(after)
	}
	if b.more {
		s.prefetch.start(s, b.end())
	}
	if s.sink != nil {
		err = s.deliverToSink(ctx, b)
	} else if s.listener.Batch != nil {
		err = s.deliverBatches(ctx, b)
	} else {
		err = s.deliverEach(ctx, b)
	}
	if err == nil && ctx.Err() == nil { // else it may have delivered nothing
		s.noteSuccess()
		if !b.more {
			s.all, s.heard = b.end(), b.heard
		}
	}
	return err
}

// from returns the place to read after, and in after how much of the first
// transaction the listener has handled already.
func (s *session[E]) from() (from store.Place, after progress.Cursor) {
	c := s.lease.Cursor()
	switch {
	case s.sink != nil:
		return s.at, progress.Cursor{}
	case c.Partial:
		return store.Place{TID: c.TID - 1}, c
	}
	return c.Place, progress.Cursor{}
}

// idle waits until there may be something to deliver after what is delivered.
func (s *session[E]) idle(ctx context.Context) error {
	heard := s.heard
	s.heard = -1 // when it ends, there may be
	if s.sink != nil && time.Since(s.confirmed) > s.config.LeaseFor {
		if err := s.deliverToSink(ctx, &batch[E]{}); err != nil {
			return err
		}
	}
	s.noteSuccess()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.lease.ctx, cancel)()
	if s.sink != nil { // which is asked now and then whether it is still there
		var end context.CancelFunc
		waiting, end = context.WithTimeout(waiting, s.config.LeaseFor)
		defer end()
	}
	s.keeper.reader.await(waiting, s.all, heard, s.memory.kick)
	return nil
}

// query makes some statements for this consumer alone.
func (s *session[E]) query(f func(context.Context) error) error {
	return s.keeper.slots.use(s.lease.ctx, statementLimit, f)
}

// move has a cursor stored: soon if the listener was called for it.
func (s *session[E]) move(c progress.Cursor, called bool) {
	s.remember(c)
	s.lease.Move(c, called)
}

// moveAndWait stores a cursor, and waits until it is stored.
func (s *session[E]) moveAndWait(c progress.Cursor) error {
	s.remember(c)
	s.lease.Want(c)
	return s.lease.WaitStored()
}

// remember notes what the listener has handled.
func (s *session[E]) remember(c progress.Cursor) {
	s.memory.delivered = c.Place
	if !c.Partial {
		s.memory.checkpoints.Add(c.Place)
	}
}
