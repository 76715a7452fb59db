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
	wrong  []string // that was said last
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
	for {
		pause := i.config.Poll
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
		if held {
			more, err := i.takeSome(ctx)
			if ctx.Err() == nil {
				i.report(err)
			}
			if more && err == nil {
				pause = 0
			}
		} else {
			pause = max(pause, renewAfter)
		}
		i.lookNow(ctx)
		if !i.wait(ctx, pause) {
			break
		}
	}
	if held {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = i.config.Inbox.Release(ctx, i.config.DB, i.config.Holder) // else it expires
	}
}

// wait returns when it is time to look, and false when ctx ends.
func (i *Importer) wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-i.kick:
	case <-timer.C:
	}
	return ctx.Err() == nil
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
			for text, err := range i.config.Hear(ctx) {
				if err == nil && text != "" {
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
	waiting, err := i.waiting(ctx)
	if err != nil {
		return false, err
	}
	return i.takeThese(ctx, waiting)
}

// takeThese takes in what waits for resources, but for those that have to be tried later.
func (i *Importer) takeThese(ctx context.Context, waiting []Resource) (more bool, err error) {
	maps.DeleteFunc(i.failed, func(r Resource, _ failure) bool { return !slices.Contains(waiting, r) }) // others took it in
	now := time.Now()
	waiting = slices.DeleteFunc(waiting, func(r Resource) bool { return now.Before(i.failed[r].until) })
	n := 1
	if i.config.Many {
		n = atOnce
	}
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
			more = true
			for _, r := range some {
				delete(i.failed, r)
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

func (i *Importer) waiting(ctx context.Context) (all []Resource, err error) {
	defer limit.Bound(&ctx, &err, limit.From(ctx).Answer, func() string { return "" })()
	return i.config.Inbox.Waiting(ctx, i.config.DB)
}
