package tracbus

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/follow"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
)

// mutes is a realm of tickets that makes no event.
type mutes struct {
	Tickets
	t *testing.T
}

func (m mutes) Event(Entry) (Event, error) {
	m.t.Error("nobody needs an event")
	return nil, nil
}

// TestNobodyListens: a process without listeners makes no events of what it follows. One
// that is registered later gets what comes then.
func TestNobodyListens(t *testing.T) {
	row, err := rowOf(TicketChanged{ID: 1, Change: Change{TID: 4, Author: "joe"}, New: Fields{"a": "1"}, Old: Fields{"a": ""}}.Entry())
	require.NoError(t, err)
	b := NewBus("test")
	j := &Journal{bus: b, follower: new(follow.Follower), realms: []JournalRealm{mutes{t: t}}, keeper: consumer.NewKeeper(consumer.Journal[Event]{}, "", 0)}
	require.NoError(t, b.attach(j, store.Place{TID: 3, CommitID: "three"}))
	journalSink{j}.Feed(store.Place{TID: 3, CommitID: "three"}, store.Batch{Changes: []store.Change{row}, Places: []store.Place{{TID: 4, CommitID: "four"}}}, 0)

	j.realms = []JournalRealm{Tickets{}}
	got := make(chan TicketChanged, 2)
	On(b, Everywhere, func(_ context.Context, e TicketChanged) error { got <- e; return nil })
	row.TID = 5
	journalSink{j}.Feed(store.Place{TID: 4, CommitID: "four"}, store.Batch{Changes: []store.Change{row}, Places: []store.Place{{TID: 5, CommitID: "five"}}}, 0)
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	require.NoError(t, b.Close(ctx))
	require.Len(t, got, 1)
	require.Equal(t, int64(5), (<-got).TID)
}

// TestRegisteredBetweenFeedAndPlace registers a listener when the bus was fed, and the
// follower has not noted yet how far: the listener has nothing to wait for.
func TestRegisteredBetweenFeedAndPlace(t *testing.T) {
	b := NewBus("test")
	j := &Journal{bus: b, follower: new(follow.Follower), keeper: consumer.NewKeeper(consumer.Journal[Event]{}, "", 0)}
	require.NoError(t, b.attach(j, store.Place{TID: 3, CommitID: "three"}))
	journalSink{j}.Feed(store.Place{TID: 3, CommitID: "three"}, store.Batch{Places: []store.Place{{TID: 4, CommitID: "four"}}}, 0)
	r := On(b, Everywhere, func(context.Context, Event) error { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	require.NoError(t, r.queue.Wait(ctx, 4))
	require.NoError(t, b.Close(ctx))
}
