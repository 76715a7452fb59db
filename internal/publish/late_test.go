package publish

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/store"
)

// After the offset was reset, to the very place where a late call of the former
// holder begins, that call publishes nothing: its changes may be of a history that is
// gone, or are already on their way again.
func TestLateCallAfterAReset(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		events, names := transactions(1, 6, 1)
		former := newPublisher(t, r.own, r.publisher.script.config)
		r.mustReset(0)
		require.NoError(t, r.send(0, 4, events[:4]))
		late := r.span(4, 6)
		require.NoError(t, r.reset(4, 1, consumer.Offset{At: at(4)}), "it begins anew")
		for range 2 {
			var e *consumer.Mismatch
			require.ErrorAs(t, former.Send(r.ctx(), late, events[4:]), &e)
			assert.Equal(t, &consumer.Mismatch{Offset: consumer.Offset{Generation: 1}, OtherGeneration: true}, e)
		}
		assert.Equal(t, names[:4], r.heard())
		assert.Equal(t, "4", r.offset()["tid"])
		require.NoError(t, r.send(4, 6, events[4:]))
		assert.Equal(t, names[4:], r.heard())
	})
}

// Redis stands inside a transaction of a history that went back. Whatever the new
// history has in its place, this is noticed before anything is published.
func TestHistoryWithoutTheTransactionThatIsBegun(t *testing.T) {
	other := func(tid int64) store.Place { return store.Place{TID: tid, CommitID: "other"} }
	for _, tc := range []struct {
		name string
		to   store.Place
		next []event // of the new history
	}{
		{name: "another in its place", to: other(2), next: []event{eventAt(other(2), 0)}},
		{name: "one before it", to: other(3), next: []event{eventAt(other(1), 0)}},
		{name: "nothing in its place", to: other(3), next: []event{eventAt(other(3), 0)}},
		{name: "only what is not published", to: other(2)},
		{name: "only what is not published, beyond it", to: other(9)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, r *sendRig) {
				events, names := transactions(2, 2, 600)
				r.mustReset(0)
				(&scriptCounter{before: func(call int) {
					if call == 2 { // it ends within the transaction
						require.NoError(t, r.client.ConfigSet(r.ctx(), "maxmemory", "1").Err())
					}
				}}).count(r.tap)
				require.Error(t, r.send(0, 2, events))
				require.NoError(t, r.client.ConfigSet(r.ctx(), "maxmemory", "0").Err())
				assert.Equal(t, names[:256], r.heard())
				require.Equal(t, at(2).CommitID, r.offset()["next"])

				require.NoError(t, r.send(0, 0, nil), "there is nothing new yet")
				span := r.span(0, 0)
				span.To = tc.to
				for range 2 {
					var e *consumer.Mismatch
					require.ErrorAs(t, r.publisher.Send(r.ctx(), span, tc.next), &e)
					assert.Equal(t, &consumer.Mismatch{Offset: consumer.Offset{At: at(2)}, Inside: true}, e)
				}
				assert.Empty(t, r.heard())
				require.NoError(t, r.reset(0, 1, consumer.Offset{At: at(2)}))
				span.Generation = 1
				require.NoError(t, r.publisher.Send(r.ctx(), span, tc.next))
				assert.Len(t, r.heard(), len(tc.next))
			})
		})
	}
}

// The same history goes on after a transaction of which nothing more is published.
func TestRestOfATransactionThatIsNotPublished(t *testing.T) {
	eachWay(t, func(t *testing.T, r *sendRig) {
		events, names := transactions(1, 2, 300)
		bad := events[260]
		events[260].fails = assert.AnError
		r.mustReset(0)
		require.Error(t, r.send(0, 1, events[:300]))
		assert.Equal(t, names[:260], r.heard())
		events[260] = bad
		for i := 260; i < 300; i++ {
			events[i].unwanted = true
		}
		require.NoError(t, r.send(0, 2, events))
		assert.Equal(t, names[300:], r.heard())
	})
}
