package tracbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/value"
)

// Bus tells events to listeners. It starts a goroutine per registration, which
// [Registration.Close] or [Bus.Close] ends and waits for. Its methods may be
// called concurrently, also by listeners, who may not call Close or Wait.
type Bus struct {
	env    string
	config BusConfig
	ctx    context.Context // of the listeners; ends when Close gives up
	giveUp context.CancelFunc

	// mu makes the order of events the same for all listeners.
	mu            sync.Mutex
	registrations []*Registration
	closed        bool
	journal       *Journal // nil on a bus that works alone
	fed           int64    // the tid up to which the journal has told it

	hungry     chan struct{} // holds one token: a listener that lags has room again
	registered chan struct{} // holds one token: there may be a name to run
}

// BusConfig holds what most trackers need not decide.
type BusConfig struct {
	// QueueSize bounds how many events wait for one listener, without those that
	// it is being told. Zero means 10,000.
	QueueSize int

	// BatchSize bounds how many events a [BatchListener] gets in one call. Zero
	// means 1,024.
	BatchSize int

	// MaxRetries is how often an [Everywhere] listener is told again of an event
	// on which it failed. Zero means 3; negative means never.
	MaxRetries int

	// Backoff is the pause before the first repetition; it doubles with each,
	// up to 64 times that. Zero means 50 ms.
	Backoff time.Duration

	// Logger gets failures of listeners. Zero means slog.Default().
	Logger *slog.Logger
}

// ErrBusClosed is returned by [Bus.Notify] after [Bus.Close].
var ErrBusClosed = errors.New("bus is closed")

// NewBus returns a bus for the tracker called env, which is the second part of
// every channel: for a Trac environment, the base name of its folder. It panics
// if env is empty or not UTF-8.
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
	b := &Bus{env: env, config: c, hungry: make(chan struct{}, 1), registered: make(chan struct{}, 1)}
	b.ctx, b.giveUp = context.WithCancel(context.Background())
	return b
}

// Env returns the tracker's short name.
func (b *Bus) Env() string { return b.env }

// Notify tells events that this process has committed, in their order, to every
// listener that is registered by now. It does not wait for any of them. Either
// all events are taken or none: the error says which is malformed, and how, or
// is [ErrBusClosed], or [ErrBusHasJournal] on a bus with a journal, or [ErrNoJournal] on
// one that needs it. The events belong to the caller again when Notify returns.
func (b *Bus) Notify(events ...Event) error {
	var one [1]Event
	taken := one[:0]
	for i, e := range events {
		e, err := entering(e, b.env, true)
		if err != nil {
			return fmt.Errorf("notify: event %d of %d, %T: %w", i+1, len(events), events[i], err)
		}
		taken = append(taken, e)
	}
	crowded, err := b.put(taken)
	for _, r := range crowded { // after all locks are released
		b.config.Logger.Warn("a listener is too slow: its oldest changes are dropped",
			"listener", r.name, "scope", r.scope.String(), "bound", b.config.QueueSize)
	}
	return err
}

// put queues events for every listener, and returns those listeners whose
// queues begin to overflow.
func (b *Bus) put(events []Event) (crowded []*Registration, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, fmt.Errorf("notify: %w", ErrBusClosed)
	case b.journal != nil:
		return nil, fmt.Errorf("notify: %w: expected the change in a ModelTransaction, whose Record tells it after the commit", ErrBusHasJournal)
	}
	for _, r := range b.registrations {
		if r.once != nil {
			return nil, fmt.Errorf("notify: %w: %s has the scope %s", ErrNoJournal, r.name, r.scope)
		}
	}
	for _, e := range events {
		for _, r := range b.registrations {
			if r.put(e, true) {
				crowded = append(crowded, r)
			}
		}
	}
	return crowded, nil
}

