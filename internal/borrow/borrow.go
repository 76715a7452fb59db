// Package borrow lends a transaction's connection to an application, and takes it back
// with nothing left open on it. Its secret is how rows and statements are closed that the
// application has not closed: package sql lets nobody but their owner reach them.
package borrow

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
)

// SQL is what is lent: a *sql.Conn, a *sql.Tx, or what is made of them.
type SQL interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// Loan is a connection while an application uses it. The application gets rows and
// statements of pools of package sql, whose driver runs all on what is lent (conn.go), and
// keeps what it has opened there. Methods may be called concurrently.
type Loan struct {
	// Batches says that many statements, with values, can be asked at once. It is set
	// before the loan is used.
	Batches bool

	q      SQL
	keeper Keeper                      // q, if it is one; else nil
	whole  bool                        // a statement that has begun is not interrupted
	drains bool                        // rows have to be read before anything else can be asked
	most   time.Duration               // for which an answer may be waited for; zero: the application decides
	before func(context.Context) error // nil: nothing
	end    context.Context             // ends every statement
	kill   context.CancelFunc

	mu       sync.Mutex     // guards what follows
	nested   bool           // a statement may have set a savepoint
	returned error          // nil until it is
	rows     map[*rows]bool // that are open
	stmts    map[*stmt]bool
	calls    int            // that go on
	running  sync.WaitGroup // of the calls
}

// Keeper is SQL that can keep statements prepared, and which others use before and after.
// Return is called for it in any case.
type Keeper interface {
	SQL
	// Uninterrupted says that statements that have begun are waited for, whatever their
	// contexts say.
	Uninterrupted() bool
	// ExecKept and QueryKept are called while no other statement goes on and no rows are
	// open.
	ExecKept(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryKept(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	// Failed is called when a statement has failed.
	Failed()
}

// Of lends q, which may be a [Keeper]. before is called before each statement, which is not run if that fails; it may
// be nil. drains says that rows have to be read to their end before anything else can
// be asked, as servers want it. No answer is waited for longer than most; zero means that
// the application decides.
func Of(q SQL, before func(context.Context) error, drains bool, most time.Duration) *Loan {
	end, kill := context.WithCancel(context.Background())
	l := &Loan{q: q, before: before, drains: drains, most: most, end: end, kill: kill}
	if k, ok := q.(Keeper); ok {
		l.keeper, l.whole = k, k.Uninterrupted()
	}
	return l
}

// ExecContext runs a statement.
func (l *Loan) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	l.read(query)
	if err := l.ask(ctx); err != nil {
		return nil, err
	}
	defer l.leave()
	w := l.during(ctx)
	defer w.release()
	exec := l.q.ExecContext
	if l.alone() {
		exec = l.keeper.ExecKept
	}
	result, err := exec(w.ctx, query, args...)
	return result, w.explain(err)
}

// Nested says whether the application may have set a savepoint: a statement has the word.
func (l *Loan) Nested() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nested
}

func (l *Loan) read(query string) {
	const word = "savepoint"
	for i := 0; i+len(word) <= len(query); i++ {
		if query[i]|0x20 == word[0] && strings.EqualFold(query[i:i+len(word)], word) {
			l.mu.Lock()
			l.nested = true
			l.mu.Unlock()
			return
		}
	}
}

func (l *Loan) failed() {
	if l.keeper != nil {
		l.keeper.Failed()
	}
}

// alone says whether this call may be run by the keeper: it is the only one, and no rows are
// open.
func (l *Loan) alone() bool {
	if l.keeper == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls == 1 && len(l.rows) == 0
}

// QueryContext runs a query.
func (l *Loan) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	l.mu.Lock()
	err := l.returned
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector{l})
	defer pool.Close() // rows go on: nothing must be left of a joined transaction that its application forgets
	return pool.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a query for one row.
func (l *Loan) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	l.mu.Lock()
	err := l.returned
	l.mu.Unlock()
	var from driver.Connector = connector{l}
	if err != nil {
		from = refusal{err} // whose rows have that error
	}
	pool := sql.OpenDB(from)
	defer pool.Close()
	if l.keeper != nil && !l.drains {
		ctx = atOnce{context.WithoutCancel(ctx), ctx}
	}
	return pool.QueryRowContext(ctx, query, args...)
}

