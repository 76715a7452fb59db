package tracbus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// fullPoll is how often the database is really read where a cheaper question is
// asked in between, and how long a transaction may hold others back unnoticed.
const fullPoll = time.Second

// Run follows the journal and tells the bus of all that was committed since
// [OpenJournal], in one order, until ctx ends or [Journal.Close] is called; then
// it returns nil. One call at a time. While the database is away it waits and
// tries again, and goes on exactly where it stopped.
func (j *Journal) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j.mu.Lock()
	if j.closed || j.running != nil {
		defer j.mu.Unlock()
		if j.closed {
			return nil
		}
		return errors.New("run: it runs already")
	}
	running := make(chan struct{})
	j.running, j.stop = running, cancel
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.running = nil
		close(running)
	}()

	var waking sync.WaitGroup
	defer waking.Wait()
	defer cancel()
	if j.config.WakeRedis != nil {
		waking.Go(func() { j.hear(ctx) })
		waking.Go(func() { j.call(ctx) })
	}
	waking.Go(func() { j.runConsumers(ctx) })
	f := follower{Journal: j}
	defer f.unpin()
	f.run(ctx)
	return nil
}

// follower is one Run of a journal.
type follower struct {
	*Journal
	pinned  *sql.Conn // asked for SQLite's data_version, which is a connection's own
	version int64
	held    holding
}

func (f *follower) run(ctx context.Context) {
	for try := 0; ; {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		f.report(err)
		if err != nil {
			if !sleep(ctx, min(50*time.Millisecond<<min(try, 6), 2*time.Second)) {
				return
			}
			try++
			continue
		}
		try = 0
		f.held.watch(ctx, f.Journal)
		if !f.wait(ctx) {
			return
		}
		f.bus.nudge() // they read at the same time
	}
}

// report notes whether following works, and logs when that changes.
func (f *follower) report(err error) {
	f.mu.Lock()
	was, since, place := f.lastErr, f.since, f.place.TID
	f.lastErr = err
	if (was == nil) != (err == nil) {
		f.since = time.Now()
	}
	f.mu.Unlock()
	switch {
	case err != nil && (was == nil || errors.Is(err, ErrUnsupportedDatabase) && !errors.Is(was, ErrUnsupportedDatabase)):
		f.config.Logger.Error("the journal cannot be followed, which is tried again", "tid", place, "err", err)
	case was != nil && err == nil:
		f.config.Logger.Info("the journal is followed again", "tid", place, "after", time.Since(since).Round(time.Millisecond))
	}
}

// follow tells the bus all there is to read.
func (f *follower) follow(ctx context.Context) error {
	for {
		batch, err := f.store.Read(ctx, f.db, f.place, f.config.BatchSize, f.realmNames())
		if err != nil {
			if err = f.lost(ctx, err); err != nil {
				return fmt.Errorf("read behind tid %d: %w", f.place.TID, err)
			}
			continue
		}
		if n := len(batch.Places); n > 0 {
			last := batch.Places[n-1]
			f.bus.feed(f.events(batch.Changes), last.TID)
			f.seen.Add(batch.Places...)
			f.moveTo(last)
			f.noteOwn(batch)
		}
		more, err := f.refill(ctx)
		if err != nil {
			return fmt.Errorf("read again for a slow listener: %w", err)
		}
		if !batch.More && !more {
			return nil
		}
	}
}

// noteOwn finds what this process committed, by transactions of the application
// too.
func (f *follower) noteOwn(b store.Batch) {
	for i := len(b.Changes) - 1; i >= 0; i-- {
		if b.Changes[i].Origin != f.origin {
			continue
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, p := range b.Places {
			if p.TID == b.Changes[i].TID && p.TID > f.own.TID {
				f.own = p
			}
		}
		return
	}
}

// moveTo notes up to where the bus was told.
func (j *Journal) moveTo(p store.Place) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.place = p
	close(j.moved)
	j.moved = make(chan struct{})
}

// lost finds a new place after the one that was followed is gone, and tells
// everybody that changes were missed. It returns an error of other kinds.
func (f *follower) lost(ctx context.Context, err error) error {
	reason := ResyncRewound
	switch {
	case errors.Is(err, ErrRewound):
	case errors.Is(err, ErrPruned):
		reason = ResyncPruned
	default:
		return err
	}
	place, failed := f.seen.LastKept(ctx, f.store, f.db, reason == ResyncPruned)
	if failed != nil {
		return failed
	}
	f.config.Logger.Error("changes of the journal were missed: listeners are told to resync", "tid", f.place.TID, "goes on behind", place.TID, "err", err)
	if reason == ResyncPruned {
		f.bus.skip(place.TID, err)
	} else {
		f.bus.rewind(place.TID, err)
		f.mu.Lock()
		f.rewinds++
		if f.own.TID > place.TID { // those behind it are told again, or gone
			f.own = place
		}
		f.mu.Unlock()
	}
	f.moveTo(place)
	return nil
}

