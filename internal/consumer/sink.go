package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// Sink is a listener that keeps, in the place it sends to, how far it has come. So
// what it sends is neither lost nor sent twice, whichever process dies when.
type Sink[E any] interface {
	// Send sends the events after span.From up to span.To. It makes one attempt,
	// within ctx. One process never calls it twice at a time for one journal and
	// consumer. It returns
	//
	//	nil        when all of it is done, and the sink is at span.To
	//	*Mismatch  when the sink is neither at span.From nor within the span:
	//	           nothing of the span was done
	//	*Away      when the sink cannot be reached, or takes nothing now: the
	//	           caller repeats it, and says nothing, because the sink does
	//	another    when an event cannot be sent there: the caller repeats it after
	//	           a pause, and says so
	//
	// The sink remembers what was done before it failed: a repetition, with the
	// same span or one that is cut otherwise, goes on after that.
	Send(ctx context.Context, span Span, events []E) error
}

// Span is a part of the journal, with events of it. Each of them has TID, Seq and
// CommitID.
type Span struct {
	Journal  string // the journal's UUID
	Consumer string // its name; with Journal it is the key of what the sink keeps

	// The span begins after From, reaches to To, and has the changes of whole
	// transactions. It may be empty: then the sink only moves on to To.
	From, To store.Place

	// Generation is that of the sink, as far as the holder knows: -1 if it does
	// not. The sink does nothing if it is in another one, whose number is noted in
	// the consumer's row before it is used. So a call that comes late, after the
	// sink was reset for another holder, does nothing.
	Generation int64

	Reset *Reset // nil unless the sink is to begin a new generation
}

// Reset has a sink begin a new generation at a span's From, if it is exactly at
// Expect. If it is not, the span is done as if Reset were nil: a repetition finds
// what the first attempt began.
type Reset struct {
	Expect     Offset
	Generation int64 // more than Expect.Generation, at most 65535
}

// Offset is the place that a sink has reached.
type Offset struct {
	Empty bool // the sink knows nothing of this journal and consumer
	At    store.Place

	// Generation counts how often the sink was reset. Of a sink that is empty it
	// is the highest that was ever used there, -1 if none was.
	Generation int64
}

// Away is the error of a sink that cannot be reached, or takes nothing now. When that
// begins and when it ends, the sink has said so in the log itself.
type Away struct {
	Err   error
	Pause time.Duration // between two tries, at most
}

// Error is that of what it wraps.
func (e *Away) Error() string { return e.Err.Error() }

// Unwrap returns why the sink is away.
func (e *Away) Unwrap() error { return e.Err }

// Mismatch is the error of a sink that is not where the span begins.
type Mismatch struct {
	Offset Offset // of the sink

	// Inside says that the sink is in the middle of the transaction at its
	// place, and that the span has something else to do before, or instead.
	Inside bool

	// OtherGeneration says that the sink's generation is another than the span's.
	// Of Offset, only the generation is known.
	OtherGeneration bool
}

// Error names the sink's offset.
func (e *Mismatch) Error() string {
	o := e.Offset
	switch {
	case o.Empty:
		return "the consumer's sink has no offset in this journal"
	case e.OtherGeneration:
		return fmt.Sprintf("the consumer's sink is in generation %d", o.Generation)
	case e.Inside:
		return fmt.Sprintf("the consumer's sink is inside tid %d, commit id %s, generation %d", o.At.TID, o.At.CommitID, o.Generation)
	}
	return fmt.Sprintf("the consumer's sink is at tid %d, commit id %s, generation %d", o.At.TID, o.At.CommitID, o.Generation)
}

// reached notes the sink's place now, and whether that was sent something. The cursor
// never goes back to it.
func (s *session[E]) reached(p store.Place, sent bool) {
	s.at, s.confirmed, s.reservedGeneration = p, time.Now(), -1
	if c := s.lease.Cursor(); p.TID > c.TID || p.TID == c.TID && c.Partial {
		s.move(progress.Cursor{Place: p}, sent)
	}
}

