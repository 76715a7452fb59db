package delivery

import "slices"

// Place is a transaction of a journal: the commit id tells it from another one that
// has the same tid in another history.
type Place struct {
	TID      int64
	CommitID string
}

// MaxShown is how many transactions a queue remembers that a snapshot showed and that
// it was not fed yet. If there are more, the listener is loaded again when it has come
// to the last of these.
const MaxShown = 4096

// maxFed bounds what is noted while a snapshot is made.
const maxFed = 4 * MaxShown

// loaded is what a listener has from the tables. It is asked in the order of tids.
type loaded struct {
	upTo  int64
	later []int64 // in their order; those that were passed are forgotten
}

// has says whether the listener has a transaction's changes.
func (l *loaded) has(tid int64) bool {
	for len(l.later) > 0 && l.later[0] < tid {
		l.later = l.later[1:]
	}
	if len(l.later) == 0 {
		l.later = nil // and its memory
	}
	return tid <= l.upTo || len(l.later) > 0 && l.later[0] == tid
}

// ahead is what a listener has from a snapshot before the queue is fed it. What the
// queue is fed then has to be the same: if the database is put back to an older state
// in between, other transactions take those tids.
type ahead struct {
	making bool    // the snapshot is being made
	fed    []Place // meanwhile
	places []Place // that the snapshot showed, and that are not fed yet; in their order
	more   bool    // it showed more after them
}

// BeginLoad says that a snapshot is going to be made, from which the listener is
// loaded. The queue must not be fed during the call.
func (q *Queue[E]) BeginLoad() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ahead = ahead{making: true}
}

// Showed says what the snapshot shows: all up to a tid, to which the queue was fed when
// BeginLoad was called, and these transactions after it. Of more than MaxShown of them,
// the rest is not used. It returns false if the queue was fed others in their place:
// the snapshot is of another history. Only who loads the listener calls it.
func (q *Queue[E]) Showed(upTo int64, later []Place) bool {
	next := &loaded{upTo: upTo}
	for _, p := range later[:min(len(later), MaxShown)] {
		next.later = append(next.later, p.TID)
	}
	q.loading = next
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ahead.making { // the queue was rewound, and the listener is going to be loaded again
		return true
	}
	fed := q.ahead.fed
	n := min(len(later), MaxShown)
	q.ahead = ahead{places: later[:n], more: len(later) > n}
	return len(fed) < maxFed && q.ahead.confirm(fed)
}

// confirm compares what the queue is fed with what the snapshot showed. It returns
// false if that differs, or did not come.
func (a *ahead) confirm(fed []Place) bool {
	for i := 0; i < len(fed) && len(a.places) > 0; i++ {
		switch shown := a.places[0]; {
		case fed[i] == shown:
			a.places = a.places[1:]
		case fed[i].TID >= shown.TID:
			return false
		}
	}
	return true
}

// compare has the listener loaded again if it has from a snapshot what is not so. The
// caller holds mu.
func (q *Queue[E]) compare(fed []Place) {
	a := &q.ahead
	switch {
	case a.making:
		a.fed = append(a.fed, fed[:min(len(fed), maxFed-len(a.fed))]...)
	case len(a.places) == 0:
	case !a.confirm(fed):
		q.loadAgain(a.places[0])
	case len(a.places) > 0:
	case a.more:
		q.ahead = ahead{}
		q.gapBefore(NewGap(Loading, nil))
	default:
		q.ahead = ahead{} // and its memory
	}
}

// loadAgain has the listener loaded again, which has a transaction that is gone. The
// caller holds mu.
func (q *Queue[E]) loadAgain(gone Place) {
	q.config.Logger.Warn("a listener was loaded from a history that is gone: it is loaded again",
		"listener", q.listener.Name, "tid", gone.TID, "commit id", gone.CommitID)
	q.ahead = ahead{}
	q.gapBefore(NewGap(Rewound, nil))
}

// Ahead returns the last transaction that the listener has from a snapshot and that the
// queue was not fed yet, if there is one.
func (q *Queue[E]) Ahead() (last Place, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.ahead.places); n > 0 {
		return q.ahead.places[n-1], true
	}
	return Place{}, false
}

// Gone says that the database does not have a transaction that Ahead returned.
func (q *Queue[E]) Gone(p Place) {
	q.mu.Lock()
	if slices.Contains(q.ahead.places, p) { // else it was fed meanwhile, or is loaded again already
		q.loadAgain(p)
	}
	q.mu.Unlock()
	q.signal()
}