// events returns what rows tell. A row that cannot be read is a change missed.
func (j *Journal) events(rows []store.Change) []Event {
	events := make([]Event, 0, len(rows))
	for _, row := range rows {
		e, err := j.eventOf(row)
		if err != nil {
			j.config.Logger.Error("a change of the journal cannot be read: listeners are told to resync", "err", err)
			missed := *j.bus.resync(ResyncEntryUnreadable)
			missed.TID, missed.Seq, missed.Missed, missed.Err = row.TID, row.Seq, 1, err
			missed.Primary = row.Origin == j.origin
			e = missed
		}
		events = append(events, e)
	}
	return events
}

// eventOf returns the event that a row tells, here and now.
func (j *Journal) eventOf(row store.Change) (Event, error) {
	entry, err := entryOf(row)
	if err == nil {
		entry.Change.Env, entry.Change.Primary = j.bus.env, row.Origin == j.origin
		var e Event
		if e, err = eventOf(j.realm(Realm(row.Realm)), entry); err == nil {
			return e, nil
		}
	}
	return nil, fmt.Errorf("tid %d, seq %d, %s %q: %w", row.TID, row.Seq, row.Realm, row.ID, err)
}

// eventOf asks a realm for an event. What it panics with is an error, for it
// would end every process that follows the journal.
func eventOf(r JournalRealm, entry Entry) (e Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, err = nil, &panicError{p, debug.Stack()}
		}
	}()
	if e, err = r.Event(entry); e == nil && err == nil {
		err = errors.New("the realm returned nil")
	}
	return e, err
}

// refill reads one batch again for each listener whose queue was full, and has
// room now: one that reads for long must not keep others waiting. It says
// whether one of them has room for more.
func (f *follower) refill(ctx context.Context) (more bool, err error) {
	told := f.bus.told()
	for _, r := range f.bus.all() {
		after, hungry := r.hungry(told)
		if !hungry {
			continue
		}
		batch, err := f.store.Read(ctx, f.db, store.Place{TID: after}, f.config.BatchSize, f.realmNames())
		switch {
		case errors.Is(err, ErrPruned):
			floor, failed := f.store.PrunedTo(ctx, f.db)
			if failed != nil {
				return false, failed
			}
			f.config.Logger.Error("changes of the journal were missed by a slow listener, who is told to resync",
				"listener", r.name, "tid", after, "goes on behind", floor, "err", err)
			r.skip(floor, told, err)
		case err != nil:
			return false, err
		case len(batch.Places) == 0:
			continue // not decided on this connection yet: there is time
		default:
			r.refill(f.events(batch.Changes), batch.Places[len(batch.Places)-1].TID, told)
		}
		_, hungry = r.hungry(told)
		more = more || hungry
	}
	return more, nil
}

// wait returns when there may be something to read, and false when ctx ends.
func (f *follower) wait(ctx context.Context) bool {
	full := time.NewTimer(max(f.config.PollInterval, fullPoll))
	defer full.Stop()
	var quick <-chan time.Time
	if f.config.PollInterval < fullPoll {
		ticker := time.NewTicker(f.config.PollInterval)
		defer ticker.Stop()
		quick = ticker.C
	}
	for {
		select {
		case <-f.kick:
			return true
		case <-f.bus.hungry:
			return true
		case <-full.C:
			return true
		case <-quick:
			if f.changed(ctx) {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// changed asks whether somebody has written since the last time. On SQLite that
// is a look at one number in shared memory; elsewhere the answer is "perhaps".
func (f *follower) changed(ctx context.Context) bool {
	most := f.db.Stats().MaxOpenConnections
	if !f.store.OneWriter() || most == 1 || most == 2 { // too few to keep one
		return true
	}
	if f.pinned == nil {
		conn, err := f.db.Conn(ctx)
		if err != nil {
			return true
		}
		f.pinned, f.version = conn, -1
	}
	var version int64
	if err := f.pinned.QueryRowContext(ctx, "PRAGMA data_version").Scan(&version); err != nil {
		f.unpin()
		return true
	}
	changed := version != f.version
	f.version = version
	return changed
}

func (f *follower) unpin() {
	if f.pinned != nil {
		_ = f.pinned.Close()
		f.pinned = nil
	}
}