// realign finds where to continue with a sink that is elsewhere than was thought. If
// the journal has the sink's place, the session goes on there: either the sink
// has more than was stored before a crash, or it lost what it had, and gets it
// again. If the journal does not have it, the sink is reset.
func (s *session[E]) realign(ctx context.Context, e *Mismatch) error {
	if e.OtherGeneration {
		return s.adopt(e.Offset.Generation)
	}
	floor, err := s.keeper.floor(s.lease.ctx)
	if err != nil {
		return fmt.Errorf("read up to where the journal is pruned: %w", err)
	}
	c, at := s.lease.Cursor(), e.Offset.At
	if e.Offset.Empty {
		return s.resetToCursor(ctx, e.Offset, c, floor)
	}
	exists, err := s.exists(at, floor)
	switch {
	case err != nil:
		return err
	case at.TID < floor:
		err := fmt.Errorf("%w: up to tid %d, and the sink was put back to tid %d", store.ErrPruned, floor, at.TID)
		s.journal.Logger.Error("the sink of a consumer lost what is pruned already: it is reset to after that",
			"consumer", s.config.Name, "listener", s.listener.Name, "sink", at.TID, "pruned to", floor, "err", err)
		return s.reset(ctx, e.Offset, store.Place{TID: floor})
	case exists && e.Inside:
		s.journal.Logger.Error("the sink of a consumer is inside a change that is not the next one, as after other settings: it is reset",
			"consumer", s.config.Name, "listener", s.listener.Name, "sink", at.TID, "tid", s.at.TID)
		return s.reset(ctx, e.Offset, s.at)
	case !exists:
		err := fmt.Errorf("%w: the sink is at tid %d with the commit id %s, which is not in it", store.ErrRewound, at.TID, at.CommitID)
		s.journal.Logger.Error("the sink of a consumer is ahead of the journal, whose history went back: it is reset",
			"consumer", s.config.Name, "listener", s.listener.Name, "sink", at.TID, "tid", c.TID, "err", err)
		if e.Inside { // what it has whole is before that, as was thought
			c = progress.Cursor{Place: s.at}
		}
		return s.resetToCursor(ctx, e.Offset, c, floor)
	case at.TID < c.TID:
		s.journal.Logger.Warn("the sink of a consumer lost what it had: that is sent again",
			"consumer", s.config.Name, "listener", s.listener.Name, "sink", at.TID, "tid", c.TID)
	}
	s.reached(at, true)
	if e.Offset.Generation != s.sinkGeneration {
		return s.adopt(e.Offset.Generation)
	}
	return nil
}

// resetToCursor has the sink begin a new generation at the consumer's cursor.
func (s *session[E]) resetToCursor(ctx context.Context, was Offset, c progress.Cursor, floor int64) error {
	at := c.Place
	if c.Partial {
		var err error
		if at, err = s.before(c.TID); err != nil {
			return err
		}
	}
	if at.TID < floor {
		at = store.Place{TID: floor}
	}
	if was.Empty && s.reservedGeneration < 0 && (s.generation >= 0 || was.Generation >= 0) {
		s.journal.Logger.Error("the sink of a consumer was emptied: it is reset",
			"consumer", s.config.Name, "listener", s.listener.Name, "tid", at.TID)
	}
	return s.reset(ctx, was, at)
}

// reset begins a new generation, if the sink is still where it was found.
func (s *session[E]) reset(ctx context.Context, was Offset, at store.Place) error {
	if s.reservedGeneration <= was.Generation {
		if err := s.reserve(nextGeneration(max(was.Generation, s.generation))); err != nil {
			return err
		}
	}
	span := Span{
		Journal: s.journal.Store.UUID(), Consumer: s.config.Name, From: at, To: at, Generation: s.sinkGeneration,
		Reset: &Reset{Expect: was, Generation: s.reservedGeneration},
	}
	err := s.send(ctx, span, nil)
	var mismatch *Mismatch
	if errors.As(err, &mismatch) { // somebody else was faster: the next step sees where it is
		return nil
	}
	if err == nil {
		s.sinkGeneration = s.reservedGeneration
		s.reached(at, true)
	}
	return err
}

// adopt goes on in the generation that the sink is in. The consumer's row is written
// first: a process that has lost the lease, whose call came late, ends here.
func (s *session[E]) adopt(generation int64) error {
	if err := s.noteGeneration(max(generation, s.generation)); err != nil {
		return err
	}
	s.sinkGeneration = generation
	return nil
}

// reserve notes in the consumer's row that a generation is going to be used,
// before it is: whoever comes next takes another.
func (s *session[E]) reserve(generation int64) error {
	if err := s.noteGeneration(generation); err != nil {
		return err
	}
	s.reservedGeneration = generation
	return nil
}

// noteGeneration stores a generation in the consumer's row, under the lease.
func (s *session[E]) noteGeneration(generation int64) error {
	var held bool
	err := s.query(func(ctx context.Context) (err error) {
		held, err = s.journal.Tables.NoteGeneration(ctx, s.config.Name, s.lease.claim.Token, generation)
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("store generation %d: %w", generation, err)
	case !held:
		return ErrDeposed
	}
	s.generation = generation
	return nil
}

// lastGeneration is the highest there can be: ids of a stream have 16 bits for
// it.
const lastGeneration = 1<<16 - 1

// nextGeneration returns the generation after one, -1 for none. It counts days
// since 1970 if that is more, so that it is a new one even if all who remember
// the last were put back to an older state.
func nextGeneration(last int64) int64 {
	if last < 0 {
		return 0
	}
	return min(max(last+1, time.Now().Unix()/(24*60*60)), lastGeneration)
}
