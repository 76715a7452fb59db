package capture

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// ImporterConfig says what an Importer takes in, and how.
type ImporterConfig struct {
	Inbox  *Inbox
	DB     *sql.DB
	Holder string        // of the lease: this process
	Poll   time.Duration // how often the inbox is looked at
	Many   bool          // many resources go in one transaction, because nobody else writes meanwhile

	// Take takes in what waits for some resources, in a transaction of its own.
	Take   func(ctx context.Context, resources []Resource) error
	Logger *slog.Logger

	// Hear yields when something waits, and "" when it begins to hear, until ctx ends; nil: nothing says so.
	Hear func(ctx context.Context) iter.Seq2[string, error]
}

// Importer takes in what waits, in one process at a time. Run is called by one goroutine at a
// time, the other methods concurrently.
type Importer struct {
	config ImporterConfig
	failed map[Resource]failure
	took   map[Resource]bool // when what waits was looked at last
	wrong  []string          // that was said last
	looked time.Time
	kick   chan struct{} // holds one token: something may wait

	mu    sync.Mutex // guards what follows
	err   error
	since time.Time
}

// failure is of one resource.
type failure struct {
	pause time.Duration
	until time.Time
}

const (
	leaseFor   = 3 * time.Second
	renewAfter = time.Second
	lookAfter  = 10 * time.Second // whether the triggers are still there
	atOnce     = 64               // resources in one transaction
)

// NewImporter returns an importer, and logs what is wrong with what was found.
func NewImporter(config ImporterConfig, found Found) *Importer {
	i := &Importer{config: config, failed: map[Resource]failure{}, looked: time.Now(), kick: make(chan struct{}, 1)}
	i.say(found.Wrong)
	return i
}

// say logs what is wrong with the triggers, when that changes.
func (i *Importer) say(wrong []string) {
	switch {
	case slices.Equal(wrong, i.wrong):
	case len(wrong) > 0:
		i.config.Logger.Error("what others write is not captured: expected that what captures is installed again", "wrong", wrong)
	default:
		i.config.Logger.Info("what others write is captured again")
	}
	i.wrong = wrong
}

// Failing returns since when what waits cannot be taken in, and why.
func (i *Importer) Failing() (since time.Time, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.since, i.err
}

// report notes whether all is well, and logs when that changes.
func (i *Importer) report(err error) {
	i.mu.Lock()
	was := i.err
	i.err = err
	switch {
	case err == nil:
		i.since = time.Time{}
	case was == nil:
		i.since = time.Now()
	}
	i.mu.Unlock()
	switch {
	case was == nil && err != nil:
		i.config.Logger.Error("what others wrote cannot be taken in, which is tried again", "err", err)
	case was != nil && err == nil:
		i.config.Logger.Info("what others write is taken in again")
	}
}

// Run takes in what waits until ctx ends. Then it gives up the lease.
func (i *Importer) Run(ctx context.Context) {
	var renewed time.Time
	held := false
	hearing := func() {}
	defer func() { hearing() }()
	var next time.Time // to look
	for {
		pause := renewAfter
		if time.Since(renewed) >= renewAfter {
			asked := time.Now()
			was := held
			var err error
			held, err = i.lease(ctx)
			if err != nil && ctx.Err() != nil {
				break
			}
			if err != nil {
				i.report(err)
			} else if renewed = asked; !held && was {
				i.report(nil) // another process does it
			}
			if held != was {
				hearing()
				hearing = func() {}
			}
			if held && !was {
				hearing = i.hear(ctx)
			}
		}
		if held && !time.Now().Before(next) {
			more, err := i.takeSome(ctx)
			if ctx.Err() == nil {
				i.report(err)
			}
			if next = time.Now(); !more || err != nil {
				next = next.Add(i.config.Poll)
			}
		}
		if held {
			pause = min(pause, time.Until(next))
		}
		i.lookNow(ctx)
		kicked, goesOn := i.wait(ctx, pause)
		if !goesOn {
			break
		}
		if kicked {
			next = time.Time{}
		}
	}
	if held {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = i.config.Inbox.Release(ctx, i.config.DB, i.config.Holder) // else it expires
	}
}

// wait returns after a pause, or when something may wait; goesOn is false when ctx ends.
func (i *Importer) wait(ctx context.Context, pause time.Duration) (kicked, goesOn bool) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-i.kick:
		kicked = true
	case <-timer.C:
	}
	return kicked, ctx.Err() == nil
}

