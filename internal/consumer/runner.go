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

// Runner competes for the lease of one consumer. While it holds the lease, a
// session calls the listener. It belongs to one run of a journal.
type Runner[E any] struct {
	config   Config
	journal  Journal[E]
	listener delivery.Listener[E]
	target   Target
	sink     Sink[E] // nil unless the listener keeps its own offset
	memory   *Memory
	keeper   *Keeper[E]
	trim     func(*store.Change) // takes out of a row what the listener does not use; nil: nothing

	observed observation      // of the consumer's row
	attempts map[changeID]int // at changes that failed
	unread   bool             // the last change became a dead letter because it cannot be read
	single   bool             // a batch has failed: deliver one by one, to find the change
	givenUp  error            // why the lease was given up last; nil once the listener succeeds
	failing  time.Time        // since when the log says that the listener fails; zero if it does not
	blind    bool             // the log says that the consumer's row cannot be read
}

// changeID is a change's place in the journal.
type changeID struct {
	tid int64
	seq int
}

// NewRunner returns a runner of one consumer, whose listener t calls. If the
// listener keeps its own offset, sink is called instead of Deliver and Batch; else
// sink is nil. trim takes out of a row what the listener does not use; nil: nothing.
func NewRunner[E any](c Config, k *Keeper[E], l delivery.Listener[E], t Target, sink Sink[E], m *Memory, trim func(*store.Change)) *Runner[E] {
	return &Runner[E]{config: c, journal: k.journal, listener: l, target: t, sink: sink, memory: m, keeper: k, trim: trim, attempts: map[changeID]int{}}
}

// Run acquires the lease whenever it is available, and then runs the consumer. It
// returns when ctx ends or the listener is closed.
func (r *Runner[E]) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the listener may be closed before
		select {
		case <-r.target.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	poll := r.config.LeaseFor / 3
	var due time.Time // when the row is looked at, if nothing asks for that before
	for ctx.Err() == nil {
		if r.target.Busy() { // a call under an earlier lease goes on
			store.Sleep(ctx, poll)
			continue
		}
		l, err := r.acquire(ctx, due, poll)
		if ctx.Err() != nil && l == nil {
			return
		}
		r.logLookup(err)
		if due = time.Now().Add(poll); l == nil {
			continue
		}
		err = newSession(r, l).run(ctx)
		l.GiveUp()
		r.memory.stored = l.storedCursor()
		r.memory.existed(l.lastHeld())
		if errors.Is(err, ErrMoved) {
			r.memory.Missed(fmt.Errorf("%w: %w", store.ErrRewound, err))
		}
		r.journal.Announce(ctx) // the others can have it
		if err != nil && ctx.Err() == nil {
			if !errors.Is(err, errYield) || !errors.Is(r.givenUp, errYield) { // else it was said
				r.logGivenUp(l.claim.Token, err)
			}
			r.givenUp = err
			r.observed = observation{} // what was seen before is of another time
			store.Sleep(ctx, r.othersFirst(err))
		}
	}
}

// othersFirst returns how long the lease is left to others that was given up for an error:
// until they have looked. Who has a sink that is away waits no longer than that allows,
// because nobody else may be there; but for a second, in which others look as a rule.
func (r *Runner[E]) othersFirst(err error) time.Duration {
	long := r.config.LeaseFor / 2
	if away, ok := errors.AsType[*Away](err); ok {
		long = min(long, max(away.Pause, time.Second))
	}
	return long
}

