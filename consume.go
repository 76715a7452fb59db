package tracbus

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"sync"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/follow"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/value"
)

// This file joins internal/consumer, which runs durable consumers, to what it
// needs of a registration and of a journal.

// runConsumers runs the consumers that are registered, also later, until ctx ends
// and their runners have ended.
func (j *Journal) runConsumers(ctx context.Context) {
	defer j.keeper.Start()()
	var runners sync.WaitGroup
	defer runners.Wait()
	running := map[*durable]bool{}
	for {
		maps.DeleteFunc(running, func(d *durable, _ bool) bool { return d.over() })
		for _, d := range j.bus.allDurables() {
			if !running[d] && !d.over() {
				running[d] = true
				runner := j.newRunner(d)
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

func (j *Journal) newRunner(d *durable) *consumer.Runner[Event] {
	c := d.config
	config := consumer.Config{
		Name: d.name, Holder: consumer.HolderName(j.origin), FromOldest: c.FromOldest,
		LeaseFor: c.LeaseFor, CallTimeout: c.CallTimeout, Backoff: c.Backoff, MaxAttempts: c.MaxAttempts, BatchSize: j.bus.config.BatchSize,
	}
	return consumer.NewRunner(config, j.keeper, d.listener, d.invoker, d.sink, d.memory, j.trimFor(d.skimmer))
}

// newKeeper makes what the consumers of this process share.
func (j *Journal) newKeeper() {
	j.keeper = consumer.NewKeeper(consumer.Journal[Event]{
		Store: j.store, Tables: j.tables, DB: j.db, Logger: j.config.Logger, Poll: follow.FullPoll,
		Realms: j.realmNames, Decode: j.eventOf, Position: j.follower.Place, Announce: j.follower.Announce,
	}, consumer.HolderName(j.origin), j.db.Stats().MaxOpenConnections)
}

// createConsumers makes the consumers known that are registered already, before
// the bus is attached to the journal.
func (j *Journal) createConsumers(ctx context.Context, at store.Place) error {
	names := map[bool][]string{} // those that begin at the oldest change, and the others
	for _, d := range j.bus.allDurables() {
		names[d.config.FromOldest] = append(names[d.config.FromOldest], d.name)
	}
	for fromOldest, some := range names {
		if err := consumer.Create(ctx, j.tables, fromOldest, at, some...); err != nil {
			return fmt.Errorf("begin the durable consumers: %w", err)
		}
	}
	return nil
}

// A skimmer is a listener that may have no use for those fields of a changed
// ticket that did not change: they are most of what there is to read of it.
type skimmer interface{ skims() bool }

// trimFor returns a function that takes out of a row what the listener has no use
// for, or nil. Only rows of this library's realm of tickets can be trimmed: the
// Event of another one may read the fields that did not change.
func (j *Journal) trimFor(s skimmer) func(*store.Change) {
	if s == nil || !s.skims() || !isOwnTickets(j.realm(RealmTicket)) {
		return nil
	}
	return func(row *store.Change) {
		if row.Realm == string(RealmTicket) && row.Kind == string(KindChanged) && row.Damage == nil {
			row.Document = value.DropState(row.Document)
		}
	}
}

// isOwnTickets says whether a realm is [Tickets] itself, or that of package trac,
// which makes its events by it. A type of an application that embeds one of them is
// neither.
func isOwnTickets(r JournalRealm) bool {
	own, t := reflect.TypeFor[Tickets](), reflect.TypeOf(r)
	return t == own || t != nil && t.PkgPath() == own.PkgPath()+"/trac"
}

// An offsetKeeper is a listener that keeps, in the place it sends to, how far it has
// come. Under [Durable] it is called in the place of HandleBatch.
type offsetKeeper interface {
	BatchListener

	// sendSpan does what [consumer.Sink.Send] says.
	sendSpan(ctx context.Context, span consumer.Span, events []Event) error
}

// sinkFunc is a function that is a [consumer.Sink].
type sinkFunc func(ctx context.Context, span consumer.Span, events []Event) error

func (f sinkFunc) Send(ctx context.Context, span consumer.Span, events []Event) error {
	return f(ctx, span, events)
}

// durable is what a registration has under the scope [Durable]: the runner of its
// consumer, which belongs to [Journal.Run], orders calls, and its invoker, which
// belongs to the bus, makes them.
type durable struct {
	name     string // of the consumer
	config   DurableConfig
	listener delivery.Listener[Event]
	sink     consumer.Sink[Event] // nil unless the listener keeps its own offset
	skimmer  skimmer              // nil unless the listener may have no use for some fields
	invoker  *delivery.Invoker
	memory   *consumer.Memory
}

func (b *Bus) newDurable(scope durableScope, l any, d delivery.Listener[Event]) *durable {
	r := &durable{name: scope.name, config: scope.config, listener: d, invoker: delivery.NewInvoker(b.ctx, d.Ended), memory: consumer.NewMemory()}
	if k, ok := l.(offsetKeeper); ok {
		r.sink = b.tracedSink(scope, k)
	}
	r.skimmer, _ = l.(skimmer)
	return r
}

// over says whether the registration is closed, and its last call has returned.
func (d *durable) over() bool {
	select {
	case <-d.invoker.Done():
		return true
	default:
		return false
	}
}