// PrepareContext prepares a statement. It is one of a connection of the pool's, and goes on
// without the pool.
func (l *Loan) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	l.mu.Lock()
	err := l.returned
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector{l})
	defer pool.Close()
	c, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return c.PrepareContext(ctx, query)
}

// ErrRowsOpen says that a server cannot be asked while it is answering. Package sql would
// close a *sql.Conn whose driver says so, and wait for the rows for ever.
var ErrRowsOpen = errors.New("rows of an earlier query are open: expected that they are closed before the next statement")

// Ready says why no statement can be run now: nil if one can.
func (l *Loan) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready()
}

func (l *Loan) ready() error {
	switch {
	case l.returned != nil:
		return l.returned
	case l.drains && len(l.rows) > 0:
		return ErrRowsOpen
	}
	return nil
}

// ask begins a call that runs a statement, and use one that reads or closes what is open.
// Leave ends it.
func (l *Loan) ask(ctx context.Context) error {
	l.mu.Lock()
	err := l.enter(l.ready())
	l.mu.Unlock()
	if err == nil && l.whole && ctx.Err() != nil {
		l.leave()
		return ctx.Err()
	}
	if err == nil && l.before != nil {
		if err = l.before(ctx); err != nil {
			l.leave()
		}
	}
	return err
}

func (l *Loan) use() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enter(l.returned)
}

func (l *Loan) enter(refused error) error {
	if refused != nil {
		return refused
	}
	l.calls++
	l.running.Add(1)
	return nil
}

func (l *Loan) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	l.running.Done()
}

// Busy says whether a call goes on.
func (l *Loan) Busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls > 0
}

// A wait is what a statement waits with: its ctx ends with the caller's, or when the loan
// ends, or when nothing has come for too long.
type wait struct {
	ctx     context.Context
	release func()
	loan    *Loan
	timer   *time.Timer // nil: the application decides
}

func (l *Loan) during(ctx context.Context) wait {
	if l.whole { // not by Return either
		return wait{ctx: context.WithoutCancel(ctx), loan: l, release: func() {}}
	}
	if l.keeper != nil && !l.drains {
		c := &late{Context: ctx, end: l.end}
		return wait{ctx: c, loan: l, release: c.release}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.end, func() { cancel(nil) })
	w := wait{ctx: ctx, loan: l}
	if l.most > 0 {
		w.timer = time.AfterFunc(l.most, func() { cancel(limit.ErrNoAnswer) })
	}
	w.release = func() {
		w.pause()
		stop()
		cancel(nil)
	}
	return w
}

// pause stops the time while nothing is waited for, and resume counts it from zero.
func (w wait) pause() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w wait) resume() {
	if w.timer != nil {
		w.timer.Reset(w.loan.most)
	}
}

// explain says of an error that nothing came for too long, if that is its reason.
func (w wait) explain(err error) error {
	if err != nil {
		w.loan.failed()
	}
	if err != nil && context.Cause(w.ctx) == limit.ErrNoAnswer {
		return fmt.Errorf("%w for %v: %w", limit.ErrNoAnswer, w.loan.most, err)
	}
	return err
}

// Return takes back what was lent, and closes what is open. If that takes longer than
// most, because there is too much to read or no answer, it is interrupted, which breaks a
// connection to a server, and an error says so. From now on, calls return the error over.
func (l *Loan) Return(over error, most time.Duration) error {
	l.mu.Lock()
	was := l.returned != nil
	l.returned = over
	l.mu.Unlock()
	if was {
		return nil
	}
	interrupt := time.AfterFunc(most, l.kill)
	l.running.Wait() // no call begins any more
	for r := range l.rows {
		_ = r.close()
	}
	for s := range l.stmts {
		_ = s.prepared.Close()
	}
	inTime := interrupt.Stop()
	l.kill()
	if !inTime {
		return fmt.Errorf("a statement of the application, or rows that it left open, could not be ended within %v", most)
	}
	return nil
}
