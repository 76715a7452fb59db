package publish

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/publish/script"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/stream"
)

// transfer brings one span to Redis. It is a state machine:
//
//	sending           requests go out, from the cut t.from to the end of the span
//	  all answered "done"                        -> delivered
//	  an error, or an event that cannot be sent  -> failed
//	  "elsewhere": Redis is at another offset    -> otherOffset
//	  "branch": it is in another generation      -> failed, with a Mismatch
//	  "rewound": it is inside a transaction      -> failed, with a Mismatch
//	  that this history does not have
//	otherOffset       look for Redis's offset in the span
//	  it is the end: the answer to it was lost   -> delivered
//	  it is inside the span                      -> sending, from there
//	  it is not, or this was try maxTries        -> failed, with a Mismatch
//	delivered, failed are the ends
type transfer[E any] struct {
	via    *scripted[E]
	span   consumer.Span
	events []E
	key    string // of the state in Redis

	generation int64 // of the calls
	reset      bool  // span.Reset is still to be done
	from       cut   // at which sending begins
	tries      int   // how often it began
	reply      script.Reply
	err        error // of failed
}

// state is a state of a transfer.
type state int

const (
	sending state = iota
	otherOffset
	delivered
	failed
)

// maxTries bounds how often sending begins. The second is for a repetition, the
// third for a failover in the middle of it; if Redis is at another offset again,
// the consumer has to know.
const maxTries = 4

func (s *scripted[E]) newTransfer(span consumer.Span, events []E) *transfer[E] {
	t := &transfer[E]{via: s, span: span, events: events, key: StateKey(s.config.StreamKey, s.cluster, span.Journal, span.Consumer)}
	t.generation = max(span.Generation, 0)
	if span.Reset != nil {
		t.reset, t.generation = true, span.Reset.Generation
	}
	t.from = cut{whole: span.From}
	return t
}

// run goes from state to state.
func (t *transfer[E]) run(ctx context.Context) error {
	for s := sending; ; {
		switch s {
		case sending:
			s = t.send(ctx)
		case otherOffset:
			s = t.resume()
		case delivered:
			return nil
		case failed:
			return t.err
		}
	}
}

// send is the state sending.
func (t *transfer[E]) send(ctx context.Context) state {
	t.tries++
	var err error
	t.reply, err = t.requests(ctx)
	switch {
	case err != nil:
		t.err = fmt.Errorf("publish: %w", err)
		return failed
	case t.reply.OtherGeneration:
		t.err = &consumer.Mismatch{Offset: consumer.Offset{Generation: t.reply.Generation}, OtherGeneration: true}
		return failed
	case t.reply.Rewound != nil:
		t.err = &consumer.Mismatch{Offset: offsetOf(*t.reply.Rewound), Inside: true}
		return failed
	case t.reply.Mismatch != nil:
		return otherOffset
	}
	return delivered
}

// resume is the state otherOffset.
func (t *transfer[E]) resume() state {
	offset := offsetOf(*t.reply.Mismatch)
	if !offset.Empty && offset.At == t.span.To {
		return delivered
	}
	from, ok := t.find(offset)
	if !ok || t.tries == maxTries {
		t.err = &consumer.Mismatch{Offset: offset}
		return failed
	}
	t.from, t.reset = from, false
	return sending
}

// find returns the cut at an offset, if that is inside the span.
func (t *transfer[E]) find(offset consumer.Offset) (_ cut, ok bool) {
	if offset.Empty {
		return cut{}, false
	}
	for i := len(t.events); i > 0; i-- {
		if t.tx(i-1) == offset.At {
			return cut{next: i, whole: offset.At}, true
		}
	}
	return cut{whole: offset.At}, offset.At == t.span.From && !t.reset
}

// offsetOf returns the offset of Redis. Of a stream whose state is gone, the ids say
// which generations there were.
func offsetOf(o script.Offset) consumer.Offset {
	if o.Empty {
		ms, _, _ := strings.Cut(o.LastEntry, "-")
		if n, err := strconv.ParseUint(ms, 10, 64); err == nil && n > 0 {
			o.Generation = int64(n >> stream.TIDBits)
		}
	}
	return consumer.Offset{Empty: o.Empty, At: store.Place(o.At), Generation: o.Generation}
}

// requests sends what comes after t.from. While Redis works on one request, the
// next is prepared. A reply that does not say why nothing was done means that all
// is done.
func (t *transfer[E]) requests(ctx context.Context) (script.Reply, error) {
	s := t.via
	var preparing sync.WaitGroup
	defer preparing.Wait()
	at, r, spare := t.from, &s.requests[0], &s.requests[1]
	t.prepare(r, at)
	for {
		if r.unencodable != nil && r.end.next == at.next {
			return script.Reply{}, r.unencodable
		}
		more := r.unencodable == nil && r.end.next < len(t.events)
		if more {
			end := r.end
			preparing.Go(func() { t.prepare(spare, end) })
		}
		r.call.Reset = t.reset
		reply, err := s.sender.Send(ctx, r.call, &r.batch)
		preparing.Wait()
		err = s.failed(r, err)
		s.answered(ctx, reply, err)
		switch {
		case err != nil:
			return reply, err
		case reply.Stopped != nil:
			return reply, s.stopped(r.events[reply.At], t.key, reply.Stopped)
		case reply.Mismatch != nil, reply.Rewound != nil, reply.OtherGeneration:
			return reply, nil
		}
		t.reset = false
		if !more {
			return reply, r.unencodable
		}
		at, r, spare = r.end, spare, r
	}
}
