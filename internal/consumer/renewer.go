package consumer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// Renewer renews the leases that a process holds, and stores their cursors: those of
// all consumers in one statement, or in a few. It has a connection of its own, and so
// no listener and nobody who reads keeps it from that.
type Renewer struct {
	tables *progress.Tables
	slots  slots         // for what is renewed alone
	wake   chan struct{} // holds one token: there may be something to do

	news   atomic.Int64   // when there was something new in the journal, in microseconds
	newest atomic.Int64   // its last tid
	apart  sync.WaitGroup // leases that are renewed alone

	mu       sync.Mutex // guards what follows, and the schedule of leases
	leases   map[*Lease]struct{}
	releases []release
}

// release is a lease that is to be given up.
type release struct {
	claim progress.Claim
	done  chan struct{} // closed when that was tried
}

// newRenewer returns a renewer, which works while [Renewer.Run] runs.
func newRenewer(t *progress.Tables, s slots) *Renewer {
	return &Renewer{tables: t, slots: s, wake: make(chan struct{}, 1), leases: map[*Lease]struct{}{}}
}

// NewRenewer returns a renewer for a pool of at most so many connections; 0 means
// any number. It works while [Renewer.Run] runs.
func NewRenewer(t *progress.Tables, connections int) *Renewer {
	return newRenewer(t, newSlots(connections))
}

// schedule is when a lease is renewed. The renewer's mu guards it.
type schedule struct {
	due   time.Time     // to be renewed; zero: now, with a cursor that is to be stored
	pause time.Duration // until the next attempt, after one that failed
	alone bool          // the row kept a statement waiting that was about others too
}

