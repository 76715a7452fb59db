package consumer

import (
	"cmp"
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
//     it was sent, so that the holder is the first to know ([Renewer.Lease], settle);
//   - by the others: see available;
//   - by the database, which has the last word: every statement of the holder
//     carries the fencing token and changes nothing if another process has a
//     higher one (progress/lease.go). Then the lease is lost: see find.
//
// What happens if it is over in the middle of a call is said at callContext.
type Lease struct {
	renewer  *Renewer
	schedule schedule
	row      progress.Consumer // as it was acquired
	claim    progress.Claim    // with the fencing token
	span     time.Duration     // how long it lasts each time

	ctx    context.Context // ends with the lease; the cause says why
	cancel context.CancelCauseFunc
	expiry *time.Timer // ends the lease if it was not renewed in time

	writing sync.Mutex       // held by who moves the row's cursor, until stored says so
	doubt   *progress.Cursor // a cursor that may be stored: the answer was lost. Guarded by writing.

	mu     sync.Mutex
	held   time.Time       // a moment before the last statement that found it held
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

// Lease returns a lease that was asked for at a moment, and acquired. From now on it
// is renewed. It does not end with ctx.
func (r *Renewer) Lease(ctx context.Context, row progress.Consumer, token int64, span time.Duration, asked time.Time) *Lease {
	l := &Lease{
		renewer: r, row: row, claim: progress.Claim{Name: row.Name, Token: token}, span: span,
		held: asked, stored: row.Cursor, wanted: row.Cursor, moved: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	l.expiry = time.AfterFunc(time.Until(asked.Add(span)), func() { l.cancel(ErrExpired) })
	r.add(l)
	return l
}

// Context ends with the lease; the cause says why.
func (l *Lease) Context() context.Context { return l.ctx }

// next returns the cursor that is stored, and the one to store. If it is not known
// whether an earlier cursor was stored, that one is first. Its caller holds writing.
func (l *Lease) next() (from, to progress.Cursor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doubt != nil {
		return l.stored, *l.doubt
	}
	return l.stored, l.wanted
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
	var held bool
	var rows map[string]progress.Consumer
	err := l.renewer.slots.use(l.ctx, statementLimit, func(ctx context.Context) (err error) {
		held, err = l.renewer.tables.PutDeadLetter(ctx, l.claim.Name, l.claim.Token, l.Cursor(), to, l.span, d)
		if err == nil && !held {
			rows, err = l.renewer.tables.FindConsumers(ctx, l.claim.Name)
		}
		return err
	})
	l.mu.Lock()
	was := l.wanted
	if err == nil {
		l.wanted = to
	}
	l.mu.Unlock()
	if !l.settle(asked, to, false, held, rows, err) {
		l.mu.Lock()
		l.wanted = was
		l.mu.Unlock()
		return cmp.Or(err, context.Cause(l.ctx))
	}
	return nil
}

// settle notes what became of a statement that renewed the lease and, if it moves
// anything, stored a cursor. If the row was found to be another than expected, rows
// has it. Its caller holds writing.
func (l *Lease) settle(asked time.Time, to progress.Cursor, moves, held bool, rows map[string]progress.Consumer, err error) (there bool) {
	switch {
	case err != nil:
		if moves { // else PutDeadLetter may move on before this is asked for again
			l.doubt = &to
		}
		return false
	case held:
		// A timer that has fired has ended the lease for good.
		l.expiry.Reset(time.Until(asked.Add(l.span)))
		l.mu.Lock()
		l.held = asked
		l.mu.Unlock()
	default:
		if !l.find(rows, to) {
			return false
		}
		l.Renew() // the lease counts from an earlier statement, so it is renewed
	}
	l.doubt = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stored != to {
		l.stored = to
		close(l.moved)
		l.moved = make(chan struct{})
	}
	if l.wanted != to {
		l.Renew()
	}
	return true
}

// find says why a statement found the row to be another than expected. If it is
// already as wanted, an answer was lost, or the statement found another row of the
// many that it was about. Else the lease is lost.
func (l *Lease) find(rows map[string]progress.Consumer, to progress.Cursor) (held bool) {
	row, found := rows[l.claim.Name]
	switch {
	case found && row.Token == l.claim.Token && row.Holder != "" && row.Cursor == to:
		return true
	case found && row.Token == l.claim.Token && row.Holder != "":
		l.cancel(fmt.Errorf("%w: expected tid %d, found tid %d", ErrMoved, to.TID, row.Cursor.TID))
	default:
		l.cancel(ErrDeposed)
	}
	return false
}

// Renew has the lease renewed, soon.
func (l *Lease) Renew() { l.renewer.soon(l) }

// Want notes the cursor that is to be stored, and says whether that is another one.
// [Lease.WaitStored] has it stored.
func (l *Lease) Want(to progress.Cursor) (moves bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	moves = l.wanted != to
	l.wanted = to
	return moves
}

// Move has a cursor stored: soon, or when nothing is lost if that takes a moment.
func (l *Lease) Move(to progress.Cursor, soon bool) {
	switch {
	case !l.Want(to):
	case soon:
		l.Renew()
	default:
		l.renewer.within(l, lazyMove)
	}
}

// lazyMove is how long a cursor is not stored that moved over changes for which the
// listener was not called: many of them are one statement then.
const lazyMove = 100 * time.Millisecond

// Cursor returns how far the listener has come, stored or not.
func (l *Lease) Cursor() progress.Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted
}

// storedCursor returns the cursor that was stored last.
func (l *Lease) storedCursor() progress.Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stored
}

// lastHeld returns a moment after which the lease was still held.
func (l *Lease) lastHeld() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// WaitStored waits until the cursor that is wanted is stored, or the lease has
// ended.
func (l *Lease) WaitStored() error {
	for asked := false; ; asked = true {
		l.mu.Lock()
		there, moved := l.stored == l.wanted, l.moved
		l.mu.Unlock()
		if there {
			return nil
		}
		if !asked {
			l.Renew()
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), giveUpLimit)
	defer cancel()
	held := l.ctx.Err() == nil
	if held {
		stop := context.AfterFunc(ctx, func() { l.cancel(ErrGivenUp) })
		_ = l.WaitStored()
		stop()
	}
	l.cancel(ErrGivenUp)
	l.expiry.Stop()
	l.writing.Lock() // no statement of it is under way
	defer l.writing.Unlock()
	if held {
		l.renewer.drop(ctx, l)
	}
}

// giveUpLimit is how long it may take to give a lease up.
const giveUpLimit = 3 * time.Second

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
	info := LeaseInfo{Consumer: l.claim.Name, JournalUUID: l.renewer.tables.JournalUUID(), Token: l.claim.Token}
	calling, cancel := context.WithTimeoutCause(WithLease(l.ctx, info), timeout, errCallTimeout)
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

// WithLease returns a context in which [LeaseFrom] finds a lease, as for a call under it.
func WithLease(ctx context.Context, info LeaseInfo) context.Context {
	return context.WithValue(ctx, leaseKey{}, info)
}

// LeaseFrom returns the lease of the call that ctx belongs to, and false outside
// of one.
func LeaseFrom(ctx context.Context) (LeaseInfo, bool) {
	info, ok := ctx.Value(leaseKey{}).(LeaseInfo)
	return info, ok
}
