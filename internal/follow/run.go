package follow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/probe"
	"github.com/tracbus/tracbus/internal/store"
)

// FullPoll is how often the database is really read if a cheaper question is
// asked in between, and for how long a transaction may hold others back
// unnoticed.
const FullPoll = time.Second

// rarePoll is how often it is read where that question is an exact one. So many of them
// cost about as much as one read a second.
const rarePoll = 4 * time.Second

// Run reads until ctx ends. One call at a time. While the database is away, it waits
// and tries again. Then it goes on exactly where it stopped. It calls still
// each time when there is nothing left to read.
func (f *Follower) Run(ctx context.Context, still func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	var waking sync.WaitGroup
	defer waking.Wait()
	defer cancel()
	if f.config.Wake != nil {
		w := &wakeLog{through: f.config.Wake.Through, poll: f.config.Poll, logger: f.config.Logger, lost: map[direction]bool{}}
		waking.Go(func() { f.hear(ctx, w) })
		waking.Go(func() { f.call(ctx, w) })
	}
	ask := probe.Of(f.config.Store, f.config.DB)
	defer ask.Close()
	var pace pace
	for try := 0; ; {
		drain(f.hurry) // who waits by now waits for what this reads
		began := time.Now()
		err := f.follow(ctx)
		pace.read(began)
		if ctx.Err() != nil {
			return
		}
		f.report(err, began)
		if err != nil {
			if !store.Sleep(ctx, min(50*time.Millisecond<<min(try, 6), 2*time.Second)) {
				return
			}
			try++
			continue
		}
		try = 0
		still(ctx)
		if !f.wait(ctx, ask, &pace) {
			return
		}
		f.sink.Nudge() // they read at the same time
	}
}

// report notes whether a reading that began at a moment works, and logs when that
// changes.
func (f *Follower) report(err error, began time.Time) {
	f.mu.Lock()
	was, since, place := f.err, f.since, f.place.TID
	f.err = err
	switch {
	case was == nil && err != nil:
		f.since = began // since then it has had no answer
	case was != nil && err == nil:
		f.since = time.Now()
	}
	f.mu.Unlock()
	switch {
	case err != nil && (was == nil || errors.Is(err, store.ErrUnsupported) && !errors.Is(was, store.ErrUnsupported)):
		f.config.Logger.Error("the journal cannot be followed, which is tried again", "tid", place, "since", began, "err", err)
	case was != nil && err == nil:
		f.config.Logger.Info("the journal is followed again", "tid", place, "after", time.Since(since).Round(time.Millisecond))
	}
}

// follow feeds the sink all there is to read. Only the goroutine that reads calls
// it, and so it may read place without mu.
func (f *Follower) follow(ctx context.Context) error {
	for {
		batch, err := f.next(ctx)
		if err != nil {
			if err = f.lost(ctx, err); err != nil {
				return fmt.Errorf("read after tid %d: %w", f.place.TID, err)
			}
			continue
		}
		if n := len(batch.Places); n > 0 {
			last := batch.Places[n-1]
			f.sink.Feed(f.place, batch, f.reading)
			f.passed.Add(batch.Places...)
			f.mu.Lock()
			f.moveTo(last)
			f.mu.Unlock()
			f.noteRead(batch)
		}
		more, err := f.refill(ctx)
		if err != nil {
			return fmt.Errorf("read again for a slow listener: %w", err)
		}
		if !batch.More && !more {
			return f.lookAhead(ctx)
		}
	}
}

// lookAhead looks for what listeners were loaded with and were not fed yet. If the
// database does not have it, it was put back to an older state, and the follower, which
// had not come that far, has no other way to see it.
func (f *Follower) lookAhead(ctx context.Context) error {
	for last, gone := range f.sink.Ahead {
		exists, err := f.config.Store.Has(ctx, f.config.DB, last)
		if err != nil {
			return fmt.Errorf("look for tid %d: %w", last.TID, err)
		}
		if !exists {
			gone()
		}
	}
	return nil
}

