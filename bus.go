package tracbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/value"
)

// Bus delivers events to listeners. It starts a goroutine per registration, which
// [Registration.Close] or [Bus.Close] ends and waits for. Its methods may be
// called concurrently, also by listeners, but these may not call Close or Wait.
type Bus struct {
	env    string
	config BusConfig
	ctx    context.Context // of the listeners; ends when Close gives up
	giveUp context.CancelFunc

	// mu makes the order of events the same for all listeners. It guards what
	// follows, and is taken before the mutex of a journal, a queue or a durable.
	mu            sync.Mutex
	registrations []*Registration          // all, in their order
	queues        []*delivery.Queue[Event] // of those that are not durable
	durables      []*durable
	ended         totals // of registrations that were closed
	closed        bool
	journal       *Journal    // nil on a bus that works alone
	fed           store.Place // up to which the journal has fed it

	room       chan struct{} // holds one token: a queue that is behind the journal has room again
	registered chan struct{} // holds one token: there may be a durable consumer to run
}

// BusConfig holds what most trackers need not decide.
type BusConfig struct {
	// QueueSize bounds how many events wait for one listener, without those in
	// the call that goes on. Zero means 10,000.
	QueueSize int

	// BatchSize bounds how many events a [BatchListener] gets in one call. Zero
	// means 1,024.
	BatchSize int

	// MaxRetries is how often an event is delivered again to an [Everywhere]
	// listener that failed on it. Zero means 3; negative means never.
	MaxRetries int

	// Backoff is the pause before the first repetition; it doubles with each,
	// up to 64 times that. Zero means 50 ms.
	Backoff time.Duration

	// Tracer is told of each commit of a journal and each call of a listener. Zero means none.
	Tracer Tracer

	// Logger gets failures of listeners. Zero means slog.Default().
	Logger *slog.Logger
}

// ErrBusClosed is returned by [Bus.Notify] after [Bus.Close].
var ErrBusClosed = errors.New("bus is closed")

// NewBus returns a bus for the tracker called env, which is the second part of every channel: for a
// Trac environment, the base name of its folder. It panics if env is empty or not UTF-8.
func NewBus(env string) *Bus { return BusConfig{}.NewBus(env) }

// NewBus returns a bus with settings of its own.
func (c BusConfig) NewBus(env string) *Bus {
	if env == "" || value.Text(env) != env {
		panic(fmt.Sprintf("tracbus: NewBus needs the tracker's short name, got %q", env))
	}
	c.QueueSize = cmp.Or(c.QueueSize, 10_000)
	c.BatchSize = cmp.Or(c.BatchSize, 1024)
	c.MaxRetries = max(cmp.Or(c.MaxRetries, 3), 0)
	c.Backoff = cmp.Or(c.Backoff, 50*time.Millisecond)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.QueueSize < 0 || c.BatchSize < 0 || c.Backoff < 0 {
		panic("tracbus: BusConfig needs QueueSize, BatchSize and Backoff from zero")
	}
	b := &Bus{env: env, config: c, room: make(chan struct{}, 1), registered: make(chan struct{}, 1)}
	b.ctx, b.giveUp = context.WithCancel(context.Background())
	return b
}

// Env returns the tracker's short name.
func (b *Bus) Env() string { return b.env }

// Notify delivers events that this process has committed, in their order, to every
// listener that is registered by now. It does not wait for any of them. Either
// all events are taken or none: the error says which is malformed, and how, or
// is [ErrBusClosed], or [ErrBusHasJournal] on a bus with a journal, or [ErrNoJournal] on
// one that needs it.
//
// Listeners share the events' [Fields] with the caller, who must not change them any
// more unless Notify fails. The slice is the caller's again.
func (b *Bus) Notify(events ...Event) error {
	var one [1]Event
	taken := one[:0]
	for i, e := range events {
		e, err := normalized(e, b.env, true)
		if err != nil {
			return fmt.Errorf("notify: event %d of %d, %T: %w", i+1, len(events), events[i], err)
		}
		taken = append(taken, e)
	}
	overflowing, err := b.push(taken)
	for _, q := range overflowing { // after all locks are released
		b.config.Logger.Warn("a listener is too slow: its oldest changes are dropped",
			"listener", q.Name(), "scope", q.Scope(), "bound", b.config.QueueSize)
	}
	return err
}

// push queues events for every listener, and returns the queues that begin to
// overflow.
func (b *Bus) push(events []Event) (overflowing []*delivery.Queue[Event], err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, fmt.Errorf("notify: %w", ErrBusClosed)
	case b.journal != nil:
		return nil, fmt.Errorf("notify: %w: expected the change in a ModelTransaction, whose Record delivers it after the commit", ErrBusHasJournal)
	case len(b.durables) > 0:
		d := b.durables[0].listener
		return nil, fmt.Errorf("notify: %w: %s has the scope %s", ErrNoJournal, d.Name, d.Scope)
	}
	for _, e := range events {
		for _, q := range b.queues {
			if q.Push(e, true) {
				overflowing = append(overflowing, q)
			}
		}
	}
	return overflowing, nil
}

// normalized returns e as all listeners will see it, on the bus of an env; "" keeps
// the event's own. It may share e's Fields, and does not change them.
func normalized(e Event, env string, primary bool) (Event, error) {
	if err := checkType(e); err != nil {
		return nil, err
	}
	c, err := e.About().normalized(env, primary)
	if err != nil {
		return nil, err
	}
	if own, ok := e.(ownEvent); ok {
		return own.normalized(c) // WithChange would make one value more
	}
	return e.WithChange(c), nil
}

