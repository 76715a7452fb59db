package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/publish/pipeline"
	"github.com/tracbus/tracbus/internal/redisconn"
)

// pipelined publishes in pipelines, and keeps the order by not going on before
// Redis has answered. It is not for concurrent use.
type pipelined[E any] struct {
	recorder   *recorder
	codec      Codec[E]
	sender     *pipeline.Sender
	maxBackoff time.Duration
	longest    int // bytes of a message
	buffers    [2]buffer[E]
	warned     bool // that a message may arrive late
}

// publish sends events. Most often one buffer holds them all.
func (p *pipelined[E]) publish(ctx context.Context, events []E) error {
	b := &p.buffers[0]
	rest := p.fill(b, events)
	if len(rest) > 0 {
		return p.publishAll(ctx, b, rest)
	}
	if err := p.send(ctx, b); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// publishAll sends one buffer while it fills the other with what is left.
func (p *pipelined[E]) publishAll(ctx context.Context, b *buffer[E], rest []E) error {
	var preparing sync.WaitGroup
	defer preparing.Wait()

	spare := &p.buffers[1]
	for {
		next := rest
		if len(rest) > 0 {
			preparing.Go(func() { next = p.fill(spare, rest) })
		}
		err := p.send(ctx, b)
		preparing.Wait()
		switch {
		case err != nil && len(rest) > 0:
			p.recorder.dropped(len(spare.messages) + p.wanted(next))
			fallthrough
		case err != nil:
			return fmt.Errorf("publish: %w", err)
		case len(rest) == 0:
			return nil
		}
		b, spare, rest = spare, b, next
	}
}

// wanted counts the events that are published at all.
func (p *pipelined[E]) wanted(events []E) (n int) {
	for _, e := range events {
		if p.codec.Wants(e) {
			n++
		}
	}
	return n
}

// send publishes what a buffer holds. It tries until Redis has answered every
// message or ctx ends.
func (p *pipelined[E]) send(ctx context.Context, b *buffer[E]) error {
	messages, events := b.messages, b.events
	unknown := 0 // how many of messages, from the first, may have been published
	var hung hangUps
	for try := 0; len(messages) > 0; try++ {
		trip := messages
		if hung.alone {
			trip = messages[:1]
		}
		out := p.sender.Send(ctx, trip)
		out.Err = p.recorder.explain(out.Err)
		p.acknowledge(out.Replies, events)
		if out.Unknown || out.Err == nil || len(out.Replies) > 0 { // it was sent
			p.recorder.count(func(s *Stats) { s.Resent += uint64(min(unknown, len(trip))) })
		}
		if out.Unknown {
			unknown = max(unknown, len(trip))
		}
		done := len(out.Replies)
		if hung.blame(out.HungUp, trip) {
			p.reject(events[0], out.Err)
			done = 1
		}
		if done > 0 {
			messages, events, unknown, try = messages[done:], events[done:], max(unknown-done, 0), 0
		}
		p.recorder.count(func(s *Stats) { s.Waiting = len(messages) })
		if !errors.Is(ctx.Err(), context.Canceled) { // else it was cut short, which says nothing of Redis
			p.here(out.Err)
		}
		if len(messages) > 0 && !p.pause(ctx, try) {
			p.recorder.count(func(s *Stats) {
				s.Unacknowledged += uint64(unknown)
				s.Dropped += uint64(len(messages) - unknown)
				s.Waiting = 0
			})
			return cmp.Or(out.Err, ctx.Err())
		}
	}
	clear(b.events)
	return nil
}

// acknowledge counts Redis's answers to the first of events.
func (p *pipelined[E]) acknowledge(replies []pipeline.Reply, events []E) {
	published, noReceivers := 0, 0
	for i, reply := range replies {
		switch {
		case reply.Err != nil:
			p.reject(events[i], p.recorder.explain(reply.Err))
			continue
		case reply.Receivers == 0:
			noReceivers++
		}
		published++
	}
	r := p.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Published += uint64(published)
	r.stats.NoReceivers += uint64(noReceivers)
	for i := 0; i < len(replies) && len(r.rejected) > 0; i++ {
		if replies[i].Err == nil { // the next of its sort that is rejected is news
			delete(r.rejected, p.codec.Sort(events[i]))
		}
	}
}

// reject counts a message that will never be published, and logs the first of its
// sort.
func (p *pipelined[E]) reject(e E, err error) {
	r, sort := p.recorder, p.codec.Sort(e)
	r.mu.Lock()
	r.stats.Rejected++
	r.stats.LastError = err
	known := r.rejected[sort]
	r.rejected[sort] = true
	r.mu.Unlock()
	if !known {
		tx, _ := p.codec.Place(e)
		r.logger.Error("message refused; more of its sort are only counted", "channel", p.codec.Name(e), "tid", tx.TID, "err", err)
	}
}

// here notes whether Redis has answered, and warns once if what was sent again
// can also arrive late.
func (p *pipelined[E]) here(err error) {
	p.recorder.here(err)
	if err == nil {
		p.recorder.watched(p.sender.Unwatched())
	}
	if err == nil && !p.warned && p.sender.Unfenced() {
		p.warned = true
		p.recorder.logger.Warn("messages were sent again that may also arrive late: " +
			"the Redis user may not use INFO and CLIENT KILL, or CLIENT ID where HELLO is renamed")
	}
}

// pause waits before the next try, and returns false if ctx has ended. The first
// time it does not wait, because most often an idle connection was closed.
func (p *pipelined[E]) pause(ctx context.Context, try int) bool {
	if try == 0 {
		return ctx.Err() == nil
	}
	return redisconn.Pause(ctx, try, p.maxBackoff)
}
