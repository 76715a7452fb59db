package delivery

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/testkit"
)

// TestLoadedForgets asks in order, and more than once for one tid.
func TestLoadedForgets(t *testing.T) {
	l := &loaded{upTo: 3, later: []int64{5, 7, 8}}
	var has []int64
	for tid := int64(1); tid < 12; tid++ {
		for range 2 {
			if l.has(tid) {
				has = append(has, tid)
			}
		}
	}
	assert.Equal(t, []int64{1, 1, 2, 2, 3, 3, 5, 5, 7, 7, 8, 8}, has)
	assert.Nil(t, l.later)
	assert.True(t, l.has(2))
}

// TestShownIsBounded loads a listener from a snapshot that showed more than a queue
// remembers: it is loaded again where that ends.
func TestShownIsBounded(t *testing.T) {
	const all = MaxShown + 10
	places := make([]Place, all)
	for i := range places {
		places[i] = Place{int64(i + 1), "commit"}
	}
	fed := 0
	loads := make(chan int, 10)
	var q *Queue[int64]
	q = New(t.Context(), Config[int64]{QueueSize: 10, BatchSize: 1, Logger: testkit.Quiet, TID: func(tid int64) int64 { return tid }}, Listener[int64]{
		Wants: func(int64) bool { return false },
		Load: func(context.Context, Gap, *Queue[int64]) error {
			q.BeginLoad()
			assert.True(t, q.Showed(int64(fed), places[fed:]))
			loads <- fed
			return nil
		},
	})
	q.Start()
	q.Attach(0)
	assert.Equal(t, 0, <-loads)
	for fed < MaxShown {
		fed++
		q.Feed(nil, places[fed-1:fed])
	}
	assert.Equal(t, MaxShown, <-loads)
	last, ok := q.Ahead()
	assert.True(t, ok)
	assert.Equal(t, places[all-1], last)
	for fed < all {
		fed++
		q.Feed(nil, places[fed-1:fed])
	}
	_, ok = q.Ahead()
	assert.False(t, ok)
	q.Finish()
	<-q.Done()
	assert.Empty(t, loads)
}

// TestFedWhileASnapshotIsMade compares what comes before it is known what the snapshot
// shows.
func TestFedWhileASnapshotIsMade(t *testing.T) {
	for what, fed := range map[string][]Place{
		"the same":             {{1, "a"}, {2, "b"}},
		"another in its place": {{1, "a"}, {2, "other"}},
		"none in its place":    {{1, "a"}, {3, "c"}},
	} {
		q := New(t.Context(), Config[int64]{QueueSize: 10}, Listener[int64]{})
		q.BeginLoad()
		q.Feed(nil, fed)
		assert.Equal(t, what == "the same", q.Showed(0, []Place{{1, "a"}, {2, "b"}}), what)
	}
}