// entering returns e as all listeners will see it, on the bus of an env; "" keeps
// the event's own.
func entering(e Event, env string, primary bool) (Event, error) {
	if err := checkType(e); err != nil {
		return nil, err
	}
	if own := e.About().Env; env == "" {
		env = own
	} else if own != "" && own != env {
		return nil, fmt.Errorf("env %q: expected that of the bus, %q", own, env)
	}
	if own, ok := e.(interface{ entering() (Event, error) }); ok {
		var err error
		if e, err = own.entering(); err != nil {
			return nil, err
		}
	}
	c, err := e.About().entering(env)
	c.Primary = c.Primary || primary
	return e.WithChange(c), err
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

// register starts the goroutine of a listener.
func (b *Bus) register(scope Scope, listener any, h handler) *Registration {
	if scope == nil {
		panic(fmt.Sprintf("tracbus: registering %s needs a scope", nameOf(listener)))
	}
	if picky, ok := listener.(scopeChecker); ok {
		if err := picky.checkScope(scope, listener); err != nil {
			panic(fmt.Sprintf("tracbus: registering %s under %s: %v", nameOf(listener), scope, err))
		}
	}
	_, once := scope.(durableScope)
	if _, loads := listener.(LoadListener); once && loads {
		panic(fmt.Sprintf("tracbus: registering %s under %s: a LoadListener needs Everywhere: its state is of each process", nameOf(listener), scope))
	}
	r := newRegistration(b, scope, listener, h)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		panic(fmt.Sprintf("tracbus: registering %s on a bus that is closed", r.name))
	}
	b.checkOnce(r)
	// A new slice, for Notify may be walking the old one.
	b.registrations = append(b.registrations[:len(b.registrations):len(b.registrations)], r)
	if b.journal != nil {
		r.attach(b.journal.position())
	}
	if r.once != nil {
		signal(b.registered)
		go r.serve()
	} else {
		go r.run()
	}
	return r
}

// checkOnce panics if another listener has a name.
func (b *Bus) checkOnce(r *Registration) {
	for _, other := range b.registrations {
		if r.once != nil && other.once != nil && other.once.name == r.once.name {
			panic(fmt.Sprintf("tracbus: registering %s needs a name of its own, %q is that of %s", r.name, r.once.name, other.name))
		}
	}
}

// resync returns what a listener that missed changes is told.
func (b *Bus) resync(reason ResyncReason) *Resync {
	return &Resync{Change: Change{Env: b.env, Time: time.Now().UTC().Truncate(time.Microsecond), Primary: true}, Reason: reason}
}

// forget takes a registration that has ended off the bus.
func (b *Bus) forget(r *Registration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.registrations = slices.DeleteFunc(slices.Clone(b.registrations), func(other *Registration) bool { return other == r })
}

// Wait returns when every listener has been told of all that Notify has taken
// so far, whether it could handle it or not, and of what it missed; or when ctx
// ends. It does not wait for those with the scope [Durable], which another process
// may be telling. A listener that calls it waits for itself.
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
		r.finish()
	}
	for _, r := range registrations {
		r.waitForEnd(ctx)
	}
	b.giveUp()
	return closeError(registrations)
}

// CloseError says what was not delivered when a bus or registration was closed.
type CloseError struct {
	Undelivered []Undelivered
}

// Undelivered is what one listener was not told.
type Undelivered struct {
	Listener    string
	Count       int   // how many, with those in the call that goes on
	Oldest      Event // the oldest of them
	CallRunning bool  // a call of the listener had not returned
	After       int64 // the tid behind which the journal was not read for it, for its queue was full; 0 if all that this process committed was
}

func closeError(registrations []*Registration) error {
	var e CloseError
	for _, r := range registrations {
		if u, ok := r.abandon(); ok {
			e.Undelivered = append(e.Undelivered, u)
		}
	}
	if e.Undelivered == nil {
		return nil
	}
	return &e
}

// Error names each listener, with how many events it was not told.
func (e *CloseError) Error() string {
	var s strings.Builder
	s.WriteString("close: not delivered: ")
	for i, u := range e.Undelivered {
		if i > 0 {
			s.WriteString("; ")
		}
		fmt.Fprintf(&s, "%d events to %s", u.Count, u.Listener)
		if u.Oldest != nil {
			fmt.Fprintf(&s, ", from %s %s", u.Oldest.Resource(), u.Oldest.Kind())
		}
		if u.CallRunning {
			s.WriteString(" (the listener has not returned)")
		}
		if u.After > 0 {
			fmt.Fprintf(&s, ", and what the journal has behind tid %d", u.After)
		}
	}
	return s.String()
}
