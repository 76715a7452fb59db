package tracbus

import (
	"context"
	"time"

	"github.com/tracbus/tracbus/internal/ordered"
)

// outbox holds the messages of one round trip until Redis has acknowledged
// them. Its memory is used again for the next.
type outbox struct {
	sender   *ordered.Sender
	buffer   []byte // all channels and payloads, one behind the other
	ends     []int  // where each ends in buffer
	messages []ordered.Message
	events   []Event // that the messages are of

	refused map[string]bool // realms and kinds that Redis forbids; logged once
	warned  bool            // that a message may arrive late
}

// maxBytes bounds a round trip, so that a few huge pages do not delay the
// answers to all that stands before them.
const maxBytes = 1 << 20

// encode puts the messages of the first events into the outbox, and returns how
// many of the events it has dealt with.
func (p *Publisher) encode(events []Event) (n int) {
	o := &p.outbox
	o.buffer, o.ends, o.messages, o.events = o.buffer[:0], o.ends[:0], o.messages[:0], o.events[:0]
	for n = 0; n < len(events) && len(o.buffer) < maxBytes; n++ {
		e, ok := p.message(events[n])
		if !ok {
			continue
		}
		buffer, middle, err := p.config.append(o.buffer, e)
		if err != nil {
			p.refuse(e, err)
			continue
		}
		o.buffer = buffer
		o.ends = append(o.ends, middle, len(buffer))
		o.events = append(o.events, e)
	}
	start := 0
	for i := 0; i < len(o.ends); i += 2 {
		middle, end := o.ends[i], o.ends[i+1]
		o.messages = append(o.messages, ordered.Message{Channel: o.buffer[start:middle], Payload: o.buffer[middle:end]})
		start = end
	}
	return n
}

// send publishes what encode has prepared. It tries until Redis has answered
// for every message or ctx ends: the outbox keeps its order by not going on.
func (p *Publisher) send(ctx context.Context) error {
	messages, events := p.outbox.messages, p.outbox.events
	unknown := 0 // how many of messages, from the first, may have been published
	for try := 0; len(messages) > 0; try++ {
		out := p.outbox.sender.Send(ctx, messages)
		p.acknowledge(out.Replies, events)
		messages, events = messages[len(out.Replies):], events[len(out.Replies):]
		sent := out.Unknown || out.Err == nil || len(out.Replies) > 0
		p.count(func(s *PublisherStats) {
			if sent {
				s.Repeated += uint64(unknown)
			}
			s.Waiting = len(messages)
		})
		if sent {
			unknown, try = 0, 0
		}
		if out.Unknown {
			unknown = len(messages)
		}
		p.here(out.Err)
		if len(messages) > 0 && !p.pause(ctx, try) {
			p.count(func(s *PublisherStats) {
				s.Unacknowledged += uint64(unknown)
				s.Dropped += uint64(len(messages) - unknown)
				s.Waiting = 0
			})
			return out.Err
		}
	}
	clear(p.outbox.events)
	return nil
}

// acknowledge counts Redis's answers to the first of events.
func (p *Publisher) acknowledge(replies []ordered.Reply, events []Event) {
	published, unheard := 0, 0
	for i, reply := range replies {
		switch {
		case reply.Err != nil:
			p.refuse(events[i], reply.Err)
			continue
		case reply.Receivers == 0:
			unheard++
		}
		published++
		if len(p.outbox.refused) > 0 {
			delete(p.outbox.refused, sortOf(events[i]))
		}
	}
	p.count(func(s *PublisherStats) {
		s.Published += uint64(published)
		s.Unheard += uint64(unheard)
	})
}

// sortOf names what Redis forbids or allows together.
func sortOf(e Event) string { return string(e.Resource().Realm) + "." + string(e.Kind()) }

// refuse counts a message that will never be published, and logs the first of
// its sort.
func (p *Publisher) refuse(e Event, err error) {
	p.count(func(s *PublisherStats) {
		s.Refused++
		s.LastError = err
	})
	if p.outbox.refused[sortOf(e)] {
		return
	}
	p.outbox.refused[sortOf(e)] = true
	p.config.Logger.Error("message refused; more of its sort are only counted",
		"channel", channelOf(e, p.config.Prefix).String(), "tid", e.About().TID, "err", err)
}

// here notes whether Redis has answered, and logs when that changes.
func (p *Publisher) here(err error) {
	away, was := err != nil, false
	p.count(func(s *PublisherStats) {
		was = s.Away
		if away {
			s.LastError = err
		}
		if away != was {
			s.Away, s.Since = away, time.Now()
		}
	})
	switch {
	case away && !was:
		p.config.Logger.Warn("Redis is away: messages wait", "err", err)
	case was && !away:
		p.config.Logger.Info("Redis is back: messages go out")
	}
	if !away && !p.outbox.warned && p.outbox.sender.Unfenced() {
		p.outbox.warned = true
		p.config.Logger.Warn("messages were sent again that may also arrive late: " +
			"the Redis user may not use INFO, CLIENT ID and CLIENT KILL")
	}
}

// pause waits before try is made again. It reports false if ctx has ended. The
// first time it does not wait: most often an idle connection was closed.
func (p *Publisher) pause(ctx context.Context, try int) bool {
	if try == 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(min(25*time.Millisecond<<min(try, 10), p.config.MaxBackoff))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
