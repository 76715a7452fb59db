package tracbus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/store"
)

// This file joins internal/consumer, which runs durable consumers, to what it
// needs of a registration and of a journal.

// runConsumers runs the consumers that are registered, also later, until ctx ends
// and their runners have ended.
func (j *Journal) runConsumers(ctx context.Context) {
	var runners sync.WaitGroup
	defer runners.Wait()
	running := map[*Registration]bool{}
	for {
		maps.DeleteFunc(running, func(r *Registration, _ bool) bool { return r.over() })
		for _, r := range j.bus.all() {
			if r.once != nil && !running[r] && !r.over() {
				running[r] = true
				runner := j.newRunner(r)
				runners.Go(func() { runner.Run(ctx) })
			}
		}
		select {
		case <-j.bus.registered:
		case <-ctx.Done():
			return
		}
	}
}

func (j *Journal) newRunner(r *Registration) *consumer.Runner[Event] {
	c := r.once.config
	config := consumer.Config{
		Name: r.once.name, Holder: consumer.HolderName(j.origin), FromOldest: c.FromOldest,
		LeaseFor: c.LeaseFor, CallTimeout: c.CallTimeout, Backoff: c.Backoff, MaxAttempts: c.MaxAttempts, BatchSize: j.bus.config.BatchSize,
	}
	journal := consumer.Journal[Event]{
		Store: j.store, DB: j.db, Logger: j.config.Logger, Poll: fullPoll,
		Realms: j.realmNames, Decode: j.eventOf, Trim: j.trimFor(r.listener), Position: j.position, Announce: j.announceFree, Stack: stackOf,
	}
	var sink consumer.Sink[Event]
	if k, ok := r.listener.batches.(offsetKeeper); ok {
		sink = sinkFunc(k.handleChained)
	}
	return consumer.NewRunner(config, journal, r.consumerListener(), consumerTarget{r}, sink, r.once.memory)
}

// createConsumers makes the consumers known that are registered already, before
// the bus is attached to the journal.
func (j *Journal) createConsumers(ctx context.Context, at store.Place) error {
	for _, r := range j.bus.all() {
		if r.once == nil {
			continue
		}
		if err := consumer.Create(ctx, j.store, j.db, r.once.name, r.once.config.FromOldest, at); err != nil {
			return fmt.Errorf("begin the consumer %q: %w", r.once.name, err)
		}
	}
	return nil
}

// position returns up to where the journal was delivered to the bus.
func (j *Journal) position() store.Place {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.place
}

// announceFree lets the other processes know that a consumer's lease can be had.
func (j *Journal) announceFree(ctx context.Context) {
	j.hint()
	if j.config.WakeRedis != nil && ctx.Err() != nil { // who else would announce it has ended
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = j.config.WakeRedis.Publish(ctx, j.wakeChannel(), "").Err() // else they look for themselves
	}
}

// A skimmer is a listener that may have no use for those fields of a changed
// ticket that did not change: they are most of what there is to read of it.
type skimmer interface{ skims() bool }

// trimFor returns a function that takes out of a row what the listener has no use
// for, or nil. Only the rows of Trac's tickets can be trimmed.
func (j *Journal) trimFor(l listener) func(*store.Change) {
	_, tracs := j.realm(RealmTicket).(TracTickets)
	s, ok := l.batches.(skimmer)
	if !tracs || !ok || !s.skims() {
		return nil
	}
	return func(row *store.Change) {
		if row.Realm == string(RealmTicket) && row.Kind == string(KindChanged) && row.Damage == nil {
			row.State = "{}"
		}
	}
}

// stackOf returns where the panic was that an error is.
func stackOf(err error) (stack string, ok bool) {
	var p *panicError
	if !errors.As(err, &p) {
		return "", false
	}
	return string(p.stack), true
}

// An offsetKeeper is a listener that keeps, where it sends to, how far that has
// come. Under [Durable] it is called in the place of HandleBatch.
type offsetKeeper interface {
	BatchListener

	// handleChained does what [consumer.Sink.Send] says.
	handleChained(ctx context.Context, span consumer.Span, events []Event) error
}

// sinkFunc is a function that is a [consumer.Sink].
type sinkFunc func(ctx context.Context, span consumer.Span, events []Event) error

func (f sinkFunc) Send(ctx context.Context, span consumer.Span, events []Event) error {
	return f(ctx, span, events)
}

// consumerListener returns the registration's listener as its consumer calls it.
func (r *Registration) consumerListener() consumer.Listener[Event] {
	l := consumer.Listener[Event]{Name: r.name, Wants: r.listener.wants, Tell: r.listener.tell}
	if r.listener.batches != nil {
		l.Batch = r.listener.batches.HandleBatch
	}
	if r.listener.resyncs != nil {
		l.Resync = func(ctx context.Context, g consumer.Gap) error {
			return r.listener.resyncs.Resync(ctx, r.bus.resyncOf(g))
		}
	}
	return l
}

// consumerTarget is a registration by which its consumer calls the listener.
type consumerTarget struct{ r *Registration }

func (t consumerTarget) Call(ctx context.Context, f func(context.Context) error) error {
	return t.r.ask(ctx, f)
}

func (t consumerTarget) Busy() bool               { return !t.r.free() }
func (t consumerTarget) Context() context.Context { return t.r.ctx }
func (t consumerTarget) Done() <-chan struct{}    { return t.r.done }

func (t consumerTarget) CountDelivered(n int) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.left += uint64(n)
}

func (t consumerTarget) CountFailed() {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.left++
	t.r.status.Failed++
}

func (t consumerTarget) CountRetried(err error) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.status.Retried++
	t.r.status.LastError = err
}

// resyncOf returns the Resync that tells a listener of a gap.
func (b *Bus) resyncOf(g consumer.Gap) Resync {
	reason := ResyncPruned
	if g.Reason == consumer.Rewound {
		reason = ResyncRewound
	}
	e := *b.resync(reason)
	e.Time, e.Err = g.Time, g.Err
	return e
}
