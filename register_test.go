package tracbus

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/follow"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
)

// TestRegisteredBetweenFeedAndPlace registers a listener when the bus was fed, and the
// follower has not noted yet how far: the listener has nothing to wait for.
func TestRegisteredBetweenFeedAndPlace(t *testing.T) {
	b := NewBus("test")
	j := &Journal{bus: b, follower: new(follow.Follower)}
	require.NoError(t, b.attach(j, store.Place{TID: 3, CommitID: "three"}))
	journalSink{j}.Feed(nil, []store.Place{{TID: 4, CommitID: "four"}}, false)
	r := On(b, Everywhere, func(context.Context, Event) error { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	require.NoError(t, r.queue.Wait(ctx, 4))
	require.NoError(t, b.Close(ctx))
}