// Run renews leases, and gives up those that it is asked to, until ctx ends. Whoever
// gives a lease up waits for that, and so ends before.
func (r *Renewer) Run(ctx context.Context) {
	defer r.tables.Rest(ctx)
	defer r.apart.Wait()
	for {
		due, releases, next := r.next(time.Now())
		r.release(ctx, releases)
		store.Sleep(ctx, r.renewAll(ctx, due))
		if len(due)+len(releases) > 0 {
			continue
		}
		if r.holdsNone() { // perhaps the last was lost
			r.tables.Rest(ctx)
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-r.wake:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// next takes what there is to do now; if there is nothing, it says when there will be.
// If one lease is due, all are renewed that are soon: so they become due together.
func (r *Renewer) next(now time.Time) (due []*Lease, releases []release, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	releases, r.releases = r.releases, nil
	next = now.Add(time.Hour)
	renews := false
	for l := range r.leases {
		if l.ctx.Err() != nil {
			delete(r.leases, l)
			continue
		}
		renews = renews || !l.schedule.due.IsZero() && !l.schedule.due.After(now)
	}
	for l := range r.leases {
		s := &l.schedule
		soon := renews && s.pause == 0 && s.due.Add(-l.span/6).Before(now)
		if !soon && s.due.After(now) {
			if s.due.Before(next) {
				next = s.due
			}
			continue
		}
		s.due = now.Add(l.span / 3)
		due = append(due, l)
	}
	return due, releases, next
}

// holdsNone says whether there is no lease to renew.
func (r *Renewer) holdsNone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.leases) == 0
}

// soon has a lease renewed now.
func (r *Renewer) soon(l *Lease) {
	r.mu.Lock()
	l.schedule.due = time.Time{}
	r.mu.Unlock()
	signal(r.wake)
}

// within has a lease renewed in a while at most.
func (r *Renewer) within(l *Lease, while time.Duration) {
	r.mu.Lock()
	due := time.Now().Add(while)
	sooner := due.Before(l.schedule.due) && l.schedule.pause == 0
	if sooner {
		l.schedule.due = due
	}
	r.mu.Unlock()
	if sooner {
		signal(r.wake)
	}
}

// again has a lease renewed after a pause, because that failed.
func (r *Renewer) again(l *Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &l.schedule
	s.pause = min(max(2*s.pause, 20*time.Millisecond), l.span/6)
	s.due = time.Now().Add(s.pause)
}

// write is what one statement stores for leases, which are locked meanwhile.
type write struct {
	leases []*Lease
	moves  bool
	span   time.Duration
	moved  []progress.Move // of each lease: what only renews is about different cursors
}

// The pauses in which cursors come together are bounded: by the second while the journal
// has something new all the time.
const (
	mostGathering = 5 * time.Millisecond
	mostYielding  = 20 * time.Millisecond
)

// yieldFor is for how long after there was something new the writers are taken to write on.
const yieldFor = 30 * time.Millisecond

// yieldUntil is how many transactions a consumer may be behind before its cursor is stored as
// fast as it can be, whatever the writers want.
const yieldUntil = 32

// hear notes what is new in the journal.
func (r *Renewer) hear(b store.Batch) {
	r.news.Store(time.Now().UnixMicro())
	if n := len(b.Places); n > 0 {
		r.newest.Store(b.Places[n-1].TID)
	}
}

// pause returns how long to wait for others after cursors were stored, which took a while. It
// is as long as that; but while others commit and no consumer is far behind, the more
// there are, the smaller is the share of the time that storing them takes from these.
func (r *Renewer) pause(moved []progress.Move, took time.Duration) time.Duration {
	behind := slices.ContainsFunc(moved, func(m progress.Move) bool { return m.To.TID < r.newest.Load()-yieldUntil })
	if behind || time.Since(time.UnixMicro(r.news.Load())) > yieldFor {
		return min(took, mostGathering)
	}
	return min(time.Duration(1+len(moved)/8)*took, mostYielding)
}

// renewAll renews leases and stores their cursors: what only renews in one statement,
// first, and what moves in another. It returns how long not to look what is due. After
// many have moved, their listeners are called with the next changes at the same time:
// whoever is done first waits for the others as long as a statement takes, else half of
// them would always be in one statement, and half in the next.
func (r *Renewer) renewAll(ctx context.Context, leases []*Lease) (pause time.Duration) {
	var writes []write
	limit := time.Hour
	for _, l := range leases {
		if !l.writing.TryLock() { // a dead letter is being stored, which renews it too
			r.again(l)
			continue
		}
		from, to := l.next()
		one := write{[]*Lease{l}, from != to, l.span, []progress.Move{{Claim: l.claim, From: from, To: to}}}
		limit = min(limit, l.span/3)
		if r.isAlone(l) {
			r.renewAlone(ctx, one)
			continue
		}
		writes = join(writes, one)
	}
	slices.SortFunc(writes, func(a, b write) int { return cmp.Compare(number(a.moves), number(b.moves)) })
	for _, w := range writes {
		began := time.Now()
		r.store(ctx, w, max(limit, 100*time.Millisecond))
		if w.moves && len(w.leases) > 1 {
			pause = r.pause(w.moved, time.Since(began))
		}
	}
	return pause
}

// join adds a write to those of which it can be a part.
func join(writes []write, one write) []write {
	for i, w := range writes {
		if w.span == one.span && w.moves == one.moves && len(w.leases) < progress.AtOnce {
			writes[i].leases = append(w.leases, one.leases...)
			writes[i].moved = append(w.moved, one.moved...)
			return writes
		}
	}
	return append(writes, one)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (r *Renewer) isAlone(l *Lease) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return l.schedule.alone
}

// store makes a write, and settles each lease.
func (r *Renewer) store(ctx context.Context, w write, limit time.Duration) {
	if r.tables.OneWriter() { // who waits there waits for whoever writes, and not for a row
		limit = giveUpLimit
	}
	asked := time.Now() // before the database counts, so that we end first
	storing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	changed, err := r.write(storing, w)
	slow := err != nil && time.Since(asked) > limit/3 // perhaps one of the rows is locked
	locked := errors.Is(err, progress.ErrLocked)
	held := err == nil && changed == int64(len(w.leases))
	var rows map[string]progress.Consumer
	if err == nil && !held {
		names := make([]string, len(w.leases))
		for i, l := range w.leases {
			names[i] = l.claim.Name
		}
		rows, err = r.tables.FindConsumers(storing, names...)
	}
	for i, l := range w.leases {
		l.settle(asked, w.moved[i].To, w.moves, held, rows, err)
		r.mu.Lock()
		again := l.schedule.pause > 0 // most locks last for a moment
		l.schedule.alone = (slow || locked && again) && len(w.leases) > 1 && !r.tables.OneWriter() || l.schedule.alone && err != nil
		alone := l.schedule.alone
		if err == nil {
			l.schedule.pause = 0
		}
		r.mu.Unlock()
		l.writing.Unlock()
		switch {
		case err != nil && alone && len(w.leases) > 1:
			r.soon(l)
		case err != nil:
			r.again(l)
		}
	}
}

// write makes a write, and returns of how many leases.
func (r *Renewer) write(ctx context.Context, w write) (changed int64, err error) {
	if w.moves {
		return r.tables.MoveCursors(ctx, w.span, w.moved)
	}
	claims := make([]progress.Claim, len(w.moved))
	for i, m := range w.moved {
		claims[i] = m.Claim
	}
	return r.tables.RenewLeases(ctx, w.span, claims)
}

// renewAlone makes the write of one lease, whose row may be locked by somebody, so
// that no other lease waits for that.
func (r *Renewer) renewAlone(ctx context.Context, one write) {
	l := one.leases[0]
	r.apart.Go(func() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(l.ctx, cancel)()
		err := r.slots.use(ctx, l.span, func(ctx context.Context) error {
			r.store(ctx, one, l.span/2)
			return nil
		})
		if err != nil {
			l.writing.Unlock()
		}
	})
}

// add has a lease renewed from now on.
func (r *Renewer) add(l *Lease) {
	r.mu.Lock()
	l.schedule.due = time.Now().Add(l.span / 3)
	r.leases[l] = struct{}{}
	r.mu.Unlock()
	signal(r.wake)
}

// drop gives a lease up that is not renewed any more, within ctx.
func (r *Renewer) drop(ctx context.Context, l *Lease) {
	one := release{l.claim, make(chan struct{})}
	r.mu.Lock()
	r.releases = append(r.releases, one)
	r.mu.Unlock()
	signal(r.wake)
	select {
	case <-one.done:
	case <-ctx.Done(): // then it expires
	}
}

// release gives leases up.
func (r *Renewer) release(ctx context.Context, releases []release) {
	for some := range slices.Chunk(releases, progress.AtOnce) {
		claims := make([]progress.Claim, len(some))
		for i, one := range some {
			claims[i] = one.claim
		}
		releasing, cancel := context.WithTimeout(ctx, giveUpLimit/3)
		err := r.tables.ReleaseLeases(releasing, claims)
		cancel()
		for _, one := range some {
			if err == nil || len(some) == 1 {
				close(one.done)
				continue
			}
			r.apart.Go(func() { // the row of another may be locked
				defer close(one.done)
				_ = r.slots.use(ctx, giveUpLimit/3, func(ctx context.Context) error {
					return r.tables.ReleaseLeases(ctx, []progress.Claim{one.claim})
				}) // else it expires
			})
		}
	}
}