// checkType refuses what is no event, but looks like one to the compiler.
func checkType(e Event) error {
	switch t := reflect.TypeOf(e); {
	case t == nil:
		return errors.New("expected an event, got nil")
	case t.Kind() == reflect.Pointer:
		return fmt.Errorf("expected a value of type %s, got a pointer to one", t.Elem())
	}
	return nil
}

// register starts the goroutine of a listener. wants says which events it has use
// for, and deliver delivers one of them; deliver is nil if it takes batches only.
func (b *Bus) register(scope Scope, listener any, wants func(Event) bool, deliver func(context.Context, Event) error) *Registration {
	if scope == nil {
		panic(fmt.Sprintf("tracbus: registering %s needs a scope", nameOf(listener)))
	}
	if picky, ok := listener.(scopeChecker); ok {
		if err := picky.checkScope(scope, listener); err != nil {
			panic(fmt.Sprintf("tracbus: registering %s under %s: %v", nameOf(listener), scope, err))
		}
	}
	d := b.listenerOf(scope, listener, wants, deliver)
	r := &Registration{bus: b, name: d.Name, scope: scope}
	if ds, ok := scope.(durableScope); !ok {
		r.queue = delivery.New(b.ctx, b.queueConfig(), d)
	} else if d.Load != nil {
		panic(fmt.Sprintf("tracbus: registering %s under %s: a LoadListener needs Everywhere: its state is of each process", d.Name, scope))
	} else {
		r.durable = b.newDurable(ds, listener, d)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		panic(fmt.Sprintf("tracbus: registering %s on a bus that is closed", r.name))
	} else if b.journal != nil && b.journal.config.WriteOnly && r.queue != nil {
		panic(fmt.Sprintf("tracbus: registering %s under %s: %v", r.name, scope, errWriteOnly))
	}
	// New slices, because others may be walking the old ones.
	if r.durable != nil {
		b.checkConsumer(r.durable)
		b.durables = append(slices.Clip(b.durables), r.durable)
	} else {
		b.queues = append(slices.Clip(b.queues), r.queue)
	}
	b.registrations = append(slices.Clip(b.registrations), r)
	if b.journal != nil {
		r.attach(b.fed)
	}
	if r.durable != nil {
		signal(b.registered)
	}
	r.calls().Start()
	return r
}

// checkConsumer panics if another listener has the name of a durable consumer.
func (b *Bus) checkConsumer(d *durable) {
	for _, other := range b.durables {
		if other.name == d.name {
			panic(fmt.Sprintf("tracbus: registering %s needs a name of its own, %q is that of %s", d.listener.Name, d.name, other.listener.Name))
		}
	}
}

// queueConfig is what all queues of the bus have in common.
func (b *Bus) queueConfig() delivery.Config[Event] {
	return delivery.Config[Event]{
		QueueSize: b.config.QueueSize, BatchSize: b.config.BatchSize, MaxRetries: b.config.MaxRetries, Backoff: b.config.Backoff,
		Logger: b.config.Logger, Room: func() { signal(b.room) },
		TID: func(e Event) int64 { return e.About().TID }, Gap: gapOf, Event: func(g delivery.Gap) Event { return b.resync(g) },
		Attrs: func(e Event) []any {
			return []any{"resource", e.Resource().String(), "channel", channelOf(e, "").String(), "tid", e.About().TID}
		},
	}
}

// attach ties the bus to a journal, of which all up to a place was delivered.
func (b *Bus) attach(j *Journal, at store.Place) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrBusClosed
	case b.journal != nil:
		return errors.New("the bus has a journal already")
	case j.config.WriteOnly && len(b.queues) > 0:
		return fmt.Errorf("%w: expected no listener such as %s but those with the scope Durable", errWriteOnly, b.queues[0].Name())
	}
	b.journal, b.fed = j, at
	for _, r := range b.registrations {
		r.attach(at)
	}
	return nil
}

// fedTo returns the tid up to which the journal has fed the bus.
func (b *Bus) fedTo() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fed.TID
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
	return j.follower.Committed().TID
}

// forget takes a registration that has ended off the bus.
func (b *Bus) forget(r *Registration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.registrations = without(b.registrations, r)
	b.ended = b.ended.with(r.Status())
	b.queues = without(b.queues, r.queue)
	b.durables = without(b.durables, r.durable)
}

// without returns a new slice, because others may be walking the old one.
func without[T comparable](all []T, one T) []T {
	return slices.DeleteFunc(slices.Clone(all), func(other T) bool { return other == one })
}

// Wait returns when [Registration.Wait] has returned for every listener, or when
// ctx ends. A listener that calls it waits for itself.
func (b *Bus) Wait(ctx context.Context) error {
	for _, r := range b.all() {
		if err := r.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Status returns what each registration has done, in the order in which they
// were made.
func (b *Bus) Status() []ListenerStatus {
	var all []ListenerStatus
	for _, r := range b.all() {
		all = append(all, r.Status())
	}
	return all
}

func (b *Bus) all() []*Registration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.registrations
}

func (b *Bus) allDurables() []*durable {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.durables
}

func (b *Bus) allQueues() []*delivery.Queue[Event] {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queues
}

// Close stops taking events, delivers what waits, and waits for the bus's
// goroutines. If ctx ends before, it ends the listeners' context and returns a
// [*CloseError] that says what was not delivered. It may be called again, to
// wait for listeners that were still running.
func (b *Bus) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	registrations := b.registrations
	b.mu.Unlock()
	for _, r := range registrations {
		r.calls().Finish()
	}
	for _, r := range registrations {
		waitForEnd(ctx, r.calls().Done())
	}
	b.giveUp()
	return closeError(registrations)
}
