package recent_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/recent"
	"github.com/tracbus/tracbus/internal/store"
)

func at(tid int64) store.Place { return store.Place{TID: tid, CommitID: fmt.Sprint("c", tid)} }

// batch has transactions with one change each.
func batch(more bool, tids ...int64) (b store.Batch) {
	for _, tid := range tids {
		b.Places = append(b.Places, at(tid))
		b.Changes = append(b.Changes, store.Change{TID: tid, CommitID: at(tid).CommitID})
	}
	b.More = more
	return b
}

// after returns the tids of what is known after a place.
func after(r *recent.Reads[int64], from store.Place, most int) (places, changes []int64, more bool) {
	p, _ := r.After(from, most)
	for _, place := range p.Places {
		places = append(places, place.TID)
	}
	for _, c := range p.Changes {
		changes = append(changes, c.Row.TID)
	}
	return places, changes, p.More
}

// TestAfter: a reader gets what comes after exactly its place, and nothing if that is
// not known.
func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recent.Reads[int64]
		r.Keep(at(3), batch(false, 5, 7), 0)
		r.Keep(at(7), batch(false, 8), 0)
		r.Keep(at(8), store.Batch{}, 0)
		for _, c := range []struct {
			from store.Place
			want []int64
		}{
			{at(3), []int64{5, 7, 8}},
			{at(5), []int64{7, 8}},
			{at(7), []int64{8}},
			{at(8), nil},                              // there was nothing
			{at(4), nil},                              // nobody has read there
			{store.Place{TID: 5}, nil},                // which 5 is that?
			{store.Place{TID: 5, CommitID: "x"}, nil}, // of another history
			{store.Place{TID: 3, CommitID: "x"}, nil},
		} {
			places, changes, _ := after(&r, c.from, 10)
			assert.Equal(t, c.want, places, "after %v", c.from)
			assert.Equal(t, c.want, changes, "after %v", c.from)
		}
		places, _, more := after(&r, at(3), 2)
		assert.Equal(t, []int64{5, 7}, places)
		assert.True(t, more, "there is more than was wanted")

		time.Sleep(700 * time.Millisecond)
		r.Keep(at(8), batch(true, 9), 0)
		time.Sleep(700 * time.Millisecond)
		places, _, more = after(&r, at(5), 10)
		assert.Equal(t, []int64{7, 8, 9}, places, "what was read later keeps it")
		assert.True(t, more)
		time.Sleep(400 * time.Millisecond)
		places, _, _ = after(&r, at(5), 10)
		assert.Empty(t, places, "it was a moment ago")
		r.Keep(at(9), batch(false, 10), 0)
		r.Forget()
		places, _, _ = after(&r, at(9), 10)
		assert.Empty(t, places)
	})
}

// TestKeepIsBounded: what is kept has an end, whatever comes.
func TestKeepIsBounded(t *testing.T) {
	var r recent.Reads[int64]
	for tid := int64(1); tid <= 10_000; tid++ {
		r.Keep(at(tid-1), batch(false, tid), 0)
	}
	places, _, _ := after(&r, at(9_600), 10_000)
	assert.Len(t, places, 400)
	places, _, _ = after(&r, at(8_900), 10_000)
	assert.Empty(t, places)
	for tid := int64(20_000); tid <= 20_900; tid += 100 {
		r.Keep(at(tid), batch(false, tid+1), 0)
	}
	places, _, _ = after(&r, at(20_000), 10)
	assert.Empty(t, places, "the oldest of many")
	places, _, _ = after(&r, at(20_900), 10)
	assert.Equal(t, []int64{20_901}, places)
}

// TestEventIsMadeOnce: many readers share one event.
func TestEventIsMadeOnce(t *testing.T) {
	var r recent.Reads[int64]
	r.Keep(at(1), batch(false, 2), 0)
	made := 0
	for range 3 {
		p, known := r.After(at(1), 10)
		require.True(t, known)
		e, err := p.Changes[0].Event(func(c store.Change) (int64, error) { made++; return c.TID, nil })
		require.NoError(t, err)
		assert.EqualValues(t, 2, e)
	}
	assert.Equal(t, 1, made)
}
