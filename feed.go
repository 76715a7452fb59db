package tracbus

import (
	"errors"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/store"
)

// A bus with a journal is fed by it: a listener whose queue is full loses
// nothing, for the journal is read again when there is room.

// attach ties the bus to a journal, of which all has been told up to a tid.
func (b *Bus) attach(j *Journal, at store.Place) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrBusClosed
	case b.journal != nil:
		return errors.New("the bus has a journal already")
	}
	b.journal, b.fed = j, at.TID
	for _, r := range b.registrations {
		r.attach(at)
	}
	return nil
}

// fedTo returns the tid up to which the journal has fed the bus.
func (b *Bus) fedTo() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fed
}

// committed returns the last tid that this process committed, as far as it is
// known.
func (b *Bus) committed() int64 {
	b.mu.Lock()
	j := b.journal
	b.mu.Unlock()
	if j == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.own.TID
}

// feed queues events for every listener: all that the journal has up to a tid.
func (b *Bus) feed(items []delivery.Item[Event], upTo int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fed = upTo
	for _, q := range b.queues {
		q.Feed(items, upTo)
	}
	for _, d := range b.durables {
		signal(d.kick)
	}
}

// rewind makes every listener go on after an earlier tid, after a Resync.
func (b *Bus) rewind(tid int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fed = tid
	for _, q := range b.queues {
		q.Rewind(tid, err)
	}
	for _, d := range b.durables {
		d.missed(err)
	}
}

// nudge has those look that read the journal for themselves.
func (b *Bus) nudge() {
	b.mu.Lock()
	durables := b.durables
	b.mu.Unlock()
	for _, d := range durables {
		signal(d.kick)
	}
}

// skip makes every listener go on after a later tid, up to which all is pruned.
func (b *Bus) skip(tid int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fed = tid
	for _, q := range b.queues {
		q.Skip(tid, tid, err)
	}
}

// caughtUp says whether all up to a tid is queued for every listener.
func (b *Bus) caughtUp(tid int64) bool {
	for _, q := range b.allQueues() {
		if !q.HasRead(tid) {
			return false
		}
	}
	return true
}
