package tracbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/store"
)

// commitGrace is how long that word is waited for at least, though the caller's
// context has ended.
const commitGrace = 2 * time.Second

// Update runs f within a transaction and commits it: nil says that the commit
// holds, whatever happens to delivery. tid is 0 if f changed nothing that is
// delivered. Any error of f, and a panic, roll everything back; the error then wraps
// [ErrNotCommitted]. If the answer to COMMIT was lost and could not be found out
// before ctx ended, the error is a [*CommitUnknownError]. f is called at most once.
// It must not call Update: on SQLite it would wait for itself.
//
// On SQLite, what is done may be committed together with what others of this process do,
// which it waits for. If their functions take longer than ctx lasts, or 15 s, this can end in a
// CommitUnknownError, some seconds after ctx; not if ctx has a deadline that is less than 2 s
// away when f returns, because such work is committed at once.
func (j *Journal) Update(ctx context.Context, who Actor, f func(tx *ModelTransaction) error) (tid int64, err error) {
	tx, err := j.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("update: %w: %w", ErrNotCommitted, err)
	}
	defer tx.Rollback()
	tx.inside = true
	err = tx.Prepare(who, "")
	if err == nil {
		err = f(tx)
	}
	if err == nil {
		err = tx.enterEnd("commit")
	}
	if err != nil {
		return 0, fmt.Errorf("update: %w: %w", ErrNotCommitted, err)
	}
	tid, err = tx.commit(ctx)
	if err != nil {
		return 0, fmt.Errorf("update: %w", err)
	}
	tx.Notify()
	return tid, nil
}

// report takes an event, as listeners will get it.
func (tx *ModelTransaction) report(e Event) error {
	if err := checkType(e); err != nil {
		return err
	}
	c := e.About()
	switch {
	case c.Absent&^(AttrValues|AttrOld) != 0:
		return errors.New("the event has parts that are absent: expected one that is complete")
	case tx.kind != "" && e.Kind() != tx.kind:
		return fmt.Errorf("it is %q, and the transaction was prepared for %q", e.Kind(), tx.kind)
	case tx.journal.realm(e.Resource().Realm) == nil:
		return fmt.Errorf("the journal has no realm %q: expected one of %s", e.Resource().Realm, tx.journal.realmNames())
	}
	if c.Time.IsZero() {
		c.Time = tx.time
	}
	c.TID, c.Seq, c.Author, c.IPNR, c.Authenticated = 0, 0, tx.who.Author, tx.who.IPNR, tx.who.Authenticated
	if c.Author == "" && e.About().Null.Has(AttrAuthor) {
		c.Null |= AttrAuthor
	}
	plain, err := tx.entryOf(e.WithChange(c), true)
	if err == nil {
		tx.pending.Add(plain)
		tx.tellFate()
	}
	return err
}

// Pending returns what the transaction is going to report of a resource: of all
// its changes so far, one.
func (tx *ModelTransaction) Pending(r Resource) (Entry, bool) {
	e, ok := tx.pending.Of(plainResource(r))
	if !ok {
		return Entry{}, false
	}
	made := madeOf(e)
	made.Change.Env, made.Change.Primary = cmp.Or(e.Env, tx.journal.bus.env), true
	return made, true
}

// Retract takes back what the transaction was going to report of a resource. A
// [Model] calls it from Save when its tables show that this change undoes those
// that the transaction made before, and returns no event.
func (tx *ModelTransaction) Retract(r Resource) {
	tx.pending.Retract(plainResource(r))
	tx.tellFate()
}

// Keep makes the transaction report the changes of a resource even if they undo
// each other. A [Model] calls it from Save after it has written a change to
// tables that keep a history, such as the versions of a page: a second change
// that goes back to the first state then has a place in that history too.
func (tx *ModelTransaction) Keep(r Resource) { tx.pending.Keep(plainResource(r)) }

// Commit writes the journal's rows and commits. nil says that the commit holds.
// tid is 0 if there was nothing to deliver. Other errors, and what is waited for on SQLite,
// are as with [Journal.Update].
func (tx *ModelTransaction) Commit(ctx context.Context) (tid int64, err error) {
	switch {
	case tx.inside:
		return 0, errors.New("commit: Update commits this transaction when its function returns")
	case tx.joined:
		return 0, errors.New("commit: the application began this transaction: expected Flush, and its own commit")
	}
	if err := tx.enterEnd("commit"); err != nil {
		return 0, err
	}
	return tx.commit(ctx)
}

// commit ends the transaction, after enterEnd.
func (tx *ModelTransaction) commit(ctx context.Context) (tid int64, err error) {
	poison := tx.lent.Return(errTxEnded, tx.journal.store.Limits().Answer)
	if broken := tx.settle(ctx); broken != nil {
		poison = broken
	}
	ctx, done := tx.traced(ctx)
	defer func() { done(tid, err) }()
	if poison != nil {
		tx.end(txRolledBack, (*store.Conn).Rollback)
		return 0, fmt.Errorf("commit: %w: %w", ErrNotCommitted, poison)
	}
	tid, committed, err := tx.write(ctx, true)
	if err == nil && !committed {
		tx.note(tx.state, tid) // which is asked for if COMMIT has no answer
		err = tx.journal.store.Commit(ctx, tx.conn)
	}
	switch {
	case errors.Is(err, store.ErrInDoubt):
		return tx.clearUp(ctx, err)
	case err != nil:
		tx.end(txRolledBack, (*store.Conn).Rollback)
		if errors.Is(err, store.ErrCounter) { // so that the next transaction finds it right
			err = errors.Join(err, tx.journal.fitCounter(ctx))
		}
		return 0, fmt.Errorf("commit: %w: %w", ErrNotCommitted, err)
	}
	tx.note(tx.state, tid)
	tx.end(txCommitted, (*store.Conn).Release)
	return tid, nil
}

