package tracbus

import (
	"github.com/tracbus/tracbus/internal/publish/script"
	"github.com/tracbus/tracbus/internal/store"
)

// link is one call of the script: a part of a batch, from one position to the
// next. Its memory is used again.
type link struct {
	call    script.Call
	batch   script.Batch
	events  []Event  // that the messages are of
	longest int      // bytes of the longest argument
	next    position // behind it
	stuck   error    // why the event at next cannot be handed on; nil if it can
}

// position lies between two events of a batch.
type position struct {
	event  int         // index of the next one
	whole  store.Place // the last transaction that is whole
	within store.Place // the one that is not; zero if none
	seq    int         // of its last change before
}

func placeOf(e Event) store.Place {
	c := e.About()
	return store.Place{TID: c.TID, CommitID: c.CommitID}
}

// prepare makes a link of the first events behind at: as many as make little of
// the way to Redis, and do not hold its other clients up. It cuts between
// transactions, unless one alone is too much.
func (r *chainRun) prepare(l *link, at position) {
	clear(l.events)
	l.events, l.longest, l.stuck = l.events[:0], 0, nil
	l.batch.Reset()
	config := &r.p.config
	l.call = script.Call{
		State: r.state, Stream: config.StreamKey, Cap: config.StreamMaxLen, Age: config.StreamMaxAge,
		Branch: r.branch, Before: script.Place(at.whole), Rest: script.Place(at.within), Done: at.seq,
	}
	if reset := r.chain.Reset; reset != nil {
		l.call.Expected = script.Standing{Empty: reset.Expect.Empty, Place: script.Place(reset.Expect.At), Branch: reset.Expect.Generation}
	}
	i, place := at.event, at.within
	for ; i < len(r.events); i++ {
		e := r.events[i]
		if p := placeOf(e); p != place {
			place = p
			if n := r.size(i); l.batch.Len() > 0 && n <= maxMessages && l.batch.Len()+n > maxMessages {
				break
			}
		}
		if r.p.wants(e) && !r.add(l, e) {
			break
		}
	}
	l.next = r.position(at, i)
	l.call.After, l.call.Within, l.call.Seq = script.Place(l.next.whole), script.Place(l.next.within), l.next.seq
}

// size returns how many changes the transaction has that begins with event i,
// or more than are counted.
func (r *chainRun) size(i int) int {
	place, n := placeOf(r.events[i]), 1
	for i+n < len(r.events) && n <= maxMessages && placeOf(r.events[i+n]) == place {
		n++
	}
	return n
}

// add adds the message of an event. It reports false if there is no room for
// it, or if it cannot be sent.
func (r *chainRun) add(l *link, e Event) bool {
	if l.batch.Len() >= maxMessages || len(l.batch.Buffer) >= maxBytes {
		return false
	}
	before := l.batch.Save()
	start := len(l.batch.Buffer)
	l.stuck = r.encode(&l.batch, e)
	long := len(l.batch.Buffer) - start
	if l.stuck != nil || long >= minHangUp && l.batch.Len() > 1 { // what is long goes alone: it may fail
		l.batch.Return(before)
		return false
	}
	l.longest = max(l.longest, long)
	l.events = append(l.events, e)
	return true
}

// encode appends the message of an event, as the script takes it.
func (r *chainRun) encode(b *script.Batch, e Event) error {
	b.Number(int64(e.About().Seq))
	buffer, middle, err := r.p.config.append(b.Buffer, e)
	if err != nil {
		return r.p.named(e, err)
	}
	b.Buffer = buffer[:middle]
	b.Cut()
	b.Buffer = buffer
	b.Cut()
	if r.p.config.StreamKey != "" {
		if err := r.p.config.appendEntry(b, e, r.branch); err != nil {
			return r.p.named(e, err)
		}
	}
	b.End(script.Place(placeOf(e)))
	return nil
}

// position returns where a link from at ends whose events end before i.
func (r *chainRun) position(at position, i int) position {
	switch {
	case i == len(r.events):
		return position{event: i, whole: r.chain.To}
	case i == at.event:
		return at
	}
	last := placeOf(r.events[i-1])
	if last != placeOf(r.events[i]) {
		return position{event: i, whole: last}
	}
	p := position{event: i, whole: at.whole, within: last, seq: r.events[i-1].About().Seq}
	for j := i - 1; j >= at.event; j-- {
		if q := placeOf(r.events[j]); q != last {
			p.whole = q
			break
		}
	}
	return p
}
