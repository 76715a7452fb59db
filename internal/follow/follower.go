// Package follow reads the changes of a journal as they are committed, in one order,
// so that nobody misses a change and nobody gets two in another order, whatever the
// database does. It hands on rows, and does not look at what they say.
package follow

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/checkpoint"
	"github.com/tracbus/tracbus/internal/store"
)

// Config says what is followed, and how.
type Config struct {
	Store  *store.Store
	DB     *sql.DB
	Origin string   // of this process, as its transactions have it
	Realms []string // whose changes are read

	Poll   time.Duration // how often the database is asked, if nothing wakes the follower
	Batch  int           // how many transactions are read at once at most
	Wake   *Wake         // nil: the processes do not wake each other
	Logger *slog.Logger

	// WriteOnly is of a process that reads nothing, and whose Run is not called: see cry.
	WriteOnly bool
}

// Follower follows one journal, on behalf of one process. Its methods may be
// called concurrently, except that one goroutine at a time reads: that of Run, or
// that of Finish after Run has ended.
type Follower struct {
	config Config
	sink   Sink

	kick     chan struct{} // holds one token: there may be something to read
	announce chan struct{} // holds one token: other processes should know
	hurry    chan struct{} // holds one token: somebody waits for what is read next

	finishing chan struct{} // holds a token while a Finish reads
	crier     crier

	// Only the goroutine that reads uses these.
	passed  checkpoint.List
	reading int // the sink's number of the last read

	// mu guards what follows. Nothing else is locked while it is held, and the
	// sink is not called.
	mu        sync.Mutex
	place     store.Place   // up to which the sink was fed; only the goroutine that reads writes it
	moved     chan struct{} // closed when place moves, and replaced
	reads     int64         // how many were begun
	verified  int64         // the last of them that found the place where it went on
	committed store.Place   // the last that this process committed
	latest    store.Place   // what it noted last, whatever its tid is
	doubtful  int64         // how many reads were begun when it noted a commit at or before place; 0: it did not
	flushed   store.Place   // the last that the application was about to commit
	rewinds   int           // how often the history went back, so that tids became those of others
	err       error         // of reading; nil if all is well
	since     time.Time     // when err became or ceased to be nil
}

// New returns a follower of what is committed from now on.
func New(ctx context.Context, config Config, sink Sink) (*Follower, error) {
	f := &Follower{
		config: config, sink: sink,
		kick: make(chan struct{}, 1), announce: make(chan struct{}, 1), hurry: make(chan struct{}, 1), moved: make(chan struct{}),
		finishing: make(chan struct{}, 1),
	}
	var err error
	if f.place, err = config.Store.End(ctx, config.DB); err != nil {
		return nil, err
	}
	if config.WriteOnly {
		return f, nil
	}
	return f, f.passed.Begin(ctx, config.Store, config.DB, f.place)
}

// Place returns the place up to which the sink was fed.
func (f *Follower) Place() store.Place {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.place
}

// Now returns the place up to which the sink was fed, and how often the journal's history
// had gone back by then.
func (f *Follower) Now() (at store.Place, rewinds int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.place, f.rewinds
}

// moveTo notes the place up to which the sink was fed. The caller holds mu.
func (f *Follower) moveTo(p store.Place) {
	f.place = p
	close(f.moved)
	f.moved = make(chan struct{})
}

// Status is the state of a follower.
type Status struct {
	Place store.Place // up to which the sink was fed
	Err   error       // why the journal cannot be read; nil if it can
	Since time.Time   // when Err became or ceased to be nil
}

// Status returns the state of the follower.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Status{f.place, f.err, f.since}
}

// Rewinds returns how often the journal's history went back.
func (f *Follower) Rewinds() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rewinds
}

// Committed returns the last place that this process committed, as far as it is
// known.
func (f *Follower) Committed() store.Place {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.committed
}

// NoteCommit notes that this process committed a transaction, which began after a
// number of rewinds: after one more rewind its tid may be of a transaction that is
// gone.
func (f *Follower) NoteCommit(p store.Place, rewinds int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rewinds != f.rewinds {
		return
	}
	f.latest = p
	if p.TID > f.committed.TID {
		f.committed = p
	}
	if p.TID <= f.place.TID { // it was read already, or the history went back
		f.doubtful = f.reads
	}
}

// NoteFlush notes what the application is about to commit.
func (f *Follower) NoteFlush(p store.Place, rewinds int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rewinds == f.rewinds && p.TID > 0 {
		f.flushed = p
	}
}

// noteRead finds what this process committed in what was read: transactions of
// the application too.
func (f *Follower) noteRead(b store.Batch) {
	for i := len(b.Changes) - 1; i >= 0; i-- {
		if b.Changes[i].Origin != f.config.Origin {
			continue
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, p := range b.Places {
			if p.TID == b.Changes[i].TID && p.TID > f.committed.TID {
				f.committed = p
			}
		}
		return
	}
}

// Hint has this process and the others look for what was committed.
func (f *Follower) Hint() {
	signal(f.kick)
	signal(f.announce)
	if f.config.WriteOnly && f.config.Wake != nil {
		f.cry()
	}
}

// Announce is Hint for when what committed may end now: then it calls the others itself.
func (f *Follower) Announce(ctx context.Context) {
	f.Hint()
	if f.config.Wake != nil && ctx.Err() != nil { // who else would call them has ended
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = f.config.Wake.Call(ctx) // if that fails, they look for themselves
	}
}

// signal leaves a token, unless one is there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// drain takes a token away, if there is one.
func drain(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// read reads what is next after a place.
func (f *Follower) read(ctx context.Context, after store.Place) (store.Batch, error) {
	return f.config.Store.Read(ctx, f.config.DB, after, f.config.Batch, f.config.Realms)
}