// write writes the journal's rows, if there is something to deliver.
func (tx *ModelTransaction) write(ctx context.Context, end bool) (tid int64, committed bool, err error) {
	var entries []entry.Entry
	for _, t := range tx.taken {
		entries = append(entries, t.entry)
	}
	entries = append(entries, tx.pending.All()...)
	ordered := len(entries) > 0
	if end && tx.journal.store.MustCheckOpen(ordered) {
		if err := tx.journal.store.StillOpen(ctx, tx.conn); err != nil {
			return 0, false, err
		}
	}
	if !ordered {
		return 0, false, nil
	}
	rows := make([]store.Change, len(entries))
	for i, e := range entries {
		if rows[i], err = entry.Row(e); err != nil {
			return 0, false, fmt.Errorf("%s %s: %w", e.Resource.Realm, e.Resource.ID, err)
		}
		if i < len(tx.taken) {
			rows[i].Origin = foreignOrigin
		}
	}
	return tx.journal.store.Append(ctx, tx.q, tx.commitID, tx.journal.origin, rows, end)
}

// clearUp finds out what became of a commit whose answer was lost. Its
// connection is broken first, so that a server that has not committed yet learns
// that it never will.
func (tx *ModelTransaction) clearUp(ctx context.Context, lost error) (tid int64, err error) {
	tx.end(txUnknown, (*store.Conn).Break)
	ctx, cancel := tx.longer(ctx)
	defer cancel()
	if tid, err = tx.Outcome(ctx); err != nil {
		return 0, fmt.Errorf("commit: %w (%w)", err, lost)
	}
	return tid, nil
}

// longer returns ctx with time to find out what became of a commit.
func (tx *ModelTransaction) longer(ctx context.Context) (context.Context, context.CancelFunc) {
	// A deadline that is over, or nearly, must not be the reason not to know.
	grace := commitGrace
	if end, ok := ctx.Deadline(); ok {
		grace = max(grace, time.Until(end))
	} else if ctx.Err() == nil {
		grace = tx.journal.store.Limits().Commit
	}
	return context.WithTimeout(context.WithoutCancel(ctx), grace)
}

// Outcome says what became of the transaction, by its commit id: nil if it was
// committed, with its tid; [ErrNotCommitted] if it was not and never will be;
// [ErrCommitUnknown] if that cannot be found out before ctx ends, or some seconds
// have passed, or if the transaction may have been pruned since. It asks the database
// if Commit could not find out, or if the application committed.
func (tx *ModelTransaction) Outcome(ctx context.Context) (tid int64, err error) {
	state, tid, busy := tx.known()
	switch {
	case busy:
		return 0, &CommitUnknownError{tx, errors.New("another call of this transaction goes on")}
	case state == txCommitted:
		return tid, nil
	case state == txBegun || state == txPrepared:
		if tx.joined {
			return 0, &CommitUnknownError{tx, errors.New("it was not flushed: whether the application committed left no trace")}
		}
		fallthrough
	case state == txRolledBack:
		return 0, fmt.Errorf("%w: it is %s", ErrNotCommitted, state)
	}
	if len(tx.taken)+len(tx.pending.All()) == 0 {
		return 0, &CommitUnknownError{tx, errors.New("it changed nothing that leaves a trace in the journal")}
	}
	session := tx.session
	if tx.conn != nil {
		session = tx.conn.Session
	}
	after := tx.after
	if tx.rewinds != tx.journal.follower.Rewinds() { // tids have come again since
		after = store.Place{}
	}
	ctx, cancel := context.WithTimeout(ctx, tx.journal.store.Limits().Commit)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		found, landed, err := tx.journal.store.Find(ctx, tx.commitID, tid, after, session)
		switch {
		case landed:
			tx.note(txCommitted, found)
			tx.Notify()
			return found, nil
		case err == nil:
			tx.note(txRolledBack, tid)
			return 0, ErrNotCommitted
		case errors.Is(err, ErrPruned) || !store.Sleep(ctx, pause):
			return 0, &CommitUnknownError{tx, err}
		}
	}
}

// Notify hints that the transaction was committed, so that it is delivered
// immediately and not at the next poll, here and in other processes. If the transaction was
// joined, and has changes that were never flushed, the log says that they are lost.
func (tx *ModelTransaction) Notify() {
	state, tid, busy := tx.known()
	tx.fate.notified()
	switch {
	case tid == 0 || busy:
	case state == txCommitted:
		tx.journal.committed(tx, tid)
	case state == txFlushed: // the application says so, and could be wrong
		tx.journal.follower.Hint()
	}
}

// Rollback ends a transaction that was not committed; after Commit it does
// nothing. A joined transaction is the application's to end: Rollback says that it is not
// going to be committed, so that nobody misses its Flush: call it where you roll back, and not by
// defer, or a Flush that was forgotten is not found out.
func (tx *ModelTransaction) Rollback() {
	tx.fate.settle()
	tx.mu.Lock()
	tx.doomed = true
	over := tx.busy || tx.state > txFlushed || tx.joined // the call that goes on ends it
	tx.busy = tx.busy || !over
	tx.mu.Unlock()
	if !over {
		tx.end(txRolledBack, (*store.Conn).Rollback)
	}
}

// end gives the connection back, in a call that was entered, and leaves it.
func (tx *ModelTransaction) end(state txState, with func(*store.Conn)) {
	_ = tx.lent.Return(errTxEnded, tx.journal.store.Limits().Rollback)
	with(tx.conn)
	tx.mu.Lock()
	tx.state, tx.busy = state, false
	tx.mu.Unlock()
	tx.journal.ended()
}
