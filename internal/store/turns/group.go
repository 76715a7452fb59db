// Package turns lets the transactions of one process take turns in the one writing
// transaction that SQLite has room for, and share its COMMIT, which is what takes the
// time. Its secret is that a transaction may be a savepoint in one of others.
//
// While others wait, a transaction that has done its work hands the open one on. Each
// one after the first is a savepoint, so that it can be rolled back alone. Who is the last
// commits, and all learn what became of it before they return. Nothing is
// promised before the COMMIT, so that a crash takes back only what nobody was told of.
package turns

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// ErrInDoubt says that COMMIT was sent and its answer is not known.
var ErrInDoubt = errors.New("no answer to COMMIT")

// What bounds how long those that are done wait for others, beside limit.Limits.Together.
const (
	maxTurns  = 128                    // before a COMMIT
	waryTurns = 16                     // that are not handed on after a slow one, which is a sign of others to come
	lastWait  = 100 * time.Millisecond // after the caller's context has ended: the COMMIT is near
)

// What leaves something to others.
const (
	keepTime = 10 * time.Millisecond // for which the connection is kept without a turn
	keepFrom = 3                     // connections in a pool that is large enough to keep one
)

// Line is the transactions of this process that write to one database. Its methods may be
// called concurrently.
type Line struct {
	db     *sql.DB
	limits limit.Limits
	within func(ctx *context.Context, err *error) (done func()) // bounds a wait for a connection

	queue  queue
	closed atomic.Bool

	// What follows belongs to who has the turn.
	pin   *pin      // the connection; nil: none
	group *group    // of those that are done and not committed; nil: none
	wary  int       // so many turns are not handed on
	apart bool      // none is
	since time.Time // the transaction that is open has begun
	many  bool      // it was that of many
	rest  rest
	used  time.Time // the connection, for the last time
	armed bool      // idle runs
	idle  *time.Timer
}

// group is the transactions that wait for one COMMIT.
type group struct {
	size  int
	began time.Time
	done  chan struct{} // closed after it
	err   error         // then: what became of it
}

// New returns a line of transactions on connections of a pool. within bounds the wait for
// one of them, as [limit.Bound] does.
func New(db *sql.DB, limits limit.Limits, within func(ctx *context.Context, err *error) (done func())) *Line {
	l := &Line{db: db, limits: limits, within: within}
	l.idle = time.AfterFunc(keepTime, l.look)
	l.idle.Stop()
	return l
}

// Begin waits for those that came before, and begins a transaction. One of its
// Commit and Rollback has to be called.
func (l *Line) Begin(ctx context.Context) (*Turn, error) {
	if err := l.queue.take(ctx, l.limits.Writer); err != nil {
		return nil, err
	}
	t := &Turn{line: l, joined: l.group != nil}
	var err error
	if t.joined {
		err = l.join(ctx)
	} else {
		err = l.begin(ctx)
	}
	if err != nil {
		if t.joined {
			l.settle(l.commit(ctx))
		}
		l.leave()
		return nil, err
	}
	t.pin, t.began = l.pin, time.Now()
	return t, nil
}

// join begins one within the transaction of others.
func (l *Line) join(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("another transaction of this process is open: %w", err)
	}
	_, err := l.pin.exec(context.WithoutCancel(ctx), savepoint)
	return err
}

// begin begins the first of a group. The connection may be one of a long time ago.
func (l *Line) begin(ctx context.Context) (err error) {
	kept := l.pin != nil
	if !kept {
		defer l.within(&ctx, &err)()
		conn, err := l.db.Conn(ctx)
		if err != nil {
			return err
		}
		limit.Progress(ctx)
		l.pin = &pin{conn: conn}
	}
	if pause := time.Until(l.rest.until); pause > 0 && !limit.Sleep(ctx, pause) {
		return ctx.Err()
	}
	asked := time.Now()
	err = Patiently(ctx, l.limits.Writer, func() error { _, err := l.pin.exec(ctx, "BEGIN IMMEDIATE"); return err })
	if err == nil {
		err = l.pin.mark(ctx)
	}
	if err != nil {
		l.rollback() // the answer may have been lost
		l.unpin()
		if kept && isGone(err) {
			return l.begin(ctx)
		}
		return err
	}
	l.since = time.Now()
	if l.since.Sub(asked) <= pauses {
		return nil
	}
	waited, err := l.pin.changed(ctx)
	if err != nil { // which may have ended the transaction
		l.rollback()
		l.unpin()
		return err
	}
	if waited {
		l.rest.met()
	}
	return nil
}

