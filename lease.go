package tracbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// lease is the right to run a name: it is renewed until it is given up, or lost
// to another process. It keeps, too, how far the name's listener has come.
type lease struct {
	store *store.Store
	name  string
	row   store.Consumer // as it was taken
	epoch int64
	span  time.Duration // for which it is taken each time

	ctx    context.Context // ends with the lease; the cause says why
	cancel context.CancelCauseFunc
	over   *time.Timer // ends it when it was not renewed in time
	done   chan struct{}
	work   chan struct{} // holds one token: wanted has moved

	writing sync.Mutex    // held by who moves the row's place, until stored says so
	doubt   *store.Cursor // a place that may be stored: the answer was lost. Guarded by writing.

	mu     sync.Mutex
	stored store.Cursor  // as the row has it
	wanted store.Cursor  // as it is to be
	moved  chan struct{} // closed when stored moves, and replaced
}

// Why a lease ended.
var (
	errDeposed = errors.New("another process has taken the name")
	errExpired = errors.New("the lease could not be renewed in time")
	errMoved   = errors.New("the name's place is another than was stored")
	errGivenUp = errors.New("the lease was given up")
)

// hold keeps a lease that was asked for at a moment, and got.
func hold(ctx context.Context, s *store.Store, row store.Consumer, epoch int64, span time.Duration, asked time.Time) *lease {
	l := &lease{
		store: s, name: row.Name, row: row, epoch: epoch, span: span, done: make(chan struct{}), work: make(chan struct{}, 1),
		stored: row.Cursor, wanted: row.Cursor, moved: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	l.over = time.AfterFunc(time.Until(asked.Add(span)), func() { l.cancel(errExpired) })
	go l.keep()
	return l
}

// keep renews the lease and stores places, until the lease ends.
func (l *lease) keep() {
	defer close(l.done)
	defer l.over.Stop()
	tick := time.NewTicker(l.span / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.work:
		case <-l.ctx.Done():
			return
		}
		err := l.renew()
		for pause := 20 * time.Millisecond; err != nil && l.ctx.Err() == nil; pause = min(2*pause, l.span/6) {
			if !sleep(l.ctx, pause) {
				return
			}
			err = l.renew()
		}
	}
}

// renew asks for the lease again, and stores the place that is wanted; before
// that one of which it is not known whether it was stored.
func (l *lease) renew() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	from, to := l.stored, l.wanted
	l.mu.Unlock()
	if l.doubt != nil {
		to = *l.doubt
	}
	asked := time.Now() // before the database counts, so that we end first
	var held bool
	var err error
	if from == to {
		held, err = l.store.RenewLease(l.ctx, l.name, l.epoch, l.span)
	} else {
		held, err = l.store.MoveCursor(l.ctx, l.name, l.epoch, from, to, l.span)
	}
	if err = l.settle(asked, to, held, err); err != nil {
		if from != to { // else putAside may move on before this is asked for again
			l.doubt = &to
		}
		return err
	}
	l.doubt = nil
	if to != l.place() {
		signal(l.work)
	}
	return nil
}

// putAside stores a change that failed, and moves behind it. The place that is
// wanted must stand.
func (l *lease) putAside(to store.Cursor, a store.DeadLetter) error {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, l.span/6) {
		if l.tryAside(to, a) == nil || !sleep(l.ctx, pause) {
			return context.Cause(l.ctx)
		}
	}
}

func (l *lease) tryAside(to store.Cursor, a store.DeadLetter) error {
	l.writing.Lock() // else a renewal's answer could be taken for newer than this
	defer l.writing.Unlock()
	asked := time.Now()
	held, err := l.store.PutDeadLetter(l.ctx, l.name, l.epoch, l.place(), to, l.span, a)
	if err = l.settle(asked, to, held, err); err != nil {
		return err
	}
	l.mu.Lock()
	l.wanted = to
	l.mu.Unlock()
	return nil
}

// settle notes what became of a statement that stores a place.
func (l *lease) settle(asked time.Time, to store.Cursor, held bool, err error) error {
	switch {
	case err != nil:
		return err
	case held:
		// A timer that has fired has ended the lease for good.
		l.over.Reset(time.Until(asked.Add(l.span)))
	default:
		if there, err := l.find(to); err != nil || !there {
			return err
		}
		signal(l.work) // the lease counts from an earlier statement, so it is renewed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stored != to {
		l.stored = to
		close(l.moved)
		l.moved = make(chan struct{})
	}
	return nil
}

// find says why the row was not as it should be. That it is already as wanted is
// due to an answer that was lost.
func (l *lease) find(to store.Cursor) (held bool, err error) {
	row, found, err := l.store.FindConsumer(l.ctx, l.name)
	switch {
	case err != nil:
		return false, err
	case found && row.Token == l.epoch && row.Holder != "" && row.Cursor == to:
		return true, nil
	case found && row.Token == l.epoch && row.Holder != "":
		l.cancel(fmt.Errorf("%w: expected tid %d, found tid %d", errMoved, to.TID, row.Cursor.TID))
	default:
		l.cancel(errDeposed)
	}
	return false, nil
}

// move has a place stored, soon.
func (l *lease) move(to store.Cursor) {
	l.mu.Lock()
	l.wanted = to
	l.mu.Unlock()
	signal(l.work)
}

// place returns how far the listener has come.
func (l *lease) place() store.Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted
}

// stands waits until the place that is wanted is stored, or the lease has ended.
func (l *lease) stands() error {
	for {
		l.mu.Lock()
		there, moved := l.stored == l.wanted, l.moved
		l.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-moved:
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		}
	}
}

// giveUp ends the lease, and lets others have it if it was still held. It stores
// what is wanted first, if that is possible soon.
func (l *lease) giveUp() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), 3*time.Second)
	defer cancel()
	held := l.ctx.Err() == nil
	if held {
		stop := context.AfterFunc(ctx, func() { l.cancel(errGivenUp) })
		_ = l.stands()
		stop()
	}
	l.cancel(errGivenUp)
	<-l.done
	if held {
		_ = l.store.ReleaseLease(ctx, l.name, l.epoch) // else it expires
	}
}
