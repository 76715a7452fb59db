package delivery

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Invoker calls the listener of a durable consumer. It has a goroutine of its
// own, which belongs to the bus, while the consumer that orders the calls belongs
// to the run of a journal: so a listener that hangs delays nobody but itself. Its
// methods may be called concurrently.
type Invoker struct {
	ctx    context.Context // of the registration
	cancel context.CancelFunc
	orders chan order
	wake   chan struct{} // holds one token: closing was set
	done   chan struct{} // closed when the goroutine has ended
	ended  func()        // called before that; nil if nobody wants to know

	calling atomic.Bool // a call has not returned

	mu      sync.Mutex // guards what follows
	closing bool       // no call begins any more
	forget  func()
	status  Status
}

// order is one call of a listener.
type order struct {
	ctx  context.Context
	call func(ctx context.Context) error
	done chan<- error // has room
}

// What a call can come to, beside the listener's own errors and [ErrGoexit].
var (
	ErrHangs  = errors.New("the call has not returned by its deadline")
	ErrClosed = errors.New("the registration is closed")
)

// callGrace is for how long a call whose context has ended is waited for: most
// listeners return then.
const callGrace = time.Second

// NewInvoker returns an invoker whose context ends with ctx. It makes no call
// before Start. It calls ended, unless that is nil, when no call follows.
func NewInvoker(ctx context.Context, ended func()) *Invoker {
	v := &Invoker{ended: ended, orders: make(chan order), wake: make(chan struct{}, 1), done: make(chan struct{})}
	v.ctx, v.cancel = context.WithCancel(ctx)
	return v
}

// Start starts the goroutine that makes the calls. Finish has it end.
func (v *Invoker) Start() { go v.serve() }

// Call has f called by the goroutine, and waits until it has returned. If it has
// not soon after ctx ended, it is left running, and the error is [ErrHangs].
func (v *Invoker) Call(ctx context.Context, f func(context.Context) error) error {
	calling, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(v.ctx, func() { cancel(ErrClosed) })()
	done := make(chan error, 1)
	select {
	case v.orders <- order{calling, f, done}:
	case <-v.done:
		return ErrClosed
	case <-calling.Done(): // a call before has not returned
		return ErrHangs
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
		return ErrHangs
	}
}

// serve makes the calls that are ordered, until the invoker is closed.
func (v *Invoker) serve() {
	var at *order // what it is in the middle of
	ended := false
	defer func() {
		if ended {
			v.end()
			return
		}
		v.calling.Store(false) // the listener has called runtime.Goexit
		at.done <- ErrGoexit
		go v.serve()
	}()
	for {
		select {
		case o := <-v.orders:
			if ended = !v.begins(); ended {
				o.done <- ErrClosed
				return
			}
			at = &o
			o.done <- v.call(o)
			continue
		case <-v.wake:
		}
		v.mu.Lock()
		ended = v.closing
		v.mu.Unlock()
		if ended {
			return
		}
	}
}

// call calls the listener once, and makes a panic an error.
func (v *Invoker) call(o order) (err error) {
	defer func() {
		if p := recover(); p != nil {
			v.calling.Store(false)
			err = &PanicError{p, debug.Stack()}
		}
	}()
	err = o.call(o.ctx)
	v.calling.Store(false)
	return err
}

// begins says that a call begins, unless the invoker is closed: whoever closes it
// must not hear that no call is running, and then there is one.
func (v *Invoker) begins() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing {
		return false
	}
	v.calling.Store(true)
	return true
}

// end is the last that the goroutine does.
func (v *Invoker) end() {
	v.mu.Lock()
	forget := v.forget
	v.mu.Unlock()
	if forget != nil {
		forget()
	}
	if v.ended != nil {
		v.ended()
	}
	close(v.done)
}

// Busy says whether a call has not returned.
func (v *Invoker) Busy() bool { return v.calling.Load() }

// Context is that of the registration: it ends when Close gives up.
func (v *Invoker) Context() context.Context { return v.ctx }

// Done is closed when the goroutine has ended: the invoker is closed, and its
// last call has returned.
func (v *Invoker) Done() <-chan struct{} { return v.done }

// CountDelivered counts events that the listener has handled.
func (v *Invoker) CountDelivered(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status.Delivered += uint64(n)
}

// CountFailed counts an event that the listener failed on for good.
func (v *Invoker) CountFailed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status.Delivered++
	v.status.Failed++
}

// CountRetried counts a call that is made again after an error.
func (v *Invoker) CountRetried(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status.Retried++
	v.status.LastError = err
}

// Status returns what was counted.
func (v *Invoker) Status() Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.status
}

// Leave is Finish for an invoker whose bus goes on without it: forget is called
// when the goroutine ends.
func (v *Invoker) Leave(forget func()) {
	v.mu.Lock()
	v.forget = forget
	v.mu.Unlock()
	v.Finish()
}

// Finish makes no more calls, and lets the goroutine end.
func (v *Invoker) Finish() {
	v.mu.Lock()
	v.closing = true
	v.mu.Unlock()
	v.signal()
}

func (v *Invoker) signal() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// Cancel ends the registration's context, and with it that of a call.
func (v *Invoker) Cancel() { v.cancel() }

// Abandon waits for the goroutine, unless a call has not returned: that it
// reports. The registration's context has ended.
func (v *Invoker) Abandon() (callRunning bool) {
	v.mu.Lock()
	v.closing = true
	callRunning = v.calling.Load()
	v.mu.Unlock()
	v.signal()
	if !callRunning {
		<-v.done // immediately, because it will not call the listener again
	}
	return callRunning
}
