package publish

import (
	"github.com/tracbus/tracbus/internal/publish/script"
	"github.com/tracbus/tracbus/internal/store"
)

// request is one call of the script: a part of a span, from one cut to the next.
// Its memory is used again.
type request[E any] struct {
	call        script.Call
	batch       script.Batch
	events      []E   // that the messages are of
	longest     int   // bytes of the longest argument
	end         cut   // after it
	unencodable error // why the event at end cannot be sent; nil if it can
}

// cut is between two events of a span: either between two transactions, so that
// inside is zero, or inside one that is too large for a request.
type cut struct {
	next   int         // index of the event after it
	whole  store.Place // the last whole transaction before it
	inside store.Place // the transaction that it divides; zero if it divides none
	seq    int         // of the last change of inside before it
}

// tx returns the transaction of event i.
func (t *transfer[E]) tx(i int) store.Place {
	tx, _ := t.via.codec.Place(t.events[i])
	return tx
}

// prepare makes a request of the first events after at: as many as make the way to
// Redis matter little, and do not block its other clients for long. It cuts
// between transactions, unless one alone is too much.
func (t *transfer[E]) prepare(r *request[E], at cut) {
	clear(r.events)
	r.events, r.longest, r.unencodable = r.events[:0], 0, nil
	r.batch.Reset()
	r.call = t.call(at)
	i, tx := at.next, at.inside
	for ; i < len(t.events); i++ {
		if next := t.tx(i); next != tx {
			tx = next
			if n := t.size(i); r.batch.Len() > 0 && n <= maxMessages && r.batch.Len()+n > maxMessages {
				break
			}
		}
		if t.via.codec.Wants(t.events[i]) && !t.add(r, t.events[i]) {
			break
		}
	}
	r.end = t.cutBefore(i, at)
	r.call.To, r.call.Ends, r.call.EndsAt = script.Place(r.end.whole), script.Place(r.end.inside), r.end.seq
}

// call returns a call that begins at a cut; where it ends is not known yet.
func (t *transfer[E]) call(at cut) script.Call {
	config := &t.via.config
	c := script.Call{
		State: t.key, Stream: config.StreamKey, MaxLen: config.StreamMaxLen, MaxAge: config.StreamMaxAge,
		Generation: t.generation, From: script.Place(at.whole), Begins: script.Place(at.inside), BeginsAt: at.seq,
	}
	if r := t.span.Reset; r != nil {
		c.Expected = script.Offset{Empty: r.Expect.Empty, At: script.Place(r.Expect.At), Generation: r.Expect.Generation}
	}
	return c
}

// size returns how many changes the transaction has that begins with event i, or
// more than maxMessages.
func (t *transfer[E]) size(i int) int {
	tx, n := t.tx(i), 1
	for i+n < len(t.events) && n <= maxMessages && t.tx(i+n) == tx {
		n++
	}
	return n
}

// add adds the message of an event. It returns false if there is no room for it,
// or if it cannot be sent.
func (t *transfer[E]) add(r *request[E], e E) bool {
	if r.batch.Len() >= maxMessages || len(r.batch.Buffer) >= maxBytes {
		return false
	}
	before := r.batch.Save()
	start := len(r.batch.Buffer)
	r.unencodable = t.encode(&r.batch, e)
	long := len(r.batch.Buffer) - start
	if r.unencodable != nil || long >= minHangUp && r.batch.Len() > 1 { // what is long goes alone, because it may fail
		r.batch.Return(before)
		return false
	}
	r.longest = max(r.longest, long)
	r.events = append(r.events, e)
	return true
}

// encode appends the message of an event, as the script takes it.
func (t *transfer[E]) encode(b *script.Batch, e E) error {
	s := t.via
	tx, seq := s.codec.Place(e)
	b.Number(int64(seq))
	buffer, middle, err := messageOf(s.codec, b.Buffer, e, s.longest)
	if err != nil {
		return s.named(e, err)
	}
	b.Buffer = buffer[:middle]
	b.Cut()
	b.Buffer = buffer
	b.Cut()
	if s.config.StreamKey != "" {
		id, err := entryID(t.generation, tx.TID)
		if err != nil {
			return s.named(e, err)
		}
		appendEntry(b, id, seq, s.codec.Entry(e))
	}
	b.End(script.Place(tx))
	return nil
}

// cutBefore returns the cut before event i, of a request that begins at another.
func (t *transfer[E]) cutBefore(i int, at cut) cut {
	switch {
	case i == len(t.events):
		return cut{next: i, whole: t.span.To}
	case i == at.next:
		return at
	}
	last, seq := t.via.codec.Place(t.events[i-1])
	if last != t.tx(i) {
		return cut{next: i, whole: last}
	}
	return cut{next: i, whole: t.wholeBefore(i-1, at), inside: last, seq: seq}
}

// wholeBefore returns the last whole transaction before the one that event i is
// of, in a request that begins at a cut.
func (t *transfer[E]) wholeBefore(i int, at cut) store.Place {
	last := t.tx(i)
	for j := i; j >= at.next; j-- {
		if tx := t.tx(j); tx != last {
			return tx
		}
	}
	return at.whole
}
