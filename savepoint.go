package tracbus

import (
	"context"
	"fmt"

	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/mark"
)

// Savepoints. An application may roll back a part of a transaction, in a joined one behind the
// library's back, and what was saved or recorded in that part is not to be told. So each call
// leaves a mark in the transaction, and before the next one, and at the end, the database says
// which marks are still there. A transaction of the library's own, whose statements all pass
// by, has marks from the first savepoint on, and CommitWith, which leaves the application no
// time for one, has none.

// marking says whether what follows may be rolled back by itself.
func (tx *ModelTransaction) marking() bool {
	return tx.joined && !tx.whole || tx.lent.Nested()
}

// setMark marks what follows, and forgets what was rolled back before. It returns the
// error that poisoned the transaction, unless that was rolled back too.
func (tx *ModelTransaction) setMark(ctx context.Context) (err error) {
	if !tx.marking() {
		return nil
	}
	if err := tx.lent.Ready(); err != nil {
		return err
	}
	if tx.marks == nil {
		tx.marks = mark.For(string(tx.journal.dialect), tx.commitID, tx.journal.store.SQL)
	}
	defer tx.journal.store.Within(tx.journal.store.Limits().Answer, &ctx, &err)()
	tx.mark = 0 // what fails now cannot be rolled back alone
	n, err := tx.marks.Set(ctx, tx.q)
	if err != nil {
		return err
	}
	tx.forget()
	if tx.err != nil {
		return tx.poisoned()
	}
	tx.mark = n
	tx.pending.Mark(n)
	return nil
}

// settle finds out, at the end, what was rolled back to a savepoint, and returns the error
// that poisoned what was not.
func (tx *ModelTransaction) settle(ctx context.Context) (err error) {
	if tx.marks.Used() {
		defer tx.journal.store.Within(tx.journal.store.Limits().Answer, &ctx, &err)()
		if err := tx.marks.Take(ctx, tx.q); err != nil {
			return err
		}
		tx.forget()
	}
	if tx.err != nil {
		return tx.poisoned()
	}
	return nil
}

// forget forgets what came after marks that are gone.
func (tx *ModelTransaction) forget() {
	tx.pending.Hold(tx.marks.Holds)
	var taken []takenIn
	for _, t := range tx.taken {
		if tx.marks.Holds(t.mark) {
			taken = append(taken, t)
		}
	}
	tx.taken = taken
	for r, at := range tx.tookIn {
		if !tx.marks.Holds(at) {
			delete(tx.tookIn, r)
		}
	}
	tx.tellFate()
	tx.touched = tx.touched && tx.marks.Holds(tx.touchedAt)
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.err != nil && !tx.marks.Holds(tx.errAt) {
		tx.err, tx.errAt = nil, 0
	}
}

// tellFate says what would be lost if the transaction were never flushed: the first resource of
// which there still is something to tell.
func (tx *ModelTransaction) tellFate() {
	if tx.fate == nil {
		return
	}
	var first entry.Resource
	if len(tx.taken) > 0 {
		first = tx.taken[0].entry.Resource
	} else if e, any := tx.pending.First(); any {
		first = e.Resource
	}
	tx.fate.only(Resource{Realm(first.Realm), first.ID})
}

// poisoned returns the error that poisoned the transaction, as others get it.
func (tx *ModelTransaction) poisoned() error {
	return fmt.Errorf("the transaction was poisoned by: %w", tx.err)
}
