// Package recent keeps what was read of a journal a moment ago, for others who want to
// read the same. Its secret is which parts of it a reader gets who is at a place.
package recent

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// Reads are parts of a journal that were read. The zero value has none. Its methods may
// not be called concurrently.
type Reads[E any] struct {
	list []*read[E] // the one that was used last is last
}

// read is what comes after a place.
type read[E any] struct {
	from store.Place
	Part[E]
	bytes int
	at    time.Time // when its end was read
}

// Part is what a reader gets, which others may have got too.
type Part[E any] struct {
	Places  []store.Place
	Changes []*Change[E]
	More    bool // there was more to read at once
	Heard   int  // as of the last read of it, see Keep
}

// Change is a change whose event is made once for all.
type Change[E any] struct {
	Row   store.Change
	once  sync.Once
	event E
	err   error
}

// Event returns the event of the change, which decode makes of its row.
func (c *Change[E]) Event(decode func(store.Change) (E, error)) (E, error) {
	c.once.Do(func() { c.event, c.err = decode(c.Row) })
	return c.event, c.err
}

const (
	readsAtOnce = 4       // there are as many
	longest     = 1 << 9  // transactions that one keeps, and twice that at most
	largest     = 8 << 20 // bytes after which nothing is added to one
	lasts       = time.Second
)

// PartOf returns all of what was read.
func PartOf[E any](b store.Batch) Part[E] {
	p := Part[E]{Places: b.Places, Changes: make([]*Change[E], len(b.Changes)), More: b.More}
	for i, row := range b.Changes {
		p.Changes[i] = &Change[E]{Row: row}
	}
	return p
}

// Keep remembers what was read after a place. heard is how often the caller had heard of news
// before that was read.
func (r *Reads[E]) Keep(from store.Place, b store.Batch, heard int) {
	if len(b.Places) == 0 {
		return
	}
	r.list = slices.DeleteFunc(r.list, func(w *read[E]) bool { return w.from == from })
	i := slices.IndexFunc(r.list, func(w *read[E]) bool { return w.end() == from && w.bytes < largest })
	if i < 0 {
		r.list = append(r.list, &read[E]{from: from})
		if i = len(r.list) - 1; i == readsAtOnce {
			r.list, i = slices.Delete(r.list, 0, 1), i-1
		}
	}
	w, next := r.list[i], PartOf[E](b)
	w.Places, w.Changes = append(w.Places, next.Places...), append(w.Changes, next.Changes...)
	w.More, w.Heard, w.at = next.More, heard, time.Now()
	for _, c := range b.Changes {
		w.bytes += len(c.Document) + len(c.Comment)
	}
	if over := len(w.Places) - longest; over > longest { // not each time
		w.from = w.Places[over-1]
		w.Places = slices.Clone(w.Places[over:])
		w.Changes = slices.Clone(w.Changes[w.after(w.from.TID):])
	}
}

// After returns up to so many transactions after a place, if that was read a moment ago,
// and false if it was not, or if there was nothing.
func (r *Reads[E]) After(from store.Place, most int) (p Part[E], known bool) {
	for i, w := range r.list {
		if time.Since(w.at) > lasts {
			continue
		}
		first := 0
		if w.from != from {
			if at, is := slices.BinarySearchFunc(w.Places, from.TID, byTID); is && w.Places[at] == from {
				first = at + 1
			}
		}
		if w.from != from && first == 0 || first == len(w.Places) {
			continue
		}
		r.list = append(slices.Delete(r.list, i, i+1), w)
		p = Part[E]{Places: w.Places[first:], More: w.More, Heard: w.Heard}
		if len(p.Places) > most {
			p.Places, p.More = p.Places[:most], true
		}
		p.Changes = w.Changes[w.after(from.TID):w.after(p.Places[len(p.Places)-1].TID)]
		return p, true
	}
	return p, false
}

// Expire drops what was not read a moment ago.
func (r *Reads[E]) Expire() {
	r.list = slices.DeleteFunc(r.list, func(w *read[E]) bool { return time.Since(w.at) > lasts })
}

// Forget drops all.
func (r *Reads[E]) Forget() { r.list = nil }

// end returns the place that it reaches to.
func (w *read[E]) end() store.Place { return w.Places[len(w.Places)-1] }

// after returns the index of the first change after a tid.
func (w *read[E]) after(tid int64) int {
	i, _ := slices.BinarySearchFunc(w.Changes, tid+1, func(c *Change[E], tid int64) int { return cmp.Compare(c.Row.TID, tid) })
	return i
}

func byTID(p store.Place, tid int64) int { return cmp.Compare(p.TID, tid) }
