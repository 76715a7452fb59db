package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// Lease is the right to run a consumer, which one process at a time has. It is
// renewed until it is given up, has expired, or is lost to another process. It
// also stores the consumer's cursor.
//
// Whether a lease has expired is decided in three places, all of them here or
// named here:
//
//   - by its holder, whose timer runs from before the last statement that renewed
//     it was sent, so that the holder is the first to know ([NewLease], settle);
//   - by the others: see available;
//   - by the database, which has the last word: every statement of the holder
//     carries the fencing token and changes nothing if another process has a
//     higher one (progress/lease.go). Then the lease is lost: see find.
//
// What happens if it is over in the middle of a call is said at callContext.
type Lease struct {
	tables *progress.Tables
	row    progress.Consumer // as it was acquired
	token  int64
	span   time.Duration // how long it lasts each time

	ctx    context.Context // ends with the lease; the cause says why
	cancel context.CancelCauseFunc
	expiry *time.Timer // ends the lease if it was not renewed in time
	done   chan struct{}
	due    chan struct{} // holds one token: the lease is to be renewed now

	writing sync.Mutex       // held by who moves the row's cursor, until stored says so
	doubt   *progress.Cursor // a cursor that may be stored: the answer was lost. Guarded by writing.

	mu     sync.Mutex
	stored progress.Cursor // as the row has it
	wanted progress.Cursor // as it is to be
	moved  chan struct{}   // closed when stored moves, and replaced
}

// Why a lease ended.
var (
	ErrDeposed = errors.New("another process has taken the lease")
	ErrExpired = errors.New("the lease could not be renewed in time")
	ErrMoved   = errors.New("the consumer's cursor is not where it was stored")
	ErrGivenUp = errors.New("the lease was given up")
)

// available says whether a process may acquire the lease of a row: nobody holds
// it, or the process itself does, or it has expired by the database's clock, or
// the row has not changed for twice a lease by the process's own clock. The last
// is overdue: then the database's clock is not asked again.
func available(row progress.Consumer, me string, unchanged, span time.Duration) (ok, overdue bool) {
	overdue = unchanged > 2*span
	return row.Holder == "" || row.Holder == me || row.Left <= 0 || overdue, overdue
}

// NewLease returns a lease that was asked for at a moment, and acquired. Until
// [Lease.Keep] is called, only [Lease.Renew] renews it. It does not end with ctx.
func NewLease(ctx context.Context, t *progress.Tables, row progress.Consumer, token int64, span time.Duration, asked time.Time) *Lease {
	l := &Lease{
		tables: t, row: row, token: token, span: span, done: make(chan struct{}), due: make(chan struct{}, 1),
		stored: row.Cursor, wanted: row.Cursor, moved: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	l.expiry = time.AfterFunc(time.Until(asked.Add(span)), func() { l.cancel(ErrExpired) })
	return l
}

// Context ends with the lease; the cause says why.
func (l *Lease) Context() context.Context { return l.ctx }

// Due holds a token if the lease is to be renewed now.
func (l *Lease) Due() <-chan struct{} { return l.due }

// Keep renews the lease and stores its cursor until the lease ends.
func (l *Lease) Keep() {
	defer close(l.done)
	defer l.expiry.Stop()
	tick := time.NewTicker(l.span / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.due:
		case <-l.ctx.Done():
			return
		}
		err := l.Renew(l.ctx)
		for pause := 20 * time.Millisecond; err != nil && l.ctx.Err() == nil; pause = min(2*pause, l.span/6) {
			if !store.Sleep(l.ctx, pause) {
				return
			}
			err = l.Renew(l.ctx)
		}
	}
}

// Renew renews the lease and stores the cursor that is wanted. If it is not known
// whether an earlier cursor was stored, it stores that one first.
func (l *Lease) Renew(ctx context.Context) error {
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
		held, err = l.tables.RenewLease(ctx, l.row.Name, l.token, l.span)
	} else {
		held, err = l.tables.MoveCursor(ctx, l.row.Name, l.token, from, to, l.span)
	}
	if err = l.settle(ctx, asked, to, held, err); err != nil {
		if from != to { // else PutDeadLetter may move on before this is asked for again
			l.doubt = &to
		}
		return err
	}
	l.doubt = nil
	if to != l.Cursor() {
		signal(l.due)
	}
	return nil
}

