package consumer

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/recent"
	"github.com/tracbus/tracbus/internal/store"
)

// waiter is somebody who waits at a place.
type waiter struct {
	woken bool
	end   context.CancelFunc
}

func (r *reader[E]) waiter(t *testing.T, at store.Place) *waiter {
	ctx, cancel := context.WithCancel(t.Context())
	w := &waiter{end: cancel}
	heard := r.heard()
	go func() {
		r.await(ctx, at, heard, nil)
		w.woken = ctx.Err() == nil
	}()
	synctest.Wait()
	return w
}

// TestOffer: what the follower has read wakes those who wait where it begins, or in it,
// and is what they read. Who waits elsewhere, or wants the end of it, is not woken.
func TestOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, three := store.Place{TID: 1, CommitID: "a"}, store.Place{TID: 2, CommitID: "b"}, store.Place{TID: 3, CommitID: "c"}
		other := store.Place{TID: 1, CommitID: "x"}
		b := store.Batch{Places: []store.Place{two, three}, Changes: []store.Change{{TID: 2}, {TID: 3}}}
		r := &reader[int]{waiting: map[chan struct{}]store.Place{}}
		beginning, within, elsewhere, end := r.waiter(t, one), r.waiter(t, two), r.waiter(t, other), r.waiter(t, three)
		assert.True(t, r.offer(one, b, r.reading()), "others wait")
		synctest.Wait()
		assert.Equal(t, []bool{true, true, false, false}, []bool{beginning.woken, within.woken, elsewhere.woken, end.woken})
		part, known := r.known(one)
		assert.True(t, known)
		assert.Equal(t, recent.PartOf[int](b).Places, part.Places)
		_, known = r.known(other)
		assert.False(t, known, "it does not follow a place of another history")
		elsewhere.end()
		end.end()
		synctest.Wait()
		assert.Empty(t, r.waiting)
		assert.False(t, r.offer(three, b, r.reading()), "nobody waits")
	})
}

// TestOfferedWhileOlderIsKnown: who gets what was read a moment ago, and has all of that,
// does not wait if more was offered since.
func TestOfferedWhileOlderIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(tid int64) store.Place { return store.Place{TID: tid, CommitID: string(rune('a' + tid))} }
		batch := func(tids ...int64) (b store.Batch) {
			for _, tid := range tids {
				b.Places, b.Changes = append(b.Places, at(tid)), append(b.Changes, store.Change{TID: tid})
			}
			return b
		}
		r := &reader[int]{waiting: map[chan struct{}]store.Place{}, journal: Journal[int]{Decode: func(store.Change) (int, error) { return 0, nil }}}
		r.keep(at(1), batch(2, 3), nil, r.reading(), r.heard()) // by one that was ahead of the follower
		r.offer(at(2), batch(3, 4), r.reading())
		from, last := at(2), int64(0)
		for last < 4 {
			b, err := r.read(t.Context(), from, nil, false)
			assert.NoError(t, err)
			from, last = b.end(), b.end().TID
			woken := false
			ctx, end := context.WithCancel(t.Context())
			go func() {
				r.await(ctx, from, b.heard, nil)
				woken = ctx.Err() == nil
			}()
			synctest.Wait()
			end()
			synctest.Wait()
			if last == 4 {
				assert.False(t, woken, "there is no more")
			} else if !assert.True(t, woken, "4 is known") {
				return
			}
		}
	})
}

// TestOfferOfAHistoryThatIsGone: if a consumer has noticed that the history went back
// since the follower began to read, what that read is not taken, although the consumer
// may be at just the place where it begins.
func TestOfferOfAHistoryThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := store.Place{TID: 1, CommitID: "a"}, store.Place{TID: 2, CommitID: "b"}
		b := store.Batch{Places: []store.Place{two}, Changes: []store.Change{{TID: 2}}}
		r := &reader[int]{waiting: map[chan struct{}]store.Place{}}
		before := r.reading()
		r.forget()
		w := r.waiter(t, one)
		assert.True(t, r.offer(one, b, before), "the journal is to be read for who waits there")
		synctest.Wait()
		assert.False(t, w.woken)
		_, known := r.known(one)
		assert.False(t, known)
		r.offer(one, b, r.reading())
		synctest.Wait()
		assert.True(t, w.woken)
		w.end()
	})
}
