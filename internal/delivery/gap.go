package delivery

import "time"

// Gap says that changes were missed.
type Gap struct {
	Reason Reason
	Missed int       // how many are known to be lost; zero if that is not known
	Err    error     // what led to it; may be nil
	Time   time.Time // when it was noticed

	// From is the event that said so, for whoever makes an event of the gap. It
	// is nil if delivery itself noticed the gap.
	From any
}

// Reason says why changes were missed. Those that are not among the constants
// are the caller's, and say no more than that something was missed.
type Reason string

// The reasons that delivery and its users give.
const (
	Overflowed Reason = "overflowed" // the queue was full, and its oldest events dropped
	Failed     Reason = "gave up"    // the listener failed on an event until its retries were used up
	Loading    Reason = "loading"    // the listener's state is loaded for the first time, or it asked for that
	Pruned     Reason = "pruned"     // changes were pruned before they were read
	Rewound    Reason = "rewound"    // the journal's history went back
)

// severity says how much a reason puts in doubt.
func (r Reason) severity() int {
	switch r {
	case Rewound:
		return 2
	case Pruned:
		return 1
	}
	return 0
}

// NewGap returns a gap that is noticed now.
func NewGap(reason Reason, err error) Gap { return Gap{Reason: reason, Err: err, Time: time.Now()} }

// Add makes g include another gap. The more severe reason is kept.
func (g *Gap) Add(other Gap) {
	g.Missed += other.Missed
	if other.Reason.severity() > g.Reason.severity() {
		g.Reason, g.Err = other.Reason, other.Err
	}
}

// gaps counts gaps by what led to them.
type gaps struct{ overflows, failures uint64 }

// isGap says whether an event is delivered to the listener as the gap that it
// reports.
func (q *Queue[E]) isGap(e E) bool { return q.listener.hearsGaps() && q.config.Gap(e) != nil }

// addGap adds g to what is delivered as a gap before the next event. Only the
// goroutine calls it.
func (q *Queue[E]) addGap(g Gap) {
	if q.gap == nil {
		q.gap = &g
		return
	}
	q.gap.Add(g)
}

// gapBefore has a gap delivered before the next event that is queued.
// The caller holds mu.
func (q *Queue[E]) gapBefore(g Gap) {
	if !q.listener.hearsGaps() {
		return
	}
	if q.overflow != nil {
		q.overflow.Add(g)
		return
	}
	q.overflow = &g
	q.gapsQueued.overflows++
}

// gapAfter has a gap delivered after all that is queued, because the gap does not
// concern that. The caller holds mu.
func (q *Queue[E]) gapAfter(g Gap) {
	if q.waiting.Len() == 0 {
		q.gapBefore(g)
		return
	}
	if q.listener.hearsGaps() {
		q.waiting.Grow(q.config.Event(g))
	}
}

// deliverGap delivers the gap, if there is one, and repeats that until the listener
// has handled it: what comes next would be added to a state that it does not have.
func (q *Queue[E]) deliverGap() {
	if q.gap == nil {
		return
	}
	for attempt := 0; q.ctx.Err() == nil; attempt++ {
		err := q.call(aGap, q.resync)
		if err == nil {
			break
		}
		q.failGap(err)
		if !q.pause(attempt) {
			break
		}
	}
	q.gap, q.reported = nil, false
	q.mu.Lock()
	q.gapsDelivered = q.gapsCovered
	q.mu.Unlock()
}

// resync calls the listener once.
func (q *Queue[E]) resync() error {
	if q.listener.Load == nil {
		return q.listener.Resync(q.ctx, *q.gap)
	}
	err := q.listener.Load(q.ctx, *q.gap, q)
	if err == nil {
		q.loaded, q.covered = q.loading, q.loading != nil
	}
	return err
}

// failGap reports, once for each gap, that it has to be delivered again.
func (q *Queue[E]) failGap(err error) {
	q.mu.Lock()
	q.status.Retried++
	q.status.LastError = err
	q.mu.Unlock()
	if !q.reported {
		q.config.Logger.Error("listener failed on resync, which is repeated",
			"listener", q.listener.Name, "scope", q.listener.Scope, "err", err)
	}
	q.reported = true
}
