package tracbus

import (
	"context"
	"time"

	"github.com/tracbus/tracbus/internal/consumer"
)

// duty is what a registration has under the scope [Durable]: the runner of its
// consumer, which belongs to [Journal.Run], gives orders, and its goroutine, which
// belongs to the bus, calls the listener. So a listener that hangs keeps nobody
// but itself.
type duty struct {
	name   string // of the consumer
	config DurableConfig
	orders chan order
	memory *consumer.Memory
}

func newDuty(s durableScope) *duty {
	return &duty{name: s.name, config: s.config, orders: make(chan order), memory: consumer.NewMemory()}
}

// order is one call of a listener.
type order struct {
	ctx  context.Context
	call func(ctx context.Context) error
	done chan<- error // has room
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
				o.done <- consumer.ErrClosed
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

// callGrace is for how long a call whose context has ended is waited for: most
// listeners return then.
const callGrace = time.Second

// ask has the listener called, and waits until it has returned. If it has not
// soon after ctx ended, it is left behind with consumer.ErrHangs.
func (r *Registration) ask(ctx context.Context, call func(context.Context) error) error {
	calling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(consumer.ErrClosed) })()
	done := make(chan error, 1)
	select {
	case r.once.orders <- order{calling, call, done}:
	case <-r.done:
		return consumer.ErrClosed
	case <-calling.Done(): // a call before has not returned
		return consumer.ErrHangs
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
		return consumer.ErrHangs
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
