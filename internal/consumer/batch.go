package consumer

import (
	"context"
	"slices"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// batch is what a session reads at once: whole transactions.
type batch[E any] struct {
	places  []store.Place
	changes []change[E]
	more    bool // there is more to read at once
	heard   int  // how often the journal may have had something new before it was read
}

// change is an event of the journal, or why its row cannot be read.
type change[E any] struct {
	row   store.Change
	event E
	err   error
}

// batchLength is how many transactions are read at once at most.
const batchLength = 512

// read reads after a place; failed says whether the last step has.
func (s *session[E]) read(ctx context.Context, from store.Place, failed bool) (*batch[E], error) {
	return s.keeper.reader.read(ctx, from, s.trim, failed)
}

// end returns the place that the batch reaches to.
func (b *batch[E]) end() store.Place { return b.places[len(b.places)-1] }

// through returns the cursor after a change.
func (b *batch[E]) through(i int) progress.Cursor {
	row := b.changes[i].row
	c := progress.Cursor{Place: store.Place{TID: row.TID, CommitID: row.CommitID}}
	if i+1 < len(b.changes) && b.changes[i+1].row.TID == row.TID {
		c.Seq, c.Partial = row.Seq, true
	}
	return c
}

// before returns the transactions before a tid.
func (b *batch[E]) before(tid int64) *batch[E] {
	places := slices.IndexFunc(b.places, func(p store.Place) bool { return p.TID >= tid })
	changes := slices.IndexFunc(b.changes, func(c change[E]) bool { return c.row.TID >= tid })
	return &batch[E]{places: b.places[:places], changes: b.changes[:changes]}
}

// dropThrough drops what the listener has handled of the first transaction.
func (b *batch[E]) dropThrough(c progress.Cursor) {
	for len(b.changes) > 0 && b.changes[0].row.TID == c.TID && b.changes[0].row.Seq <= c.Seq {
		b.changes = b.changes[1:]
	}
}

// prefetch reads the next batch while one is delivered.
type prefetch[E any] struct {
	from   store.Place
	cancel context.CancelFunc
	result chan fetched[E] // nil if nothing is read ahead
}

type fetched[E any] struct {
	batch *batch[E]
	err   error
}

// start begins to read after a place.
func (p *prefetch[E]) start(s *session[E], from store.Place) {
	p.stop()
	ctx, cancel := context.WithCancel(s.lease.ctx)
	result := make(chan fetched[E], 1)
	p.from, p.cancel, p.result = from, cancel, result
	failed := s.failures > 0 // the session goes on meanwhile
	go func() {
		b, err := s.read(ctx, from, failed)
		result <- fetched[E]{b, err}
	}()
}

// take returns what is after a place.
func (p *prefetch[E]) take(s *session[E], from store.Place) (*batch[E], error) {
	if p.result == nil || p.from != from {
		p.stop()
		return s.read(s.lease.ctx, from, s.failures > 0)
	}
	defer p.cancel()
	got := <-p.result
	p.result = nil
	return got.batch, got.err
}

// stop waits until nothing is read any more.
func (p *prefetch[E]) stop() {
	if p.result != nil {
		p.cancel()
		<-p.result
		p.result = nil
	}
}
