package tracbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// relay competes for one name, and while it holds it, tells the listener what
// the journal has behind the name's place. It belongs to one Run of a journal.
type relay struct {
	*Journal
	*past
	r    *Registration
	duty *durable
	me   string // as holder

	seen   sight
	tries  map[[2]int64]int // of changes that failed, by tid and seq
	single bool             // a batch has failed: tell one by one, to find the change
	gave   error            // why the name was given up last; nil once the listener gets on
	state  relayState

	failing time.Time // since when the log says that the listener fails; zero if it does not
}

// sight is how a name's row was seen, and since when it has not changed: a clock
// of the database that was set back must not keep a name for ever.
type sight struct {
	epoch, beat int64
	since       time.Time
}

// runOnce runs the names that are registered, also later, until ctx ends and
// their relays have ended.
func (j *Journal) runOnce(ctx context.Context) {
	var relays sync.WaitGroup
	defer relays.Wait()
	running := map[*Registration]bool{}
	for {
		maps.DeleteFunc(running, func(r *Registration, _ bool) bool { return r.durable.over() })
		for _, r := range j.bus.all() {
			if r.durable != nil && !running[r] && !r.durable.over() {
				running[r] = true
				w := &relay{Journal: j, past: &r.durable.past, r: r, duty: r.durable, me: holderName(j.origin), tries: map[[2]int64]int{}}
				relays.Go(func() { w.run(ctx) })
			}
		}
		select {
		case <-j.bus.registered:
		case <-ctx.Done():
			return
		}
	}
}

// holderName is what a row shows of who holds it: where an operator finds the
// process, and what tells it from all others.
func holderName(origin string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%.100s, pid %d, %.8s", host, os.Getpid(), origin)
}

// run takes the name whenever it can be had, until ctx ends or the registration
// is closed.
func (w *relay) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the registration may be closed before
		select {
		case <-w.duty.invoker.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	poll := w.duty.config.LeaseFor / 3
	var looked time.Time
	for ctx.Err() == nil {
		// A kick comes with every commit; a name changes hands more rarely.
		if !sleep(ctx, time.Until(looked.Add(poll/10))) {
			return
		}
		looked = time.Now()
		l, err := w.take(ctx)
		if ctx.Err() != nil && l == nil {
			return
		}
		w.state.looked(w, err)
		if l == nil {
			w.await(ctx, w.duty.kick, poll)
			continue
		}
		err = w.hold(ctx, l)
		l.giveUp()
		if errors.Is(err, errMoved) {
			w.duty.missed(fmt.Errorf("%w: %w", ErrRewound, err))
		}
		w.announceFree(ctx)
		if err != nil && ctx.Err() == nil {
			w.state.gaveUp(w, l.epoch, err)
			w.gave = err
			w.seen = sight{}                     // what was seen before is of another time
			sleep(ctx, w.duty.config.LeaseFor/2) // others first
		}
	}
}

