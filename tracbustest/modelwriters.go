package tracbustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tracbustest/internal/compare"
)

// othersDoNotWait changes a resource while a transaction that has changed another one is open.
func (m *modelCheck) othersDoNotWait(ctx context.Context, r, other tracbus.Resource) {
	m.t.Helper()
	if m.config.Journal.Dialect == tracbus.SQLite {
		return // where one transaction writes at a time
	}
	_, err := m.update(ctx, func(tx *tracbus.ModelTransaction) error {
		if err := guarded(func() error { return tx.Save(ctx, m.edit(r, "held open")(tx)) }); err != nil {
			return err
		}
		within, cancel := context.WithTimeout(ctx, soon)
		defer cancel()
		_, err := m.journal.Update(within, tracbus.Actor{Author: "tracbustest"}, func(tx *tracbus.ModelTransaction) error {
			return guarded(func() error { return tx.Save(within, m.edit(other, "meanwhile")(tx)) })
		})
		return err
	})
	if err != nil {
		m.broken(promiseOthers, "while a transaction that has changed %s was open, %s could not be changed within %v: %v", r, other, soon, err)
	}
}

// writers and edits are how many try to get in each other's way.
const writers, edits = 4, 8

// together changes two resources in each transaction, from several goroutines.
func (m *modelCheck) together(ctx context.Context, r, other tracbus.Resource) {
	m.t.Helper()
	var all sync.WaitGroup
	failed := make(chan error, writers*edits)
	for w := range writers {
		all.Go(func() {
			for n := range edits {
				first, second := r, other
				if (w+n)%2 == 0 {
					first, second = other, r
				}
				text := fmt.Sprintf("writer %d, edit %d", w, n)
				if err := m.both(ctx, first, second, text); err != nil {
					failed <- fmt.Errorf("%s and %s, to %q: %w", first, second, text, err)
				}
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		m.broken(promiseTogether, "%v", err)
		return // the others say the same
	}
}

// both saves two resources, from what is seen of them when both are locked.
func (m *modelCheck) both(ctx context.Context, first, second tracbus.Resource, text string) error {
	for try := 1; ; try++ {
		tid, err := m.journal.Update(ctx, tracbus.Actor{Author: "tracbustest"}, func(tx *tracbus.ModelTransaction) error {
			if err := tx.Lock(ctx, first, second); err != nil { // which it does in an order of its own
				return err
			}
			if err := guarded(func() error { return tx.Save(ctx, m.edit(first, text)(tx)) }); err != nil {
				return err
			}
			return guarded(func() error { return tx.Save(ctx, m.edit(second, text)(tx)) })
		})
		if m.config.Conflicts && errors.Is(err, tracbus.ErrConflict) && try < 1000 {
			select { // the faster one's event was not delivered yet
			case <-time.After(2 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if err == nil {
			err = m.journal.Wait(ctx, tid)
		}
		return err
	}
}

// history looks whether each event of a resource has in Old what the one before it had.
func (m *modelCheck) history(ctx context.Context, resources ...tracbus.Resource) {
	m.t.Helper()
	for _, r := range resources {
		var before any
		var last tracbus.Event
		for e, err := range m.journal.History(ctx, r) {
			if err != nil {
				m.broken(promiseTrueOld, "history of %s: %v", r, err)
				return
			}
			now, was, changed := m.field(e)
			if last != nil && changed && compare.Difference(before, was) != "" && !(before == nil && was == "") {
				m.broken(promiseTrueOld, "%s, tid %d: the entry has %q in Old, and the event before it, tid %d, has %q",
					called(e), e.About().TID, fmt.Sprint(was), last.About().TID, fmt.Sprint(before))
				break // the others follow from it
			}
			before, last = now, e
		}
		m.stored(ctx, promiseTrueOld, r, before)
	}
}