// lost finds a new place if the one that was followed is gone, as Store.Read has
// noticed, and reports that changes were missed. It returns an error of other kinds.
//
// The sink is journalSink in the root's follow.go. If the history went back, each
// queue drops what waits from after the place, and its listener gets a Resync
// (delivery/feed.go: Rewind); each consumer is informed by Memory.Rewound, and looks
// for itself too (consumer/resume.go). If changes were pruned, see Skip there.
func (f *Follower) lost(ctx context.Context, err error) error {
	pruned := errors.Is(err, store.ErrPruned) && !errors.Is(err, store.ErrRewound)
	if !pruned && !errors.Is(err, store.ErrRewound) {
		return err
	}
	place, failed := f.passed.LastKept(ctx, f.config.Store, f.config.DB, pruned)
	if failed != nil {
		return failed
	}
	f.config.Logger.Error("changes of the journal were missed: listeners get a Resync", "tid", f.place.TID, "goes on after", place.TID, "err", err)
	if pruned {
		f.sink.Pruned(place, err)
	} else {
		f.sink.Rewound(place, err)
	}
	latest := f.committedSince(ctx, place)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !pruned {
		f.rewinds++
		if f.committed.TID > place.TID { // what came after it is delivered again, or gone
			f.committed = latest
		}
	}
	f.moveTo(place)
	return nil
}

// committedSince returns what this process has committed since the history went back to a
// place; that place if it has not, or that cannot be looked up: it will be read.
func (f *Follower) committedSince(ctx context.Context, place store.Place) store.Place {
	f.mu.Lock()
	latest := f.latest
	f.mu.Unlock()
	if latest.TID <= place.TID {
		return place
	}
	if exists, err := f.config.Store.Has(ctx, f.config.DB, latest); err != nil || !exists {
		return place
	}
	return latest
}

// refill reads one batch again for each listener whose queue was full, and has
// room now: one that reads for long must not keep others waiting. It says
// whether one of them has room for more. A queue knows no commit id of where it is: what
// was read counts up to the place, and if the database has that afterwards.
func (f *Follower) refill(ctx context.Context) (more bool, err error) {
	for after, l := range f.sink.Behind {
		batch, err := f.read(ctx, store.Place{TID: after})
		switch {
		case errors.Is(err, store.ErrPruned):
			floor, failed := f.config.Store.PrunedTo(ctx, f.config.DB)
			if failed != nil {
				return false, failed
			}
			f.config.Logger.Error("changes of the journal were missed by a slow listener, which gets a Resync",
				"listener", l.Name(), "tid", after, "goes on after", floor, "err", err)
			l.Skip(floor, err)
		case err != nil:
			return false, err
		case len(batch.Places) == 0:
			continue // not decided on this connection yet: there is time
		default:
			if stands, err := f.stands(ctx, f.place); err != nil || !stands {
				return true, err // the next read finds what has become of it
			}
			upTo := min(batch.Places[len(batch.Places)-1].TID, f.place.TID)
			l.Refill(slices.DeleteFunc(batch.Changes, func(c store.Change) bool { return c.TID > upTo }), upTo)
		}
		hasRoom := l.HasRoom()
		more = more || hasRoom
	}
	return more, nil
}

// wait returns when there may be something to read, and it is time to, and false when
// ctx ends.
func (f *Follower) wait(ctx context.Context, ask *probe.Probe, pace *pace) bool {
	whole := max(f.config.Poll, FullPoll)
	if f.config.Poll < FullPoll && !f.config.Store.OneWriter() {
		whole = rarePoll
	}
	full := time.NewTimer(whole)
	defer full.Stop()
	var quick <-chan time.Time
	if f.config.Poll < FullPoll {
		ticker := time.NewTicker(f.config.Poll)
		defer ticker.Stop()
		quick = ticker.C
	}
	for {
		select {
		case <-f.kick:
			pace.wait(ctx, f.hurry)
			drain(f.kick) // the read that follows sees what it was for
			return true
		case <-f.sink.Room():
			return true
		case <-full.C:
			return true
		case <-quick:
			if ask.Changed(ctx, f.place) {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}