// await returns when there may be something to do.
func (w *relay) await(ctx context.Context, kick <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-kick:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// announceFree lets the other processes know that the name can be had.
func (w *relay) announceFree(ctx context.Context) {
	w.hint()
	if w.config.WakeRedis != nil && ctx.Err() != nil { // who else would announce it has ended
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = w.config.WakeRedis.Publish(ctx, w.wakeChannel(), "").Err() // else they look for themselves
	}
}

// take takes the name if nobody has it, or who has it is gone.
func (w *relay) take(ctx context.Context) (*lease, error) {
	if w.duty.invoker.Busy() {
		return nil, nil // a call of the turn before goes on
	}
	name, span := w.duty.name, w.duty.config.LeaseFor
	row, found, err := w.store.FindConsumer(ctx, name)
	if err == nil && !found {
		if err = w.add(ctx); err == nil {
			row, found, err = w.store.FindConsumer(ctx, name)
		}
	}
	if err != nil || !found {
		return nil, err
	}
	w.compare(row)
	w.known = true
	now := time.Now()
	if row.Token != w.seen.epoch || row.Heartbeat != w.seen.beat || w.seen.since.IsZero() {
		w.seen = sight{row.Token, row.Heartbeat, now}
	}
	still := now.Sub(w.seen.since) > 2*span
	if row.Holder != "" && row.Holder != w.me && row.Left > 0 && !still {
		return nil, nil
	}
	asked := time.Now()
	epoch, taken, err := w.store.AcquireLease(ctx, row, w.me, span, still)
	if err != nil || !taken {
		return nil, err
	}
	w.top = sight{epoch: epoch, beat: row.Heartbeat + 1}
	w.state.took(w, row, epoch)
	return hold(ctx, w.store, row, epoch, span, asked), nil
}

// compare looks whether a name's row went back, as it does with a database that
// is put back: epochs and beats only rise. The listener may have been told what
// is no more, also where nothing else of this process had come so far.
func (w *relay) compare(row store.Consumer) {
	top := w.top
	w.top = sight{epoch: row.Token, beat: row.Heartbeat}
	began := row.Token == 0 // the name is new, perhaps after Retire
	if !began && (row.Token < top.epoch || row.Token == top.epoch && row.Heartbeat < top.beat) {
		w.duty.missed(fmt.Errorf("%w: the name %q was in epoch %d, and is in epoch %d at tid %d", ErrRewound, w.duty.name, top.epoch, row.Token, row.Cursor.TID))
	}
}

// stands returns up to where the bus was told.
func (j *Journal) stands() store.Place {
	return j.follower.Place()
}

// addAllOnce gives the names their places that are registered already, before
// the bus is told of the journal.
func (j *Journal) addAllOnce(ctx context.Context, at store.Place) error {
	for _, r := range j.bus.all() {
		if r.durable == nil {
			continue
		}
		if err := j.addOnce(ctx, r.durable, at); err != nil {
			return fmt.Errorf("begin the name %q: %w", r.durable.name, err)
		}
	}
	return nil
}

// addOnce gives a new name its place: the journal's beginning, or the place
// that is given.
func (j *Journal) addOnce(ctx context.Context, d *durable, at store.Place) error {
	if d.config.FromOldest {
		floor, err := j.store.PrunedTo(ctx, j.db)
		if err != nil {
			return err
		}
		at = store.Place{TID: floor}
	}
	return j.store.AddConsumer(ctx, d.name, at)
}

// add makes the name that the relay did not find. One that it knows was retired,
// and begins where this process stands; or the database was put back to before
// the name was made, and then where it stands is known once the follower has
// seen that.
func (w *relay) add(ctx context.Context) error {
	w.duty.mu.Lock()
	at := w.duty.start
	w.duty.mu.Unlock()
	if w.known {
		at = w.Journal.stands()
		stands, err := w.has(ctx, at)
		if err != nil || !stands {
			return err
		}
	}
	return w.addOnce(ctx, w.duty, at)
}

// has says whether the journal has a place, or began there.
func (j *Journal) has(ctx context.Context, p store.Place) (bool, error) {
	floor, err := j.store.PrunedTo(ctx, j.db)
	if err != nil || p.TID == floor {
		return err == nil, err
	}
	return j.store.Has(ctx, j.db, p)
}

// errYield says that a listener has failed for so long that another process
// should try.
var errYield = errors.New("the listener fails here; another process may do better")

// hold tells the listener what comes, until the lease ends, ctx does, or there
// is a reason to give the name up.
func (w *relay) hold(ctx context.Context, l *lease) error {
	h := &holder{relay: w, lease: l, branch: l.row.Generation, reserved: -1, noted: l.row.Error}
	h.chained = w.duty.chained
	defer h.reading.stop()
	if w.gave != nil && h.noted == "" { // else nobody would see one who never keeps a lease
		h.note(fmt.Errorf("the name was given up: %w", w.gave))
	}
	err := h.begin(ctx)
	for err == nil && ctx.Err() == nil {
		err = h.step(ctx)
		if err != nil && l.ctx.Err() == nil {
			err = h.mend(ctx, err)
		}
	}
	if l.ctx.Err() != nil {
		err = context.Cause(l.ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return cmp.Or(err, errGivenUp)
}
