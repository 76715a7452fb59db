package delivery

import (
	"context"
	"errors"
	"fmt"
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

// TestRewoundWhileABatchIsDelivered puts a database back while a listener is loaded, for
// which a batch is queued already: what is left of that is of a history that is gone.
func TestRewoundWhileABatchIsDelivered(t *testing.T) {
	for _, batch := range []bool{false, true} {
		for _, asked := range []bool{false, true} { // for the load, by the listener, or a gap came with the batch
			if batch && asked {
				continue // nothing is left of it
			}
			t.Run(fmt.Sprintf("in one call %v, asked for %v", batch, asked), func(t *testing.T) {
				errLoad := errors.New("load again")
				var told []int64
				loads, rewound := make(chan bool, 10), false
				var q *Queue[int64]
				deliver := func(_ context.Context, all []int64) error {
					told = append(told, all...)
					if all[0] == 103 {
						return errLoad
					}
					return nil
				}
				l := Listener[int64]{
					Wants:     func(int64) bool { return true },
					Deliver:   func(ctx context.Context, e int64) error { return deliver(ctx, []int64{e}) },
					NeedsLoad: func(err error) bool { return errors.Is(err, errLoad) },
					Load: func(context.Context, Gap, *Queue[int64]) error {
						if !rewound && (!asked || len(told) > 0) {
							rewound = true
							q.Rewind(2, nil)
						}
						q.BeginLoad()
						var later []Place
						if rewound {
							later = []Place{{3, "new"}}
						}
						assert.True(t, q.Showed(2, later))
						loads <- rewound
						return nil
					},
				}
				if batch {
					l.Batch = deliver
				}
				q = New(t.Context(), Config[int64]{
					QueueSize: 10, BatchSize: 10, Logger: testkit.Quiet,
					TID: func(e int64) int64 { return e % 100 }, Gap: func(int64) *Gap { return nil },
				}, l)
				q.Attach(2)
				if asked {
					q.Start()
					assert.False(t, <-loads)
				}
				q.Feed([]Item[int64]{{TID: 3, Event: 103}, {TID: 4, Event: 104}, {TID: 5, Event: 105}}, []Place{{3, "old"}, {4, "old"}, {5, "old"}})
				if !asked {
					q.Start()
				}
				assert.True(t, <-loads)
				assert.True(t, <-loads, "for the gap of the rewind")
				q.Feed([]Item[int64]{{TID: 3, Event: 203}, {TID: 4, Event: 204}}, []Place{{3, "new"}, {4, "new"}})
				q.Finish()
				<-q.Done()
				if want := []int64{204}; asked {
					assert.Equal(t, append([]int64{103}, want...), told)
				} else {
					assert.Equal(t, want, told)
				}
			})
		}
	}
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
