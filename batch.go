package tracbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus/internal/batch"
	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/store"
)

// commitBatch is [Journal.CommitWith] of a transaction whose driver sends many statements in one round
// trip: the rows, with what locks resources before them, and COMMIT.
func (j *Journal) commitBatch(ctx context.Context, q SQL, b batch.Tx, who Actor, commit func() error, changes []Told) (tid int64, err error) {
	tx, err := j.newTransaction()
	if err != nil {
		return 0, fmt.Errorf("commit with: %w: %w", ErrNotCommitted, err)
	}
	defer j.ended()
	tx.joined, tx.whole = true, true
	tx.lend(q)
	defer tx.lent.Return(errTxEnded, j.store.Limits().Rollback)
	resources, err := tx.recordAll(who, changes)
	ctx, done := tx.traced(ctx)
	defer func() { done(tid, err) }()
	if err == nil && tx.pending.Any() {
		tid, err = tx.sendBatch(ctx, b, resources)
	}
	switch state, _, _ := tx.known(); {
	case errors.Is(err, store.ErrInDoubt):
		return tx.afterFailedCommit(ctx, err)
	case err != nil:
		return 0, fmt.Errorf("commit with: %w: %w", ErrNotCommitted, err)
	case state != txCommitted:
		if err := commit(); err != nil {
			return tx.afterFailedCommit(ctx, err)
		}
		if tid != 0 {
			tx.note(txCommitted, tid)
		}
	}
	tx.Notify()
	return tid, nil
}

// recordAll records all changes that there are, which are events, and returns what is to be locked for them.
func (tx *ModelTransaction) recordAll(who Actor, changes []Told) (resources [][2]string, err error) {
	if err := tx.Prepare(who, ""); err != nil {
		return nil, err
	}
	for _, t := range changes {
		e, err := toldEvent(t)
		if err != nil {
			return nil, fmt.Errorf("record: %w", err)
		}
		r := e.Resource()
		resources = append(resources, [2]string{string(r.Realm), r.ID})
		if err := tx.report(e); err != nil {
			return nil, fmt.Errorf("record %s: %w", r, err)
		}
	}
	return resources, nil
}

// sendBatch stores rows, and commits if it is sure that somebody could ask what became of it.
func (tx *ModelTransaction) sendBatch(ctx context.Context, q batch.Tx, resources [][2]string) (tid int64, err error) {
	var rows []store.Change
	for _, e := range tx.pending.All() {
		row, err := entry.Row(e)
		if err != nil {
			return 0, fmt.Errorf("%s %s: %w", e.Resource.Realm, e.Resource.ID, err)
		}
		rows = append(rows, row)
	}
	session, sure, err := q.Session(ctx)
	if err != nil {
		return 0, err
	}
	tx.session = session
	tid, err = batch.Append(ctx, tx.journal.store, q, tx.commitID, tx.journal.origin, rows, resources, sure)
	switch {
	case errors.Is(err, store.ErrInDoubt):
		tx.note(txUnknown, 0)
	case errors.Is(err, store.ErrCounter): // so that the next transaction finds it right
		err = errors.Join(err, tx.journal.fitCounter(ctx))
	case err != nil:
	case sure:
		tx.note(txCommitted, tid)
	default:
		tx.note(txFlushed, tid)
		tx.journal.flushed(tx, tid)
	}
	return tid, err
}
