package tracbus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// duty is what a registration has under the scope [Durable]: its relay, which
// belongs to [Journal.Run], gives orders, and its goroutine, which belongs to the
// bus, calls the listener. So a listener that hangs keeps nobody but itself.
type duty struct {
	onceScope
	orders chan order
	kick   chan struct{} // holds one token: there may be something to do

	mu      sync.Mutex
	start   store.Place // where the name begins if the journal does not know it
	begun   bool        // start is known
	rewound error       // why a Resync is to be told before the next change

	past past
}

// past is what the relay remembers of a name, which alone uses it, from one Run
// of the journal to the next: what of it is gone when it looks again, the
// listener was told all the same.
type past struct {
	known bool        // the journal has, or had, the name
	top   sight       // the latest that the row is known to have stood at
	way   trail       // where the listener has come by, in this process
	last  store.Place // the last of which it was told, if only in part
	owed  *Resync     // to be told before the next change
}

// order is one call of a listener.
type order struct {
	ctx  context.Context
	call func(ctx context.Context) error
	done chan<- error // has room
}

// begin notes from where on a name that is new has to be told.
func (d *duty) begin(at store.Place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.begun {
		d.start, d.begun = at, true
	}
	signal(d.kick)
}

// missed notes that history went back, or was pruned, under this process.
func (d *duty) missed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rewound = err
	signal(d.kick)
}

// serve calls the listener as it is ordered, until the registration is closed.
func (r *Registration) serve() {
	var at *order // what it is in the middle of
	ended := false
	defer func() {
		if ended {
			r.end()
			return
		}
		r.calling.Store(nothing) // the listener has called runtime.Goexit
		at.done <- errGoexit
		go r.serve()
	}()
	for {
		select {
		case o := <-r.once.orders:
			if ended = !r.begins(); ended {
				o.done <- errEnded
				return
			}
			at = &o
			o.done <- r.call(anEvent, func() error { return o.call(o.ctx) })
			continue
		case <-r.wake:
		}
		r.mu.Lock()
		ended = r.closing
		r.mu.Unlock()
		if ended {
			return
		}
	}
}

// begins says that a call begins, unless the registration is closed: whoever
// closes it must not be told that no call goes on, and then there is one.
func (r *Registration) begins() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return false
	}
	r.calling.Store(anEvent)
	return true
}

// What a call of a listener can come to, beside its own errors.
var (
	errHangs = errors.New("the call has not returned by its deadline")
	errEnded = errors.New("the registration is closed")
)

// callGrace is for how long a call whose context has ended is waited for: most
// listeners return then.
const callGrace = time.Second

// ask has the listener called, and waits until it has returned. If it has not
// soon after ctx ended, it is left behind with errHangs.
func (r *Registration) ask(ctx context.Context, call func(context.Context) error) error {
	calling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(errEnded) })()
	done := make(chan error, 1)
	select {
	case r.once.orders <- order{calling, call, done}:
	case <-r.done:
		return errEnded
	case <-calling.Done(): // a call before has not returned
		return errHangs
	}
	select {
	case err := <-done:
		return err
	case <-calling.Done():
	}
	grace := time.NewTimer(callGrace)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return errHangs
	}
}

// over says whether the registration is closed, and its last call has returned.
func (r *Registration) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// free says whether no call is going on.
func (r *Registration) free() bool { return r.calling.Load() == nothing }
