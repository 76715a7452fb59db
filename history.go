package tracbus

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/tracbus/tracbus/internal/retention"
	"github.com/tracbus/tracbus/internal/store"
)

// Since iterates over the changes after a tid, in order. It stops before the first
// transaction that may still be open. An error is yielded once and ends the
// iteration; it wraps [ErrPruned] if changes after the tid are pruned. The events
// are those that were delivered to listeners, and Primary says of each whether this
// process committed it.
func (j *Journal) Since(ctx context.Context, tid int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		j.readOn(ctx, store.Place{TID: tid}, yield)
	}
}

// Resume is Since for a caller that remembers the last change it has handled, such
// as a browser that reconnects, perhaps to another process. It iterates over the
// changes after seen, of which it uses TID, Seq and CommitID. An error is yielded
// once and ends the iteration. It wraps [ErrRewound] if that change is not in the
// journal, because the database's history went back. It wraps [ErrPruned] if changes
// after it are pruned. In both cases the caller has to load its state again.
//
// A Seq below zero means the end of its transaction, and a TID of zero the journal's
// beginning. Without a CommitID, it is not checked that the change is the one that
// was seen.
func (j *Journal) Resume(ctx context.Context, seen Change) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		place := store.Place{TID: seen.TID, CommitID: seen.CommitID}
		rest, err := j.store.Rest(ctx, j.db, place, seen.Seq, j.realmNames())
		if err != nil {
			yield(nil, fmt.Errorf("changes after tid %d, seq %d: %w", seen.TID, seen.Seq, err))
			return
		}
		for _, row := range rest {
			if e, err := j.eventOf(row); !yield(e, err) || err != nil {
				return
			}
		}
		j.readOn(ctx, place, yield)
	}
}

// readOn yields what comes after a place.
func (j *Journal) readOn(ctx context.Context, place store.Place, yield func(Event, error) bool) {
	for more := true; more; {
		batch, err := j.store.Read(ctx, j.db, place, j.config.BatchSize, j.realmNames())
		if err != nil {
			yield(nil, fmt.Errorf("changes since tid %d: %w", place.TID, err))
			return
		}
		for _, row := range batch.Changes {
			if e, err := j.eventOf(row); !yield(e, err) || err != nil {
				return
			}
		}
		if n := len(batch.Places); n > 0 {
			place = batch.Places[n-1]
		}
		more = batch.More
	}
}

// Before iterates over the changes before a tid, the newest first: what a
// timeline shows, and its earlier pages. A tid of 0 begins at the newest change
// that is decided. It ends at the journal's beginning; what is pruned is not there.
// An error is yielded once and ends the iteration. Events are those that
// [Journal.Since] yields.
func (j *Journal) Before(ctx context.Context, tid int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		end, err := j.store.End(ctx, j.db)
		last := end.TID
		if tid > 0 {
			last = min(last, tid-1)
		}
		most := min(firstStep, j.config.BatchSize)
		for err == nil && last > 0 {
			var rows []store.Change
			var first int64
			if rows, first, err = j.store.ReadBack(ctx, j.db, last, most, j.realmNames()); err != nil {
				break
			}
			for _, row := range slices.Backward(rows) {
				if e, err := j.eventOf(row); !yield(e, err) || err != nil {
					return
				}
			}
			last, most = first-1, j.nextStep(most, rows)
		}
		if err != nil {
			yield(nil, fmt.Errorf("changes before tid %d: %w", last+1, err))
		}
	}
}

// History iterates over the changes of one resource, the oldest first: who did
// what, from which address, signed in or not. What is pruned is not there. A page
// that was renamed has its earlier history under its earlier name. An error is
// yielded once and ends the iteration.
func (j *Journal) History(ctx context.Context, r Resource) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := j.checkRealm(r.Realm); err != nil {
			yield(nil, fmt.Errorf("history of %s: %w", r, err))
			return
		}
		var tid int64
		seq := -1
		for most := min(firstStep, j.config.BatchSize); ; {
			rows, err := j.store.History(ctx, j.db, string(r.Realm), r.ID, tid, seq, most)
			if err != nil {
				yield(nil, fmt.Errorf("history of %s: %w", r, err))
				return
			}
			for _, row := range rows {
				if e, err := j.eventOf(row); !yield(e, err) || err != nil {
					return
				}
				tid, seq = row.TID, row.Seq
			}
			if len(rows) < most {
				return
			}
			most = j.nextStep(most, rows)
		}
	}
}

