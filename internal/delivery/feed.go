package delivery

// A queue that a journal feeds loses nothing when it is full. take notices that
// there is no room, and sets behind. When half of the queue is free, next (run.go)
// calls Config.Room. Then Follower.refill (package follow, run.go) reads the journal
// again after readTo and calls Refill; or it calls Skip, which leads to a gap, if
// that was pruned.

// Attach begins to count tids, after one up to which all was delivered, and has the
// listener loaded.
func (q *Queue[E]) Attach(at int64) {
	q.mu.Lock()
	q.readTo = at
	if q.listener.Load != nil {
		q.gapBefore(NewGap(Loading, nil))
	}
	q.mu.Unlock()
	q.signal()
}

// Feed queues what the listener wants of the journal's next transactions, one after
// the other, as long as there is room. What there is no room for is read again later.
func (q *Queue[E]) Feed(items []Item[E], transactions []Place) {
	q.mu.Lock()
	q.compare(transactions)
	if !q.behind {
		q.take(items, transactions[len(transactions)-1].TID)
	}
	idle := len(q.batch) == 0
	q.mu.Unlock()
	if idle {
		q.signal()
	}
}

// Refill is Feed for a queue that is behind the others, which are at fed.
func (q *Queue[E]) Refill(items []Item[E], upTo, fed int64) {
	q.mu.Lock()
	if !q.closing { // else it is behind for ever, as Close says
		q.take(items, upTo)
		q.behind = q.readTo < fed
	}
	q.mu.Unlock()
	q.signal()
}

// take queues whole transactions until the queue is full. The caller holds mu.
func (q *Queue[E]) take(items []Item[E], upTo int64) {
	for i := 0; i < len(items) && !q.closing; {
		tid := items[i].TID
		if q.waiting.Len() >= q.config.QueueSize {
			q.behind = true
			upTo = tid - 1
			break
		}
		for ; i < len(items) && items[i].TID == tid; i++ {
			if item := &items[i]; tid > q.readTo && q.takes(item) {
				q.waiting.Grow(item.Event)
			}
		}
	}
	q.readTo = max(q.readTo, upTo)
	q.moved()
}

// takes says whether an item of the journal is for the listener.
func (q *Queue[E]) takes(item *Item[E]) bool {
	return (item.Primary || !q.listener.PrimaryOnly) && (q.listener.Wants(item.Event) || q.isGap(item.Event))
}

// Behind says whether the journal is to be read again for the queue, and after
// which tid. The other queues are at fed.
func (q *Queue[E]) Behind(fed int64) (after int64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.behind = q.behind && q.readTo < fed
	return q.readTo, q.behind && !q.closing && q.waiting.Len() <= q.config.QueueSize/2
}

// Rewind drops what waits from after a tid, which is no more, and goes on there
// after a gap. What waits from before it is still true, and is delivered: a side
// effect of a primary listener has no other occasion.
func (q *Queue[E]) Rewind(tid int64, err error) {
	q.mu.Lock()
	waits := q.waiting.Pop(nil, q.waiting.Len())
	for _, e := range waits {
		if q.config.TID(e) <= tid {
			q.waiting.Grow(e)
		}
	}
	kept := q.waiting.Len()
	dropped := uint64(len(waits) - kept)
	for i := range q.waiters { // count on to where what is kept ends now
		w := &q.waiters[i]
		w.upTo = min(w.upTo, q.left+uint64(kept)) + dropped
	}
	q.left += dropped
	q.status.Dropped += dropped
	if q.listener.Dropped != nil {
		q.listener.Dropped(int(dropped))
	}
	q.readTo = min(q.readTo, tid)
	q.behind = q.behind && q.readTo < tid
	q.ahead = ahead{}
	q.gapAfter(NewGap(Rewound, err))
	q.moved()
	q.mu.Unlock()
	q.signal()
}

// Skip goes on after the tid up to which all is pruned, after a gap, if the
// journal was not read for the listener up to there. The other queues are at
// fed. What waits was read before, and is delivered.
func (q *Queue[E]) Skip(floor, fed int64, err error) {
	q.mu.Lock()
	if q.readTo < floor && !q.closing {
		q.readTo = floor
		q.behind = q.readTo < fed
		q.ahead = ahead{}
		q.gapAfter(NewGap(Pruned, err))
		q.moved()
	}
	q.mu.Unlock()
	q.signal()
}

// HasRead says whether all up to a tid is queued, or nothing more is.
func (q *Queue[E]) HasRead(tid int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.readTo >= tid || q.closing
}
