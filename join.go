package tracbus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"

	"github.com/tracbus/tracbus/internal/batch"
	"github.com/tracbus/tracbus/internal/borrow"
	"github.com/tracbus/tracbus/internal/store"
)

// CommitWith commits a transaction that the application began, with the journal's rows about
// what it has changed:
//
//	tid, err := j.CommitWith(ctx, tx, tracbus.Actor{Author: "joe"}, tx.Commit, tracbus.TicketCreated{ID: 17, Values: values})
//
// q is the transaction, such as a *sql.Tx, under the conditions of [Journal.Join], and commit
// commits it. The changes are as [ModelTransaction.Record] takes them. nil says that the commit
// holds, whatever happens to delivery; tid is 0 if there was nothing to deliver. An error that
// wraps [ErrNotCommitted] says that it does not hold: the application rolls back, as with a
// deferred tx.Rollback(). If commit failed and it could not be found out whether the commit
// holds, the error is a [*CommitUnknownError]. An error of commit itself is wrapped. A commit that
// begins the next transaction by COMMIT AND CHAIN, and then fails, is taken for one that does not
// hold, unless another connection of the pool is free to see the journal's rows.
func (j *Journal) CommitWith(ctx context.Context, q SQL, who Actor, commit func() error, changes ...Told) (tid int64, err error) {
	if b, batches := q.(batch.Tx); batches && j.inbox == nil && !slices.ContainsFunc(changes, isState) {
		return j.commitBatch(ctx, q, b, who, commit, changes)
	}
	tx, err := j.Join(q)
	if err == nil {
		tx.whole = true
		defer tx.fate.settle() // an error says it
		err = tx.Prepare(who, "")
	}
	if err == nil && len(changes) > 1 {
		err = tx.lockAll(ctx, changes)
	}
	for _, t := range changes {
		if err == nil {
			err = tx.Record(ctx, t)
		}
	}
	if err == nil {
		tid, err = tx.Flush(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("commit with: %w: %w", ErrNotCommitted, err)
	}
	told := errors.New("commit panicked, or ended its goroutine") // unless it returns
	defer func() { tx.told(tid, told) }()
	if told = commit(); told != nil {
		tid, told = tx.afterFailedCommit(ctx, told)
		return tid, told
	}
	if tid != 0 {
		tx.note(txCommitted, tid)
	}
	tx.Notify()
	return tid, nil
}

// lockAll locks the resources of several changes, in the order that all use, so that nobody waits for
// somebody who waits for him.
func (tx *ModelTransaction) lockAll(ctx context.Context, changes []Told) error {
	var resources []Resource
	for _, t := range changes {
		if s, is := t.(State); is {
			resources = append(resources, s.Of)
		} else if e, err := toldEvent(t); err == nil { // Record says what is wrong with others
			resources = append(resources, e.Resource())
		}
	}
	return tx.Lock(ctx, resources...)
}

// afterFailedCommit finds out what became of a transaction whose commit, by the application,
// failed.
func (tx *ModelTransaction) afterFailedCommit(ctx context.Context, failed error) (tid int64, err error) {
	ctx, cancel := tx.longer(ctx)
	defer cancel()
	if tx.journal.store.InTransaction(ctx, tx.q) == nil { // in this one, or in the next, as after COMMIT AND CHAIN
		if _, tid, _ := tx.known(); tid != 0 {
			landed, err := tx.journal.store.Landed(ctx, store.Place{TID: tid, CommitID: tx.commitID})
			if err == nil && landed {
				tx.note(txCommitted, tid)
				tx.Notify()
				return tid, nil
			}
		}
		return 0, fmt.Errorf("commit with: %w: commit has not ended the transaction: %w", ErrNotCommitted, failed)
	}
	if tid, err = tx.Outcome(ctx); err != nil {
		return 0, fmt.Errorf("commit with: %w (%w)", err, failed)
	}
	return tid, nil
}

// Join makes a ModelTransaction of a transaction that the application began and
// will commit, as *sql.Tx or *sql.Conn: with pgx through its stdlib package and
// OpenDBFromPool. Call [ModelTransaction.Flush] as the last thing before the
// application's commit, and Notify after it, or Rollback if it is rolled back. One that is
// dropped without any of them is logged, because its changes may be lost. A transaction can be
// joined several times, and may have savepoints: a change that was saved or recorded after one
// is not delivered if the application rolls back to it, and is if it releases it. On SQLite, begin with BEGIN
// IMMEDIATE: a transaction that begins by reading cannot write once somebody
// else has. On PostgreSQL and MySQL, READ COMMITTED suits best; stricter ones
// make the database refuse what others changed meanwhile.
func (j *Journal) Join(q SQL) (*ModelTransaction, error) {
	tx, err := j.newTransaction()
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	j.ended() // nothing to wait for: the application ends it
	switch q := q.(type) {
	case *borrow.Loan:
		return nil, errors.New("join: it is the SQL of a ModelTransaction or a Snapshot: use that one")
	case nil, *sql.DB:
		return nil, fmt.Errorf("join: expected a transaction that was begun, such as *sql.Tx, got %T", q)
	}
	tx.joined = true
	tx.lend(q)
	tx.fate = &fate{logger: j.config.Logger}
	runtime.AddCleanup(tx, (*fate).lost, tx.fate)
	return tx, nil
}

// fate is what a joined transaction has to tell when it is forgotten. It does not refer to it.
type fate struct {
	logger *slog.Logger

	mu      sync.Mutex
	first   Resource // that it would tell of; zero: nothing
	settled bool     // it is flushed, or known to be rolled back, or somebody has heard
	failed  bool     // Flush has returned an error
}

// Of a transaction that was not joined there is none, and nothing to say.

// only says what is left of what it would tell of, after some was rolled back or undone.
func (f *fate) only(r Resource) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.first = r
}