// hear has the importer look when something is said to wait, until what it returns is called. What
// is not heard costs a poll.
func (i *Importer) hear(ctx context.Context) (stop func()) {
	if i.config.Hear == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var hearing sync.WaitGroup
	hearing.Go(func() {
		for ctx.Err() == nil {
			for _, err := range i.config.Hear(ctx) {
				if err == nil { // also when it begins to hear: what was said before was not heard
					select {
					case i.kick <- struct{}{}:
					default:
					}
				}
			}
			limit.Sleep(ctx, time.Second)
		}
	})
	return func() { cancel(); hearing.Wait() }
}

func (i *Importer) lease(ctx context.Context) (held bool, err error) {
	defer limit.Bound(&ctx, &err, limit.From(ctx).Answer, func() string { return "" })()
	left, err := i.config.Inbox.Left(ctx, i.config.DB)
	if left {
		i.config.Logger.Error("a joined transaction was committed without Flush: what others wrote since then may be told to nobody")
	}
	if err != nil {
		return false, err
	}
	return i.config.Inbox.Lease(ctx, i.config.DB, i.config.Holder, leaseFor)
}

// lookNow looks now and then whether the triggers are still there: what upgrades Trac drops them.
func (i *Importer) lookNow(ctx context.Context) {
	if time.Since(i.looked) < lookAfter {
		return
	}
	i.looked = time.Now()
	if found, err := i.config.Inbox.Look(ctx, i.config.DB); err == nil {
		i.say(found.Wrong)
	}
}

// takeSome takes in what the oldest rows are about. more says that there may be more.
func (i *Importer) takeSome(ctx context.Context) (more bool, err error) {
	waiting, err := i.waiting(ctx, i.rests())
	if err != nil {
		return false, err
	}
	return i.takeThese(ctx, waiting)
}

// rests returns which resources are not tried now, because they have failed.
func (i *Importer) rests() func(Resource) bool {
	now := time.Now()
	return func(r Resource) bool { return now.Before(i.failed[r].until) }
}

// takeThese takes in what waits for resources, but for those that have to be tried later.
func (i *Importer) takeThese(ctx context.Context, waiting []Resource) (more bool, err error) {
	maps.DeleteFunc(i.failed, func(r Resource, _ failure) bool { return !slices.Contains(waiting, r) }) // others took it in
	waiting = slices.DeleteFunc(waiting, i.rests())
	n := 1
	if i.config.Many {
		n = atOnce
	}
	took := map[Resource]bool{}
	defer func() { i.took = took }()
	for some := range slices.Chunk(waiting, n) {
		failed := i.config.Take(ctx, some)
		if failed != nil && len(some) > 1 && ctx.Err() == nil { // one of them may be why
			failed = nil
			for _, r := range some {
				if one := i.config.Take(ctx, []Resource{r}); one != nil {
					failed = one
					i.fails(r)
				}
			}
		} else if failed != nil {
			i.fails(some[0])
			if passing(failed) && i.failed[some[0]].pause < time.Second {
				continue
			}
		}
		if failed != nil {
			err = failed
		} else {
			for _, r := range some {
				delete(i.failed, r)
				took[r] = true
				more = more || !i.took[r] // what waits again may wait until the next poll
			}
		}
		if ctx.Err() != nil {
			return false, err
		}
	}
	if len(i.failed) == 0 {
		return more, err
	}
	if err == nil {
		i.mu.Lock()
		err = i.err // of those that were not tried now
		i.mu.Unlock()
	}
	return more, err
}

// passing says whether an error is of two who were in each other's way, and one of them was first.
func passing(err error) bool { return sqltext.IsConflict(err) || errors.Is(err, ErrTaken) }

// fails has a resource be tried again after a pause, which doubles.
func (i *Importer) fails(r Resource) {
	f := i.failed[r]
	f.pause = min(max(2*f.pause, 50*time.Millisecond), 10*time.Second)
	f.until = time.Now().Add(f.pause)
	i.failed[r] = f
}

func (i *Importer) waiting(ctx context.Context, rests func(Resource) bool) (all []Resource, err error) {
	defer limit.Bound(&ctx, &err, limit.From(ctx).Answer, func() string { return "" })()
	return i.config.Inbox.Waiting(ctx, i.config.DB, rests)
}
