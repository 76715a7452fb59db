package tracbus

import (
	"context"
	"slices"

	"github.com/tracbus/tracbus/internal/store"
)

// portion is what a relay reads at once: whole transactions.
type portion struct {
	places  []store.Place
	changes []change
	more    bool // there is more to read at once
}

// change is an event of the journal, or why its row cannot be read.
type change struct {
	row   store.Change
	event Event
	err   error
}

// portionLength is how many transactions are read at once at most.
const portionLength = 1024

// portion reads behind a place.
func (h *holder) portion(ctx context.Context, from store.Place) (*portion, error) {
	batch, err := h.store.Read(ctx, h.db, from, portionLength, h.realmNames())
	if err != nil {
		return nil, err
	}
	p := &portion{places: batch.Places, more: batch.More, changes: make([]change, 0, len(batch.Changes))}
	skims := h.skims()
	for _, row := range batch.Changes {
		if skims && row.Realm == string(RealmTicket) && row.Kind == string(KindChanged) && row.Damage == nil {
			row.State = "{}"
		}
		c := change{row: row}
		c.event, c.err = h.eventOf(row)
		p.changes = append(p.changes, c)
	}
	return p, nil
}

// A skimmer is a listener that may have no use for those fields of a changed
// ticket that did not change: they are most of what there is to read of it.
type skimmer interface{ skims() bool }

// skims says whether the listener is one, and the realm of tickets lets it.
func (h *holder) skims() bool {
	_, skips := h.realm(RealmTicket).(interface{ skipsUnchanged() })
	return skips && h.duty.skimmer != nil && h.duty.skimmer.skims()
}

// end returns the place that the portion reaches to.
func (p *portion) end() store.Place { return p.places[len(p.places)-1] }

// upTo returns the place behind a change.
func (p *portion) upTo(i int) store.Cursor {
	row := p.changes[i].row
	c := store.Cursor{Place: store.Place{TID: row.TID, CommitID: row.CommitID}}
	if i+1 < len(p.changes) && p.changes[i+1].row.TID == row.TID {
		c.Seq, c.Partial = row.Seq, true
	}
	return c
}

// until returns the transactions before a tid.
func (b *portion) until(tid int64) *portion {
	places := slices.IndexFunc(b.places, func(p store.Place) bool { return p.TID >= tid })
	changes := slices.IndexFunc(b.changes, func(c change) bool { return c.row.TID >= tid })
	return &portion{places: b.places[:places], changes: b.changes[:changes]}
}

// dropUpTo drops what was told of the first transaction.
func (p *portion) dropUpTo(c store.Cursor) {
	for len(p.changes) > 0 && p.changes[0].row.TID == c.TID && p.changes[0].row.Seq <= c.Seq {
		p.changes = p.changes[1:]
	}
}

type readAhead struct {
	portion *portion
	err     error
}

// reading reads the next portion while one is told.
type reading struct {
	from   store.Place
	cancel context.CancelFunc
	result chan readAhead // nil if nothing is read ahead
}

// ahead begins to read behind a place.
func (r *reading) ahead(h *holder, from store.Place) {
	r.stop()
	ctx, cancel := context.WithCancel(h.lease.ctx)
	result := make(chan readAhead, 1)
	r.from, r.cancel, r.result = from, cancel, result
	go func() {
		p, err := h.portion(ctx, from)
		result <- readAhead{p, err}
	}()
}

// take returns what is behind a place.
func (r *reading) take(h *holder, from store.Place) (*portion, error) {
	if r.result == nil || r.from != from {
		r.stop()
		return h.portion(h.lease.ctx, from)
	}
	defer r.cancel()
	got := <-r.result
	r.result = nil
	return got.portion, got.err
}

// stop waits until nothing is read any more.
func (r *reading) stop() {
	if r.result != nil {
		r.cancel()
		<-r.result
		r.result = nil
	}
}
