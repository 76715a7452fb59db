// Package borrow lends a transaction's connection to an application, and takes it back
// with nothing left open on it. Its secret is how rows and statements are closed that the
// application has not closed: package sql lets nobody but their owner reach them.
package borrow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// SQL is what is lent: a *sql.Conn, a *sql.Tx, or what is made of them.
type SQL interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// Loan is a connection while an application uses it. The application gets rows and
// statements of a pool of package sql, whose driver runs all on what is lent (conn.go), and
// keeps what it has opened there. Methods may be called concurrently.
type Loan struct {
	q      SQL
	drains bool            // rows have to be read before anything else can be asked
	end    context.Context // ends every statement
	kill   context.CancelFunc

	mu       sync.Mutex     // guards what follows
	pool     *sql.DB        // nil until something is asked for that stays open
	returned error          // nil until it is
	rows     map[*rows]bool // that are open
	stmts    map[*stmt]bool
	calls    int            // that go on
	running  sync.WaitGroup // of the calls
}

// Of lends q. drains says that rows have to be read to their end before anything else can
// be asked, as servers want it.
func Of(q SQL, drains bool) *Loan {
	end, kill := context.WithCancel(context.Background())
	return &Loan{q: q, drains: drains, end: end, kill: kill}
}

// ExecContext runs a statement.
func (l *Loan) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := l.ask(); err != nil {
		return nil, err
	}
	defer l.leave()
	ctx, release := l.during(ctx)
	defer release()
	return l.q.ExecContext(ctx, query, args...)
}

// QueryContext runs a query.
func (l *Loan) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	pool, err := l.opener()
	if err != nil {
		return nil, err
	}
	return pool.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a query for one row.
func (l *Loan) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	pool, err := l.opener()
	if err != nil {
		pool = sql.OpenDB(refusal{err}) // whose rows have that error
		defer pool.Close()
	}
	return pool.QueryRowContext(ctx, query, args...)
}

// PrepareContext prepares a statement.
func (l *Loan) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	pool, err := l.opener()
	if err != nil {
		return nil, err
	}
	return pool.PrepareContext(ctx, query)
}

// opener returns the pool for what stays open.
func (l *Loan) opener() (*sql.DB, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pool == nil && l.returned == nil {
		l.pool = sql.OpenDB(connector{l})
	}
	return l.pool, l.returned
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

// ask begins a call that runs a statement, and close one that closes something. Leave
// ends it.
func (l *Loan) ask() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enter(l.ready())
}

func (l *Loan) close() error {
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

// during returns a context that ends with ctx, or when the loan ends, until it is
// released.
func (l *Loan) during(ctx context.Context) (until context.Context, release func()) {
	until, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.end, cancel)
	return until, func() {
		stop()
		cancel()
	}
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
	if l.pool != nil {
		_ = l.pool.Close()
	}
	if !inTime {
		return fmt.Errorf("a statement of the application, or rows that it left open, could not be ended within %v", most)
	}
	return nil
}
