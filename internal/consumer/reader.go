package consumer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// reader reads the journal for all consumers of a process. What one has read just now
// the others need not read again, and one question tells all who wait whether there is
// more.
type reader[E any] struct {
	journal Journal[E]
	slots   slots
	base    context.Context // of what is read for many
	reads   questions[store.Place, store.Batch]

	mu      sync.Mutex // guards what follows
	kicks   int        // how often there may have been something new
	forgets int        // how often what was read was forgotten
	windows []*window[E]
	waiting map[chan struct{}]store.Place
}

// window is a part of the journal that was read a moment ago: what comes after a
// place.
type window[E any] struct {
	from    store.Place
	places  []store.Place
	changes []*shared[E]
	bytes   int
	more    bool
	read    time.Time // when its end was read
}

// shared is a change whose event is made once for all.
type shared[E any] struct {
	row   store.Change
	once  sync.Once
	event E
	err   error
}

const (
	windowsAtOnce = 4       // there are as many
	windowLength  = 2 << 10 // transactions, at most
	windowBytes   = 8 << 20 // after so many no batch is added to one
	windowLasts   = time.Second
)

// read returns what is after a place, as a batch of its own. With anew, the rows
// are read from the database now, and not taken from those that are known.
func (r *reader[E]) read(ctx context.Context, from store.Place, trim func(*store.Change), anew bool) (*batch[E], error) {
	if known := r.known(from); known != nil && !anew {
		return r.batch(known, trim), nil
	}
	rows, err := r.ask(ctx, from)
	if err != nil {
		return nil, err
	}
	var known *window[E]
	if !anew { // what is known may begin before, and be older
		known = r.known(from)
	}
	if known == nil {
		known = &window[E]{places: rows.Places, changes: sharing[E](rows.Changes), more: rows.More}
	}
	return r.batch(known, trim), nil
}

// ask reads what is after a place from the database, once for all who ask.
func (r *reader[E]) ask(ctx context.Context, from store.Place) (store.Batch, error) {
	return r.reads.ask(ctx, r.base, from, func(ctx context.Context) (rows store.Batch, err error) {
		r.mu.Lock()
		forgets := r.forgets
		r.mu.Unlock()
		err = r.slots.use(ctx, unlimited, func(ctx context.Context) (err error) {
			rows, err = r.journal.Store.Read(ctx, r.journal.DB, from, batchLength, r.journal.Realms())
			return err
		})
		r.keep(from, rows, err, forgets)
		return rows, err
	})
}

// keep remembers what was read after a place.
func (r *reader[E]) keep(from store.Place, rows store.Batch, err error, forgets int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, store.ErrRewound) || errors.Is(err, store.ErrPruned) {
		r.windows = nil
	}
	if err != nil || len(rows.Places) == 0 || forgets != r.forgets {
		return
	}
	r.windows = slices.DeleteFunc(r.windows, func(w *window[E]) bool { return w.from == from })
	i := slices.IndexFunc(r.windows, func(w *window[E]) bool { return w.end() == from && w.bytes < windowBytes })
	if i < 0 {
		r.windows = append(r.windows, &window[E]{from: from})
		if i = len(r.windows) - 1; i == windowsAtOnce { // the one that was used last is last
			r.windows, i = slices.Delete(r.windows, 0, 1), i-1
		}
	}
	w := r.windows[i]
	w.places, w.more, w.read = append(w.places, rows.Places...), rows.More, time.Now()
	for _, c := range sharing[E](rows.Changes) {
		w.bytes += len(c.row.Document) + len(c.row.Comment)
		w.changes = append(w.changes, c)
	}
	if over := len(w.places) - windowLength; over > 0 {
		w.from = w.places[over-1]
		w.places = slices.Clone(w.places[over:])
		w.changes = slices.Clone(w.changes[w.after(w.from.TID):])
	}
}

// forget forgets what was read: it may be of a history that is gone.
func (r *reader[E]) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.windows = nil
	r.forgets++
}

// end returns the place that a window reaches to.
func (w *window[E]) end() store.Place { return w.places[len(w.places)-1] }

// after returns the index of the first change after a tid.
func (w *window[E]) after(tid int64) int {
	i, _ := slices.BinarySearchFunc(w.changes, tid+1, func(c *shared[E], tid int64) int { return cmp.Compare(c.row.TID, tid) })
	return i
}

// known returns what is after a place if that was read a moment ago, and nil if not,
// or if there was nothing.
func (r *reader[E]) known(from store.Place) *window[E] {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, w := range r.windows {
		if time.Since(w.read) > windowLasts {
			continue
		}
		first := 0
		if w.from != from {
			if at, is := slices.BinarySearchFunc(w.places, from.TID, byTID); is && w.places[at] == from {
				first = at + 1
			}
		}
		if w.from != from && first == 0 || first == len(w.places) {
			continue
		}
		r.windows = append(slices.Delete(r.windows, i, i+1), w)
		places, more := w.places[first:], w.more
		if len(places) > batchLength {
			places, more = places[:batchLength], true
		}
		changes := w.changes[w.after(from.TID):w.after(places[len(places)-1].TID)]
		return &window[E]{places: places, changes: changes, more: more}
	}
	return nil
}

func byTID(p store.Place, tid int64) int { return cmp.Compare(p.TID, tid) }

// batch makes a batch of what may belong to others as well.
func (r *reader[E]) batch(w *window[E], trim func(*store.Change)) *batch[E] {
	b := &batch[E]{places: slices.Clone(w.places), more: w.more, changes: make([]change[E], len(w.changes))}
	for i, c := range w.changes {
		one := &b.changes[i]
		one.row = c.row
		if trim != nil {
			trim(&one.row)
			one.event, one.err = r.journal.Decode(one.row)
			continue
		}
		c.once.Do(func() { c.event, c.err = r.journal.Decode(c.row) })
		one.event, one.err = c.event, c.err
	}
	return b
}

func sharing[E any](rows []store.Change) []*shared[E] {
	all := make([]*shared[E], len(rows))
	for i, row := range rows {
		all[i] = &shared[E]{row: row}
	}
	return all
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

// look reads once for all who wait, and wakes those for whom there is something.
func (r *reader[E]) look(ctx context.Context) {
	r.mu.Lock()
	r.kicks++
	r.windows = slices.DeleteFunc(r.windows, func(w *window[E]) bool { return time.Since(w.read) > windowLasts })
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
		for woken, at := range r.waiting {
			if at == p {
				delete(r.waiting, woken)
				close(woken)
			}
		}
		r.mu.Unlock()
	}
}
