package consumer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// contest looks, for all consumers whose leases a process does not hold, whether they
// can be had, and acquires those that can: many in one statement.
type contest struct {
	tables *progress.Tables
	holder string // how the consumers' rows name this process
	slots  slots

	kick    chan struct{} // holds one token: leases may have become free
	looking chan struct{} // holds one token: there is a look
	wishing chan struct{} // holds one token: there is a wish

	mu     sync.Mutex // guards what follows
	looks  []*look
	wishes []*wish
}

// look asks for a consumer's row.
type look struct {
	name  string
	due   time.Time
	early time.Time     // not before that
	every time.Duration // how often the row is looked at
	done  chan struct{} // closed when what follows is known
	ok    bool          // the consumer is known
	row   progress.Consumer
	err   error
}

// wish asks for a lease.
type wish struct {
	row   progress.Consumer // as it was seen
	span  time.Duration
	force bool
	gone  bool          // nobody waits for it any more. Guarded by the contest's mu.
	done  chan struct{} // closed when what follows is known
	asked time.Time     // before that was asked for
	token int64         // 0: it was not acquired
	err   error
}

func newContest(t *progress.Tables, holder string, s slots) *contest {
	return &contest{
		tables: t, holder: holder, slots: s, kick: make(chan struct{}, 1),
		looking: make(chan struct{}, 1), wishing: make(chan struct{}, 1),
	}
}

// run answers until ctx ends.
func (c *contest) run(ctx context.Context) {
	var acquiring sync.WaitGroup
	defer acquiring.Wait()
	acquiring.Go(func() { c.acquireAll(ctx) })
	for kicked := false; ; {
		began := time.Now()
		looks, next := c.next(began, kicked)
		if kicked = false; len(looks) > 0 {
			c.answer(ctx, looks)
			if !store.Sleep(ctx, min(4*time.Since(began), time.Second)) { // to look is not all there is to do
				return
			}
			continue
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-c.kick:
			kicked = true
		case <-c.looking:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// next takes who is to be answered now; if there is nobody, it says when there will
// be. If kicked, all are due as early as they may be. If one is due, all are answered
// who are soon: so they become due together.
func (c *contest) next(now time.Time, kicked bool) (due []*look, next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next = now.Add(time.Hour)
	for _, l := range c.looks {
		if kicked && l.early.Before(l.due) {
			l.due = l.early
		}
		if l.due.Before(next) {
			next = l.due
		}
	}
	if next.After(now) {
		return nil, next
	}
	c.looks = slices.DeleteFunc(c.looks, func(l *look) bool {
		soon := !l.due.Add(-l.every/2).After(now) && !l.early.After(now)
		if soon {
			due = append(due, l)
		}
		return soon
	})
	return due, next
}

// answer reads the rows of those who look.
func (c *contest) answer(ctx context.Context, looks []*look) {
	for some := range slices.Chunk(looks, progress.AtOnce) {
		names := make([]string, len(some))
		for i, l := range some {
			names[i] = l.name
		}
		var rows map[string]progress.Consumer
		err := c.slots.use(ctx, statementLimit, func(ctx context.Context) (err error) {
			rows, err = c.tables.FindConsumers(ctx, names...)
			return err
		})
		for _, l := range some {
			l.row, l.ok = rows[l.name]
			l.err = err
			close(l.done)
		}
	}
}

// look returns a consumer's row at a moment, or before if there may be a lease to
// be had. Its caller is the only one that looks at the row.
func (c *contest) look(ctx context.Context, name string, due time.Time, every time.Duration) (row progress.Consumer, found bool, err error) {
	l := &look{name: name, due: due, early: due, every: every, done: make(chan struct{})}
	if !due.IsZero() { // a kick comes with every commit; a lease changes hands more rarely
		l.early = due.Add(-every + every/10)
	}
	c.mu.Lock()
	c.looks = append(c.looks, l)
	c.mu.Unlock()
	signal(c.looking)
	select {
	case <-l.done:
		return l.row, l.ok, l.err
	case <-ctx.Done():
		return progress.Consumer{}, false, ctx.Err()
	}
}

// acquire acquires a lease, if it is available and the row is as it was seen. The
// token is 0 if it was not. asked is a moment before the database was asked.
func (c *contest) acquire(ctx context.Context, row progress.Consumer, span time.Duration, force bool) (token int64, asked time.Time, err error) {
	w := &wish{row: row, span: span, force: force, done: make(chan struct{})}
	c.mu.Lock()
	c.wishes = append(c.wishes, w)
	c.mu.Unlock()
	signal(c.wishing)
	select {
	case <-w.done:
		return w.token, w.asked, w.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-w.done: // just now: whoever asked has to give it up
		return w.token, w.asked, w.err
	default:
	}
	w.gone = true
	return 0, time.Time{}, ctx.Err()
}

// acquireAll acquires what is wished for until ctx ends.
func (c *contest) acquireAll(ctx context.Context) {
	var alone sync.WaitGroup
	defer alone.Wait()
	for {
		select {
		case <-c.wishing:
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		wishes := c.wishes
		c.wishes = nil
		c.mu.Unlock()
		type kind struct {
			span  time.Duration
			force bool
		}
		kinds := map[kind][]*wish{}
		for _, w := range wishes {
			k := kind{w.span, w.force}
			kinds[k] = append(kinds[k], w)
		}
		for k, all := range kinds {
			for some := range slices.Chunk(all, acquiredAtOnce) {
				if c.acquireSome(ctx, some, max(k.span/3, 100*time.Millisecond)) {
					continue
				}
				for _, w := range some { // one of the rows may be locked: none waits for another
					alone.Go(func() { c.acquireSome(ctx, []*wish{w}, max(k.span, 100*time.Millisecond)) })
				}
			}
		}
	}
}

// acquiredAtOnce is how many leases one statement acquires.
const acquiredAtOnce = 100

// acquireSome acquires leases that last equally long. It returns false if it would be
// better to try each alone.
func (c *contest) acquireSome(ctx context.Context, wishes []*wish, limit time.Duration) bool {
	seen := make([]progress.Consumer, len(wishes))
	for i, w := range wishes {
		seen[i] = w.row
	}
	var asked time.Time
	var tokens map[string]int64
	if c.tables.OneWriter() {
		limit = statementLimit
	}
	err := c.slots.use(ctx, limit, func(ctx context.Context) (err error) {
		asked = time.Now()
		tokens, err = c.tables.AcquireLeases(ctx, seen, c.holder, wishes[0].span, wishes[0].force)
		return err
	})
	if err != nil && len(wishes) > 1 && ctx.Err() == nil && !c.tables.OneWriter() {
		return false
	}
	var unwanted []progress.Claim
	c.mu.Lock()
	for _, w := range wishes {
		w.token, w.asked, w.err = tokens[w.row.Name], asked, err
		if w.gone && w.token != 0 {
			unwanted = append(unwanted, progress.Claim{Name: w.row.Name, Token: w.token})
		}
		close(w.done)
	}
	c.mu.Unlock()
	if unwanted != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpLimit) // with the wait for a slot
		defer cancel()
		_ = c.slots.use(ctx, giveUpLimit, func(ctx context.Context) error { return c.tables.ReleaseLeases(ctx, unwanted) }) // else they expire
	}
	return true
}