func (f *fate) settle() { f.end() }

// said notes that Flush has returned an error: whoever then drops the transaction knows why.
func (f *fate) said() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = true
}

// notified says that the application has committed.
func (f *fate) notified() {
	if r, open := f.end(); open {
		f.logger.Error("a joined transaction was committed without Flush: its changes are not in the journal, and nobody is told", "resource", r.String())
	}
}

// lost says that nobody refers to the transaction any more.
func (f *fate) lost() {
	if r, open := f.end(); open && !f.failed {
		f.logger.Error("a joined transaction was dropped without Flush or Rollback: if it was committed, its changes are not in the journal, and nobody is told", "resource", r.String())
	}
}

// end settles it, and returns what it would have told of, if that was still open.
func (f *fate) end() (r Resource, open bool) {
	if f == nil {
		return r, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	open = !f.settled && f.first != (Resource{})
	f.settled = true
	return f.first, open
}

// Flush writes the journal's rows into a joined transaction. Whatever the
// application writes after it comes too late to be ordered by it. The commit should
// follow immediately, because what others commit is not delivered before. tid is 0 if
// there was nothing to deliver.
func (tx *ModelTransaction) Flush(ctx context.Context) (tid int64, err error) {
	if !tx.joined {
		return 0, errors.New("flush: the journal began this transaction: expected Commit")
	}
	if err := tx.enterEnd("flush"); err != nil {
		return 0, err
	}
	tid, err = tx.flush(ctx)
	tx.leave("flush", err)
	if err != nil {
		tx.fate.said()
		tx.mu.Lock()
		tx.errAt = 0 // for good: the marks may be gone
		tx.mu.Unlock()
		return 0, fmt.Errorf("flush: %w", err)
	}
	return tid, nil
}

func (tx *ModelTransaction) flush(ctx context.Context) (tid int64, err error) {
	err = tx.lent.Return(errTxEnded, tx.journal.store.Limits().Answer)
	if broken := tx.settle(ctx); broken != nil {
		err = broken
	}
	ctx, done := tx.traced(ctx)
	defer func() {
		if tx.told = done; !tx.whole || err != nil { // else CommitWith calls it, after the commit
			done(tid, err)
		}
	}()
	if err == nil && !tx.marks.Prove() && (tx.marks.Used() || tx.touched || tx.journal.store.OneWriter()) {
		err = tx.journal.store.InTransaction(ctx, tx.q)
	}
	if err == nil {
		err = tx.disown(ctx)
	}
	if err == nil {
		tid, _, err = tx.write(ctx, false)
	}
	if err != nil {
		return 0, err
	}
	tx.fate.settle()
	tx.note(txFlushed, tid)
	tx.journal.flushed(tx, tid)
	return tid, nil
}
