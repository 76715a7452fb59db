package tracbus

import (
	"cmp"
	"context"
	"time"

	"github.com/tracbus/tracbus/internal/publish/pipeline"
)

// outbox holds the messages of one round trip until Redis has acknowledged
// them. Its memory is used again for the next but one.
type outbox struct {
	buffer   []byte // all channels and payloads, one behind the other
	ends     []int  // where each ends in buffer
	messages []pipeline.Message
	events   []Event // that the messages are of
}

// The bounds of a round trip: what is large enough to make little of the way
// to Redis, and small enough that Redis works on one while the next is encoded.
const (
	maxMessages = 256
	maxBytes    = 1 << 20
)

// encode fills o with the messages of the first events, and returns the events
// that are left for another.
func (p *Publisher) encode(o *outbox, events []Event) (rest []Event) {
	o.buffer, o.ends, o.messages, o.events = o.buffer[:0], o.ends[:0], o.messages[:0], o.events[:0]
	for len(events) > 0 && len(o.events) < maxMessages && len(o.buffer) < maxBytes {
		e := events[0]
		events = events[1:]
		if !p.wants(e) {
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
		o.messages = append(o.messages, pipeline.Message{Channel: o.buffer[start:middle], Payload: o.buffer[middle:end]})
		start = end
	}
	return events
}

// What Redis closes the connection on, instead of answering, would block all
// that is behind it. After maxHangUps in a row messages are sent one by one, and
// after maxHangUpsAlone one is refused. One smaller than minRefused never is:
// Redis takes whatever is that small (no limit of its can be set below 1 MB), so
// that the network is to blame, which will be mended.
const (
	maxHangUps      = 3
	maxHangUpsAlone = 5
	minRefused      = 64 << 10
)

// send publishes what encode has prepared. It tries until Redis has answered
// for every message or ctx ends: the order is kept by not going on.
func (p *Publisher) send(ctx context.Context, o *outbox) error {
	messages, events := o.messages, o.events
	unknown := 0 // how many of messages, from the first, may have been published
	hangUps := 0 // in a row
	alone := false
	for try := 0; len(messages) > 0; try++ {
		trip := messages
		if alone {
			trip = messages[:1]
		}
		out := p.sender.Send(ctx, trip)
		p.acknowledge(out.Replies, events)
		if out.Unknown || out.Err == nil || len(out.Replies) > 0 { // it was sent
			p.count(func(s *PublisherStats) { s.Resent += uint64(min(unknown, len(trip))) })
		}
		if out.Unknown {
			unknown = max(unknown, len(trip))
		}
		done := len(out.Replies)
		if out.HungUp {
			hangUps++
		} else {
			hangUps = 0
		}
		switch {
		case !alone && hangUps == maxHangUps:
			alone, hangUps = true, 0
		case alone && hangUps >= maxHangUpsAlone && len(trip[0].Channel)+len(trip[0].Payload) >= minRefused:
			p.refuse(events[0], out.Err)
			done, hangUps = 1, 0
		}
		if done > 0 {
			messages, events, unknown, try = messages[done:], events[done:], max(unknown-done, 0), 0
		}
		p.count(func(s *PublisherStats) { s.Waiting = len(messages) })
		p.here(out.Err)
		if len(messages) > 0 && !p.pause(ctx, try) {
			p.count(func(s *PublisherStats) {
				s.Unacknowledged += uint64(unknown)
				s.Dropped += uint64(len(messages) - unknown)
				s.Waiting = 0
			})
			return cmp.Or(out.Err, ctx.Err())
		}
	}
	clear(o.events)
	return nil
}

// acknowledge counts Redis's answers to the first of events.
func (p *Publisher) acknowledge(replies []pipeline.Reply, events []Event) {
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
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Published += uint64(published)
	p.stats.NoReceivers += uint64(unheard)
	for i := 0; i < len(replies) && len(p.refused) > 0; i++ {
		if replies[i].Err == nil { // the next refusal of its sort is news
			delete(p.refused, sortOf(events[i]))
		}
	}
}

// sortOf names what Redis forbids or allows together.
func sortOf(e Event) string { return string(e.Resource().Realm) + "." + string(e.Kind()) }

// refuse counts a message that will never be published, and logs the first of
// its sort.
func (p *Publisher) refuse(e Event, err error) {
	p.mu.Lock()
	p.stats.Rejected++
	p.stats.LastError = err
	known := p.refused[sortOf(e)]
	p.refused[sortOf(e)] = true
	p.mu.Unlock()
	if !known {
		p.config.Logger.Error("message refused; more of its sort are only counted",
			"channel", channelOf(e, p.config.Prefix).String(), "tid", e.About().TID, "err", err)
	}
}

// here notes whether Redis has answered, and logs when that changes.
func (p *Publisher) here(err error) {
	away, was := err != nil, false
	p.count(func(s *PublisherStats) {
		was = s.Disconnected
		if away {
			s.LastError = err
		}
		if away != was {
			s.Disconnected, s.Since = away, time.Now()
		}
	})
	switch {
	case away && !was:
		p.config.Logger.Warn("Redis is away: messages wait", "err", err)
	case was && !away:
		p.config.Logger.Info("Redis is back: messages go out")
	}
	if !away && !p.warned && p.sender.Unfenced() {
		p.warned = true
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
