package tracbus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus/internal/borrow"
)

// Join makes a ModelTransaction of a transaction that the application began and
// will commit, as *sql.Tx or *sql.Conn: with pgx through its stdlib package and
// OpenDBFromPool. Call [ModelTransaction.Flush] as the last thing before the
// application's commit, and Notify after it. On SQLite, begin with BEGIN
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
	return tx, nil
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
		return 0, fmt.Errorf("flush: %w", err)
	}
	return tid, nil
}

func (tx *ModelTransaction) flush(ctx context.Context) (tid int64, err error) {
	ctx, done := tx.traced(ctx)
	defer func() { done(tid, err) }()
	if tx.err != nil {
		return 0, fmt.Errorf("the transaction was poisoned by: %w", tx.err)
	}
	err = tx.lent.Return(errTxEnded, tx.journal.store.Limits().Answer)
	if err == nil && (tx.touched || tx.journal.store.OneWriter()) {
		err = tx.journal.store.JoinedStillOpen(ctx, tx.q)
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
	tx.note(txFlushed, tid)
	tx.journal.flushed(tx, tid)
	return tid, nil
}