// acquire acquires the lease if it is available when it is due to look, or when there
// is a reason to look before. It returns nil if it is not.
func (r *Runner[E]) acquire(ctx context.Context, due time.Time, every time.Duration) (*Lease, error) {
	name, span := r.config.Name, r.config.LeaseFor
	asked := time.Now()
	row, found, err := r.keeper.contest.look(ctx, name, due, every)
	if err == nil && !found {
		r.memory.stored = progress.Cursor{} // of one that was dropped, perhaps
		if err = r.create(ctx); err == nil {
			row, found, err = r.keeper.contest.look(ctx, name, time.Time{}, every)
		}
	}
	if err != nil || !found {
		return nil, err
	}
	r.compare(row)
	r.memory.seen = true
	r.memory.existed(asked)
	now := time.Now()
	if row.Token != r.observed.token || row.Heartbeat != r.observed.heartbeat || r.observed.since.IsZero() {
		r.observed = observation{row.Token, row.Heartbeat, now}
	}
	ok, overdue := available(row, r.config.Holder, now.Sub(r.observed.since), span)
	if !ok {
		return nil, nil
	}
	token, asked, err := r.keeper.contest.acquire(ctx, row, span, overdue)
	if err != nil || token == 0 {
		return nil, err
	}
	r.memory.highest = observation{token: token, heartbeat: row.Heartbeat + 1}
	r.logAcquired(row, token)
	return r.keeper.renewer.Lease(ctx, row, token, span, asked), nil
}

// compare looks whether the consumer's row went back, as it does if the database
// is put back to an older state: otherwise token and heartbeat only rise. The
// listener may have been called with changes that no longer exist, even if nothing
// else in this process had read that far.
func (r *Runner[E]) compare(row progress.Consumer) {
	highest := r.memory.highest
	r.memory.highest = observation{token: row.Token, heartbeat: row.Heartbeat}
	if row.Token == 0 { // it is new, perhaps after DropConsumer
		r.memory.stored = progress.Cursor{} // of the one that was dropped
		return
	}
	if row.Token < highest.token || row.Token == highest.token && row.Heartbeat < highest.heartbeat {
		r.memory.Missed(fmt.Errorf("%w: the consumer %q had the token %d, and has the token %d at tid %d",
			store.ErrRewound, r.config.Name, highest.token, row.Token, row.Cursor.TID))
	}
}

// create makes the consumer that was not found. One that was seen before was
// dropped, and begins where this process has read the journal to. Or the database
// was put back to before the consumer was made: then it begins where the history
// became another, which is known when this process has noticed it.
func (r *Runner[E]) create(ctx context.Context) error {
	r.memory.mu.Lock()
	at := r.memory.start
	r.memory.mu.Unlock()
	if r.memory.seen {
		at = r.journal.Position()
	}
	at = r.memory.within(at)
	exists, err := r.exists(ctx, at)
	if err != nil || !exists {
		return err
	}
	return r.keeper.slots.use(ctx, statementLimit, func(ctx context.Context) error {
		return Create(ctx, r.journal.Tables, r.config.FromOldest, at, r.config.Name)
	})
}

// exists says whether the journal has a place, or begins there or later.
func (r *Runner[E]) exists(ctx context.Context, p store.Place) (bool, error) {
	floor, err := r.keeper.floor(ctx)
	if err != nil || p.TID < floor {
		return err == nil, err
	}
	return r.keeper.has(ctx, p, floor)
}

// logLookup logs, once, that the consumer's row cannot be read, and that it can
// be again.
func (r *Runner[E]) logLookup(err error) {
	switch {
	case err != nil && !r.blind:
		r.journal.Logger.Warn("a consumer's lease cannot be looked up, which is tried again", "consumer", r.config.Name, "err", err)
	case err == nil && r.blind:
		r.journal.Logger.Info("a consumer's lease can be looked up again", "consumer", r.config.Name)
	}
	r.blind = err != nil
}

func (r *Runner[E]) logAcquired(row progress.Consumer, token int64) {
	if row.Holder == "" && errors.Is(r.givenUp, errYield) { // nobody wanted it, and it still fails
		return
	}
	attrs := []any{"consumer", r.config.Name, "listener", r.listener.Name, "token", token, "tid", row.Cursor.TID}
	if row.Holder != "" {
		attrs = append(attrs, "instead of", row.Holder)
	}
	r.journal.Logger.Info("this process has acquired a consumer's lease", attrs...)
}

func (r *Runner[E]) logGivenUp(token int64, err error) {
	r.journal.Logger.Warn("this process gives up a consumer's lease, to another process or until its own next attempt",
		"consumer", r.config.Name, "listener", r.listener.Name, "token", token, "err", err)
}
