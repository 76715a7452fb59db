package turns

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Turn is a transaction: of its own, or a savepoint in that of others. Its methods run the
// statements of the application; see [Turn.Kept] for those of this library.
type Turn struct {
	line    *Line
	pin     *pin
	joined  bool // it is a savepoint
	began   time.Time
	unclear atomic.Bool // a statement may have changed what others rely on
	failed  atomic.Bool // one may have ended the transaction
	over    atomic.Bool

	mu     sync.Mutex // guards what follows
	marked bool       // it has a savepoint, though it is the first
	nested bool       // the application has made savepoints before
}

const (
	savepoint = "SAVEPOINT tracbus_turn"
	release   = "RELEASE tracbus_turn"
)

// errOver is what statements get from the end on.
var errOver = errors.New("the transaction has ended")

// Uninterrupted says that statements are not interrupted: SQLite would roll back the
// work of others with that of the one that is.
func (t *Turn) Uninterrupted() bool { return t.joined }

// Failed says that a statement has failed, which may have ended the transaction.
func (t *Turn) Failed() { t.failed.Store(true) }

// SurelyOpen says that no statement can have ended the transaction: all were plain, and
// none has failed, as far as Failed was called.
func (t *Turn) SurelyOpen() bool { return !t.failed.Load() && !t.unclear.Load() }

// ask says whether a statement may be run, with which context, and if so, whether it is plain.
func (t *Turn) ask(ctx context.Context, query string) (_ context.Context, isPlain bool, err error) {
	if t.over.Load() {
		return ctx, false, errOver
	}
	word := plainWord(query)
	if isPlain = word != ""; !isPlain {
		t.unclear.Store(true)
	}
	if err = ctx.Err(); err == nil {
		err = t.mark(ctx, word)
	}
	if t.joined {
		ctx = context.WithoutCancel(ctx)
	}
	return ctx, isPlain, err
}

// mark makes a savepoint before the first statement that is not plain: it may end the
// transaction and begin another one, which has no such savepoint. One within those of the
// application would end with them.
func (t *Turn) mark(ctx context.Context, word string) (err error) {
	if t.joined || word != "" && word != "SAVEPOINT" || t.failed.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.marked:
	case word != "":
		t.nested = true
	case !t.nested:
		_, err = t.pin.conn.ExecContext(ctx, savepoint)
		t.marked = err == nil
	}
	return err
}

// ExecContext runs a statement.
func (t *Turn) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx, _, err := t.ask(ctx, query)
	if err != nil {
		return nil, err
	}
	return t.pin.conn.ExecContext(ctx, query, args...)
}

// ExecKept is ExecContext while no other statement goes on, and no rows are open: the
// statement may stay prepared.
func (t *Turn) ExecKept(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx, isPlain, err := t.ask(ctx, query)
	if err != nil {
		return nil, err
	}
	if s := t.kept(ctx, query, isPlain); s != nil {
		if result, err := s.ExecContext(ctx, args...); !isCount(err) {
			return result, err
		}
	}
	return t.pin.conn.ExecContext(ctx, query, args...)
}

// QueryContext runs a query.
func (t *Turn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx, _, err := t.ask(ctx, query)
	if err != nil {
		return nil, err
	}
	return t.pin.conn.QueryContext(ctx, query, args...)
}

// QueryKept is QueryContext as ExecKept is ExecContext.
func (t *Turn) QueryKept(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx, isPlain, err := t.ask(ctx, query)
	if err != nil {
		return nil, err
	}
	if s := t.kept(ctx, query, isPlain); s != nil {
		if rows, err := s.QueryContext(ctx, args...); !isCount(err) {
			return rows, err
		}
	}
	return t.pin.conn.QueryContext(ctx, query, args...)
}

// kept returns the prepared statement of an application's, if it has one.
func (t *Turn) kept(ctx context.Context, query string, isPlain bool) *sql.Stmt {
	if !isPlain || len(query) > keptLength {
		return nil
	}
	return t.pin.statement(ctx, query)
}

// isCount says that a prepared statement was refused by package sql because of the number
// of its values. Some drivers are content with more.
func isCount(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "sql: expected ") && strings.Contains(err.Error(), " arguments, got ")
}

// QueryRowContext runs a query for one row.
func (t *Turn) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	within, _, err := t.ask(ctx, query)
	if err != nil { // the row has it
		ended, cancel := context.WithCancelCause(ctx)
		cancel(err)
		within = ended
	}
	return t.pin.conn.QueryRowContext(within, query, args...)
}

// PrepareContext prepares a statement. Who runs it heeds [Turn.Uninterrupted].
func (t *Turn) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	ctx, _, err := t.ask(ctx, query)
	if err != nil {
		return nil, err
	}
	return t.pin.conn.PrepareContext(ctx, query)
}

// Kept runs statements that come in every turn, and stay prepared. It is used before the
// end.
func (t *Turn) Kept() Statements { return Kept{t.pin} }

// Commit ends the turn, and returns when its work is committed, alone or with that of
// others. An error that does not wrap [ErrInDoubt] says that it is not.
func (t *Turn) Commit(ctx context.Context) error {
	if t.over.Swap(true) {
		return errOver
	}
	l := t.line
	t.mu.Lock()
	marked := t.marked
	t.mu.Unlock()
	if t.joined || marked {
		// It fails if the application has ended the transaction, and begun another one.
		if _, err := t.pin.exec(context.WithoutCancel(ctx), release); err != nil {
			return l.lose(err)
		}
	}
	g := l.group
	if l.handsOn(ctx, t) {
		if g == nil {
			g = &group{began: t.began, done: make(chan struct{})}
			l.group = g
		}
		g.size++
		if l.queue.pass() {
			return l.await(ctx, g)
		}
	} else if g != nil {
		g.size++
	}
	err := l.commit(ctx)
	l.settle(err)
	l.leave()
	return err
}

// await waits for the COMMIT of who is the last. The work cannot be taken back meanwhile.
func (l *Line) await(ctx context.Context, g *group) error {
	timeout := time.NewTimer(l.limits.Commit)
	defer timeout.Stop()
	ended := ctx.Done()
	for {
		select {
		case <-g.done:
			return g.err
		case <-ended:
			ended = nil
			timeout.Reset(lastWait)
		case <-timeout.C:
			return fmt.Errorf("%w: another transaction of this process, which is to be committed with it, goes on", ErrInDoubt)
		}
	}
}

// lose ends a turn whose transaction has ended before, and with it that of others.
func (l *Line) lose(err error) error {
	l.rollback()
	l.settle(fmt.Errorf("%w: the transaction was ended by another one of this process: %w", ErrInDoubt, err))
	l.leave()
	return fmt.Errorf("the transaction was ended before its commit: %w", err)
}

// Rollback takes back the work of the turn, and no other. It does nothing after Commit.
func (t *Turn) Rollback() {
	if t.over.Swap(true) {
		return
	}
	l := t.line
	if !t.joined {
		l.rollback()
		l.leave()
		return
	}
	ctx := context.Background()
	_, err := t.pin.exec(ctx, "ROLLBACK TO tracbus_turn")
	if err == nil {
		_, err = t.pin.exec(ctx, release)
	}
	switch {
	case err != nil:
		_ = l.lose(err)
	case !l.handsOn(ctx, t) || !l.queue.pass():
		l.settle(l.commit(ctx))
		l.leave()
	}
}
