package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/tracbus/tracbus/internal/question"
	"github.com/tracbus/tracbus/internal/recent"
	"github.com/tracbus/tracbus/internal/store"
)

// reader reads the journal for all consumers of a process. What one has read just now,
// or the follower has, the others need not read again, and one question tells all who
// wait whether there is more.
type reader[E any] struct {
	journal Journal[E]
	slots   slots
	base    context.Context // of what is read for many
	reads   question.Desk[store.Place, store.Batch]

	mu      sync.Mutex // guards what follows
	kicks   int        // how often there may have been something new
	forgets int        // how often what was read was forgotten
	recent  recent.Reads[E]
	waiting map[chan struct{}]store.Place
}

// read returns what is after a place, as a batch of its own. With anew, the rows
// are read from the database now, and not taken from those that are known.
func (r *reader[E]) read(ctx context.Context, from store.Place, trim func(*store.Change), anew bool) (*batch[E], error) {
	heard := r.heard() // what is known may be of before
	part, known := r.known(from)
	if !known || anew {
		rows, err := r.ask(ctx, from)
		if err != nil {
			return nil, err
		}
		if known = !anew; known { // what is known may begin before, and be older
			part, known = r.known(from)
		}
		if !known {
			part = recent.PartOf[E](rows)
			part.Heard = heard
		}
	}
	return r.batch(part, trim, min(heard, part.Heard)), nil
}

// ask reads what is after a place from the database, once for all who ask.
func (r *reader[E]) ask(ctx context.Context, from store.Place) (store.Batch, error) {
	return r.reads.Ask(ctx, r.base, from, func(ctx context.Context) (rows store.Batch, err error) {
		forgets, heard := r.reading(), r.heard()
		err = r.slots.use(ctx, unlimited, func(ctx context.Context) (err error) {
			rows, err = r.journal.Store.Read(ctx, r.journal.DB, from, batchLength, r.journal.Realms())
			return err
		})
		r.keep(from, rows, err, forgets, heard)
		return rows, err
	})
}

// keep remembers what was read after a place, and how often there may have been something
// new before that: who has all of it then waits for what came later.
func (r *reader[E]) keep(from store.Place, rows store.Batch, err error, forgets, heard int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, store.ErrRewound) || errors.Is(err, store.ErrPruned) {
		r.recent.Forget()
	}
	if err == nil && forgets == r.forgets {
		r.recent.Keep(from, rows, heard)
	}
}

// reading returns how often what was read was forgotten.
func (r *reader[E]) reading() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forgets
}

// forget forgets what was read: it may be of a history that is gone.
func (r *reader[E]) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent.Forget()
	r.forgets++
}

// known returns what is after a place if that was read a moment ago.
func (r *reader[E]) known(from store.Place) (recent.Part[E], bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.recent.After(from, batchLength)
}

// batch makes a batch of what may belong to others as well.
func (r *reader[E]) batch(p recent.Part[E], trim func(*store.Change), heard int) *batch[E] {
	b := &batch[E]{places: slices.Clone(p.Places), more: p.More, heard: heard, changes: make([]change[E], len(p.Changes))}
	for i, c := range p.Changes {
		one := &b.changes[i]
		one.row = c.Row
		if trim != nil {
			trim(&one.row)
			one.event, one.err = r.journal.Decode(one.row)
			continue
		}
		one.event, one.err = c.Event(r.journal.Decode)
	}
	return b
}

// heard returns how often there may have been something new; see await.
func (r *reader[E]) heard() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kicks
}

// await returns when there may be something after a place that there was not when
// heard returned a number, when there is a kick, or when ctx ends.
func (r *reader[E]) await(ctx context.Context, after store.Place, heard int, kick <-chan struct{}) {
	r.mu.Lock()
	if r.kicks != heard {
		r.mu.Unlock()
		return
	}
	woken := make(chan struct{})
	r.waiting[woken] = after
	r.mu.Unlock()
	select {
	case <-woken:
		return
	case <-kick:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, woken)
}

// offer keeps what was read after a place, unless what was read is forgotten since, and
// wakes those for whom there is something in it. It says whether others wait, who are at
// another place.
func (r *reader[E]) offer(from store.Place, b store.Batch, reading int) (others bool) {
	r.keep(from, b, nil, reading, r.heard()+1) // which it is itself
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kicks++
	known := map[store.Place]bool{}
	for _, p := range r.waiting {
		if _, is := known[p]; !is {
			_, known[p] = r.recent.After(p, 1)
			others = others || !known[p]
		}
	}
	r.wake(func(p store.Place) bool { return known[p] })
	return others
}

// look reads once for all who wait, and wakes those for whom there is something.
func (r *reader[E]) look(ctx context.Context) {
	r.mu.Lock()
	r.kicks++
	r.recent.Expire()
	places := map[store.Place]bool{}
	for _, p := range r.waiting {
		places[p] = true
	}
	r.mu.Unlock()
	for p := range places {
		rows, err := r.ask(ctx, p)
		if err == nil && len(rows.Places) == 0 {
			continue
		}
		r.mu.Lock()
		r.wake(func(at store.Place) bool { return at == p })
		r.mu.Unlock()
	}
}

// wake wakes those who wait at some places. The caller holds mu.
func (r *reader[E]) wake(at func(store.Place) bool) {
	for woken, p := range r.waiting {
		if at(p) {
			delete(r.waiting, woken)
			close(woken)
		}
	}
}