// handsOn says whether the open transaction is handed on to who waits. Who has to have an answer
// soon commits: what others do may take longer.
func (l *Line) handsOn(ctx context.Context, t *Turn) bool {
	took, began := time.Since(t.began), t.began
	if l.group != nil {
		began = l.group.began
	}
	switch {
	case took > 2*l.limits.Together:
		l.wary = waryTurns
		return false
	case l.wary > 0:
		l.wary--
		return false
	case l.apart || t.unclear.Load() || !l.queue.waits() || time.Since(began) > l.limits.Together || l.group != nil && l.group.size >= maxTurns:
		return false
	}
	if end, ends := ctx.Deadline(); ends && time.Until(end) < l.limits.Spare {
		return false
	}
	return !l.pin.defers(context.Background())
}

// commit ends the transaction. It cannot be interrupted, because then nobody would know what
// became of it.
func (l *Line) commit(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if !l.pin.waitsForNobody(ctx) {
		bounded, cancel := context.WithTimeout(ctx, l.limits.Commit)
		defer cancel()
		ctx = bounded
	}
	err := l.pin.unmark(ctx)
	if err == nil {
		err = Patiently(ctx, l.limits.Writer, func() error { _, err := l.pin.exec(ctx, "COMMIT"); return err })
	}
	if err == nil {
		return nil
	}
	// A foreign key that is looked at last does not say whose it was.
	l.apart = l.apart || sqltext.IsForeignKey(err)
	if _, ended := l.pin.exec(ctx, "ROLLBACK"); ended != nil {
		l.pin.spoil()
		l.pin = nil
		return fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	return err
}

// rollback ends the transaction, if it is still open.
func (l *Line) rollback() {
	ctx, cancel := context.WithTimeout(context.Background(), l.limits.Rollback)
	defer cancel()
	if !l.pin.rolledBack(ctx) {
		l.pin.spoil()
		l.pin = nil
	}
}

// settle says to those that are done what became of them. A connection that is not kept is
// given back before: they may need one to ask.
func (l *Line) settle(err error) {
	g := l.group
	if g == nil {
		return
	}
	if err != nil {
		l.unpin()
	}
	l.many = g.size > 1
	l.group, g.err = nil, err
	close(g.done)
}

// leave ends a turn after which no transaction is open.
func (l *Line) leave() {
	if !l.since.IsZero() {
		l.rest.held(time.Since(l.since), l.many)
		l.since, l.many = time.Time{}, false
	}
	if l.pin != nil && !l.keeps() {
		l.unpin()
	}
	if l.pin != nil {
		l.used = time.Now()
		if !l.armed {
			l.armed = true
			l.idle.Reset(keepTime)
		}
	}
	l.queue.leave()
}

// keeps says whether the connection stays with the line: never if somebody may wait for
// one, or if the pool has few.
func (l *Line) keeps() bool {
	pool := l.db.Stats()
	return !l.closed.Load() && (pool.MaxOpenConnections == 0 || pool.MaxOpenConnections >= keepFrom && pool.InUse < pool.MaxOpenConnections)
}

func (l *Line) unpin() {
	if l.pin != nil {
		l.pin.giveBack()
		l.pin = nil
	}
}

// look gives the connection back if it has not been used for a while.
func (l *Line) look() {
	if !l.queue.tryTake() {
		l.idle.Reset(keepTime)
		return
	}
	if left := keepTime - time.Since(l.used); l.pin != nil && left > 0 && !l.closed.Load() {
		l.idle.Reset(left)
	} else {
		l.armed = false
		l.unpin()
	}
	l.queue.leave()
}

// Close gives the connection back. Turns may go on, and do so at their end.
func (l *Line) Close() {
	l.closed.Store(true)
	if l.queue.tryTake() {
		l.unpin()
		l.queue.leave()
	}
}