// HistoryBefore iterates over the changes of one resource before a tid, the newest
// first, those of the same transaction left out; a tid of 0 begins at the newest
// that is decided. It yields what [Journal.History] does.
func (j *Journal) HistoryBefore(ctx context.Context, r Resource, tid int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := j.checkRealm(r.Realm); err != nil {
			yield(nil, fmt.Errorf("history of %s: %w", r, err))
			return
		}
		if tid <= 0 {
			tid = 1 << 48
		}
		seq := 0
		for most := min(firstStep, j.config.BatchSize); ; {
			rows, err := j.store.HistoryBefore(ctx, j.db, string(r.Realm), r.ID, tid, seq, most)
			if err != nil {
				yield(nil, fmt.Errorf("history of %s: %w", r, err))
				return
			}
			for _, row := range slices.Backward(rows) {
				if e, err := j.eventOf(row); !yield(e, err) || err != nil {
					return
				}
				tid, seq = row.TID, row.Seq
			}
			if len(rows) < most {
				return
			}
			most = j.nextStep(most, rows)
		}
	}
}

// firstStep is how many changes are read at first: many who read back want a few.
const firstStep = 8

// nextStep returns how many changes to read after some: twice as many, or half as many if their
// texts were long, so that nobody fills the memory by writing long ones.
func (j *Journal) nextStep(most int, rows []store.Change) int {
	bytes := 0
	for _, row := range rows {
		bytes += len(row.Document) + len(row.Comment)
	}
	if bytes > 1<<20 {
		return max(most/2, 1)
	}
	return min(2*most, j.config.BatchSize)
}

// Retention says what [Journal.Prune] keeps. The last transaction is always
// kept. The age of a change is that of its Time, by the clock of the process that
// prunes. A change with a Time in the future is as old as those after it, and one
// with an old Time stays while an older transaction does.
type Retention struct {
	// KeepFor keeps changes that are younger. Zero means that age keeps none.
	KeepFor time.Duration
	// KeepLast keeps as many of the last. Zero means that their number keeps none.
	KeepLast int64

	// DropUnconsumedAfter is the age from which on changes are deleted even if a
	// [Durable] consumer has not received them, or has them as dead letters. Its
	// listener then goes on after them, after a [Resync]. Zero means that they are
	// kept at any age: drop a consumer that is no longer used, see
	// [Journal.DropConsumer].
	DropUnconsumedAfter time.Duration
}

// Prune deletes the transactions that neither KeepFor nor KeepLast keeps and that
// every [Durable] consumer is done with, of all realms, also of those that this journal was
// not opened with. It returns how many it deleted, also with an error. It reads what it
// deletes, and not what stays; but on PostgreSQL KeepLast counts every transaction
// once. Whoever reads on from a place that was pruned learns of it: listeners
// by a [Resync], callers of Since and Resume by [ErrPruned].
func (j *Journal) Prune(ctx context.Context, r Retention) (deleted int64, err error) {
	if r.KeepFor < 0 || r.KeepLast < 0 || r.DropUnconsumedAfter < 0 || r.KeepFor == 0 && r.KeepLast == 0 {
		return 0, fmt.Errorf("prune: %+v: expected KeepFor or KeepLast above zero, and DropUnconsumedAfter from zero", r)
	}
	if deleted, err = j.retention.Prune(ctx, retention.Rule(r), j.tables.SlowestConsumer); err != nil {
		return deleted, fmt.Errorf("prune: %w", err)
	}
	return deleted, nil
}
