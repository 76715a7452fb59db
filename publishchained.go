package tracbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/publish/script"
	"github.com/tracbus/tracbus/internal/store"
)

var _ offsetKeeper = (*Publisher)(nil)

// checkScope implements [scopeChecker].
func (p *Publisher) checkScope(s Scope, listener any) error {
	if _, queued := s.(scope); queued && p.config.StreamKey != "" {
		return fmt.Errorf("PublisherConfig.Stream is %q: a stream is only appended to under Durable, which knows what is in it already", p.config.StreamKey)
	}
	once, ok := s.(durableScope)
	switch {
	case ok && once.config.MaxAttempts > 0:
		return fmt.Errorf("DurableConfig.MaxAttempts is %d: expected zero, for what is published keeps its order", once.config.MaxAttempts)
	case ok && listener != any(p):
		return errors.New("it embeds a Publisher, which would be told in its place: expected the Publisher, or a type that has one in a named field")
	}
	return nil
}

// skims implements [skimmer]: a payload of the plugin's first form has only what
// changed.
func (p *Publisher) skims() bool { return !p.config.FullNewValues }

// handleChained implements [offsetKeeper]. Redis is what keeps the place: see
// internal/publish/script for what it does with a call that comes twice or late.
func (p *Publisher) handleChained(ctx context.Context, c consumer.Span, events []Event) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	r := &chainRun{p: p, chain: c, events: events, state: stateKey(p.config.StreamKey, c.Journal, c.Consumer), anew: c.Reset != nil}
	if r.branch = p.branches[r.state]; c.Reset != nil {
		r.branch = c.Reset.Generation
	}
	err := r.run(ctx)
	clear(p.links[0].events)
	clear(p.links[1].events)
	if err != nil {
		p.count(func(s *PublisherStats) { s.LastError = err })
	}
	return err
}

// chainRun is one call of handleChained.
type chainRun struct {
	p      *Publisher
	chain  consumer.Span
	events []Event
	state  string
	branch int64 // as far as is known
	anew   bool  // not begun yet
}

// maxTurns bounds how often a run starts again from where Redis says it stands.
// Once is for a repetition, twice for a failover in its midst; whoever keeps
// being elsewhere is told so.
const maxTurns = 4

// run hands on the events from where Redis stands, if that is within them.
func (r *chainRun) run(ctx context.Context) error {
	at := position{whole: r.chain.From}
	for turn := 1; ; turn++ {
		reply, err := r.from(ctx, at)
		switch {
		case err != nil:
			return fmt.Errorf("publish: %w", err)
		case reply.Other && turn < maxTurns:
			r.branch = reply.Branch
			r.p.branches[r.state] = reply.Branch
			continue
		case reply.Other:
			return fmt.Errorf("publish: the branch in %s changed again and again, at last to %d", r.state, reply.Branch)
		case reply.Rewound != nil:
			return &consumer.Mismatch{Offset: standingOf(*reply.Rewound), Inside: true}
		case reply.Elsewhere == nil:
			return nil
		}
		s := standingOf(*reply.Elsewhere)
		if !s.Empty && s.At == r.chain.To && at.within == (store.Place{}) {
			return nil // it was done, and the answer lost
		}
		next, ok := r.find(s)
		if !ok || turn == maxTurns {
			return &consumer.Mismatch{Offset: s}
		}
		at, r.anew = next, false
	}
}

// find returns what lies behind the place where Redis stands, if that is within
// the batch.
func (r *chainRun) find(s consumer.Offset) (position, bool) {
	if s.Empty {
		return position{}, false
	}
	for i := len(r.events); i > 0; i-- {
		if placeOf(r.events[i-1]) == s.At {
			return position{event: i, whole: s.At}, true
		}
	}
	return position{whole: s.At}, s.At == r.chain.From && !r.anew
}

// standingOf returns where Redis stands. Of a stream whose state is gone, the
// ids say which branches there were.
func standingOf(s script.Standing) consumer.Offset {
	if s.Empty {
		ms, _, _ := strings.Cut(s.Last, "-")
		if n, err := strconv.ParseUint(ms, 10, 64); err == nil && n > 0 {
			s.Branch = int64(n >> tidBits)
		}
	}
	return consumer.Offset{Empty: s.Empty, At: store.Place(s.Place), Generation: s.Branch}
}

// from hands on what lies behind at. While Redis works on one call, the next is
// prepared. A reply means that Redis stands elsewhere, or that all is done.
func (r *chainRun) from(ctx context.Context, at position) (script.Reply, error) {
	var preparing sync.WaitGroup
	defer preparing.Wait()
	l, spare := &r.p.links[0], &r.p.links[1]
	r.prepare(l, at)
	for {
		if l.stuck != nil && l.next.event == at.event {
			return script.Reply{}, l.stuck
		}
		more := l.stuck == nil && l.next.event < len(r.events)
		if more {
			next := l.next
			preparing.Go(func() { r.prepare(spare, next) })
		}
		l.call.Anew = r.anew
		reply, err := r.p.chains.Send(ctx, l.call, &l.batch)
		preparing.Wait()
		r.p.answered(reply, err)
		switch {
		case err != nil:
			return reply, l.failed(r.p, err)
		case reply.Stopped != nil:
			return reply, r.p.refusal(l.events[reply.At], r.state, reply.Stopped)
		case reply.Elsewhere != nil, reply.Rewound != nil, reply.Other:
			return reply, nil
		}
		if r.anew {
			r.p.branches[r.state], r.anew = r.branch, false
		}
		if !more {
			return reply, l.stuck
		}
		at, l, spare = l.next, spare, l
	}
}

// answered counts what became of a call.
func (p *Publisher) answered(reply script.Reply, err error) {
	p.count(func(s *PublisherStats) {
		s.Published += uint64(reply.Published)
		s.NoReceivers += uint64(reply.Unheard)
	})
	if _, isReply := errors.AsType[redis.Error](err); isReply {
		err = nil // Redis is there, and says no
	}
	p.here(err)
}

// named says which event an error is of.
func (p *Publisher) named(e Event, err error) error {
	c := e.About()
	return fmt.Errorf("tid %d, seq %d on %s: %w", c.TID, c.Seq, channelOf(e, p.config.Prefix), err)
}

// refusal says why Redis refused a message.
func (p *Publisher) refusal(e Event, state string, err error) error {
	if strings.Contains(err.Error(), "equal or smaller") {
		err = fmt.Errorf("%w: somebody else appended to %q, which must be this journal's and name's alone; deleting %q has it go on behind that",
			err, p.config.StreamKey, state)
	}
	return p.named(e, err)
}

// minHangUp is the least that Redis can be told to hang up on instead of
// answering: proto-max-bulk-len is 1 MiB or more.
const minHangUp = 1 << 20

// failed says why a call had no answer, or which one.
func (l *link) failed(p *Publisher, err error) error {
	if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() || errors.Is(err, context.Canceled) {
		return err
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return err
	}
	if reply, ok := errors.AsType[redis.Error](err); ok && !strings.HasPrefix(reply.Error(), "ERR Protocol error") {
		return err
	}
	if l.longest < minHangUp {
		return err
	}
	return p.named(l.events[0], fmt.Errorf("a message of %d bytes, on which Redis hung up: expected no more than its proto-max-bulk-len: %w", l.longest, err))
}
