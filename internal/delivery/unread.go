package delivery

import "slices"

// maxHeld bounds the transactions of a run that are held back.
const maxHeld = 1 << 16

// Runs makes one gap of each run of changes that cannot be read, however many batches
// it reaches over: it holds back the end of a batch if that is in a run and there is
// more to read at once. It is for one goroutine.
type Runs[E any] struct {
	// Join returns the event of both gaps, of which b comes after a.
	Join func(a, b E) E

	items  []Item[E] // held back
	places []Place
}

// Take returns what is to be fed now of what was held back and what comes next. more
// says that there is more to read at once.
func (r *Runs[E]) Take(items []Item[E], places []Place, more bool) ([]Item[E], []Place) {
	items, places = r.Collapse(append(r.items, items...)), append(r.places, places...)
	r.items, r.places = nil, nil
	k := len(items)
	for k > 0 && items[k-1].Unread {
		k--
	}
	if !more || k == len(items) || len(places) > maxHeld || k > 0 && items[k-1].TID == items[k].TID {
		return items, places
	}
	p := slices.IndexFunc(places, func(p Place) bool { return p.TID >= items[k].TID })
	r.items, r.places = slices.Clone(items[k:]), slices.Clone(places[p:])
	return items[:k], places[:p]
}

// Forget drops what is held back: listeners get another gap in its place.
func (r *Runs[E]) Forget() { r.items, r.places = nil, nil }

// Collapse makes one item of each run of items that are Unread, but for those that
// this process committed, which have one of their own. It has the place of the first.
func (r *Runs[E]) Collapse(items []Item[E]) []Item[E] {
	all, run := items[:0], 0 // where the run began, in all
	for _, item := range items {
		if !item.Unread {
			all = append(all, item)
			run = len(all)
			continue
		}
		same := slices.IndexFunc(all[run:], func(i Item[E]) bool { return i.Primary == item.Primary })
		if same < 0 {
			all = append(all, item)
		} else {
			all[run+same].Event = r.Join(all[run+same].Event, item.Event)
		}
	}
	return all
}