// PutDeadLetter stores a change that failed, and moves the cursor after it. The
// cursor that is wanted must be stored.
func (l *Lease) PutDeadLetter(to progress.Cursor, d progress.DeadLetter) error {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, l.span/6) {
		if l.tryDeadLetter(to, d) == nil || !store.Sleep(l.ctx, pause) {
			return context.Cause(l.ctx)
		}
	}
}

func (l *Lease) tryDeadLetter(to progress.Cursor, d progress.DeadLetter) error {
	l.writing.Lock() // else a renewal's answer could be taken for newer than this
	defer l.writing.Unlock()
	asked := time.Now()
	held, err := l.tables.PutDeadLetter(l.ctx, l.row.Name, l.token, l.Cursor(), to, l.span, d)
	if err = l.settle(l.ctx, asked, to, held, err); err != nil {
		return err
	}
	l.mu.Lock()
	l.wanted = to
	l.mu.Unlock()
	return nil
}

// settle notes what became of a statement that stores a cursor.
func (l *Lease) settle(ctx context.Context, asked time.Time, to progress.Cursor, held bool, err error) error {
	switch {
	case err != nil:
		return err
	case held:
		// A timer that has fired has ended the lease for good.
		l.expiry.Reset(time.Until(asked.Add(l.span)))
	default:
		if there, err := l.find(ctx, to); err != nil || !there {
			return err
		}
		signal(l.due) // the lease counts from an earlier statement, so it is renewed
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

// find says why a statement found the row to be another than expected. If it is
// already as wanted, an answer was lost. Else the lease is lost.
func (l *Lease) find(ctx context.Context, to progress.Cursor) (held bool, err error) {
	row, found, err := l.tables.FindConsumer(ctx, l.row.Name)
	switch {
	case err != nil:
		return false, err
	case found && row.Token == l.token && row.Holder != "" && row.Cursor == to:
		return true, nil
	case found && row.Token == l.token && row.Holder != "":
		l.cancel(fmt.Errorf("%w: expected tid %d, found tid %d", ErrMoved, to.TID, row.Cursor.TID))
	default:
		l.cancel(ErrDeposed)
	}
	return false, nil
}

// Move has a cursor stored, soon.
func (l *Lease) Move(to progress.Cursor) {
	l.mu.Lock()
	l.wanted = to
	l.mu.Unlock()
	signal(l.due)
}

// Cursor returns how far the listener has come, stored or not.
func (l *Lease) Cursor() progress.Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted
}

// WaitStored waits until the cursor that is wanted is stored, or the lease has
// ended.
func (l *Lease) WaitStored() error {
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

// GiveUp ends a lease that is kept, and lets others have it if it was still held.
// It stores the cursor that is wanted first, if that is possible soon.
func (l *Lease) GiveUp() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), 3*time.Second)
	defer cancel()
	held := l.ctx.Err() == nil
	if held {
		stop := context.AfterFunc(ctx, func() { l.cancel(ErrGivenUp) })
		_ = l.WaitStored()
		stop()
	}
	l.cancel(ErrGivenUp)
	<-l.done
	if held {
		_ = l.tables.ReleaseLease(ctx, l.row.Name, l.token) // else it expires
	}
}

// stopGrace is for how long a call may go on after Run was asked to end.
const stopGrace = 2 * time.Second

// errCallTimeout says that a call took longer than it may: another process is to
// try.
var errCallTimeout = errors.New("the call took longer than DurableConfig.CallTimeout")

// callContext returns the context of one call that is made under the lease, which
// [LeaseFrom] finds in it. If the lease is over in the middle of the call, the context
// ends with the lease's cause. The call is waited for a moment longer, then left
// alone ([delivery.ErrHangs]); either way its result no longer moves the cursor. Another
// process may be making the same call by then, under a higher token. The context
// also ends after timeout, with errCallTimeout, and a grace after ctx.
func (l *Lease) callContext(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	info := LeaseInfo{Consumer: l.row.Name, JournalUUID: l.tables.JournalUUID(), Token: l.token}
	calling, cancel := context.WithTimeoutCause(context.WithValue(l.ctx, leaseKey{}, info), timeout, errCallTimeout)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })
	return calling, func() {
		stop()
		cancel()
	}
}

// LeaseInfo says under which lease a call is made.
type LeaseInfo struct {
	Consumer    string
	JournalUUID string
	Token       int64 // the fencing token
}

type leaseKey struct{}

// LeaseFrom returns the lease of the call that ctx belongs to, and false outside
// of one.
func LeaseFrom(ctx context.Context) (LeaseInfo, bool) {
	info, ok := ctx.Value(leaseKey{}).(LeaseInfo)
	return info, ok
}
