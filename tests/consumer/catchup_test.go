package consumer_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestSubscriberAway: a subscriber that was away for 10,000 changes catches up
// without missing any, or any coming twice; one that was away for longer than the
// stream keeps them is told which it missed.
func TestSubscriberAway(t *testing.T) {
	const away, kept = 10_000, 1_000
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	rdb := redis.NewClient(&redis.Options{Addr: testserver.Redis(t, testserver.RedisOptions{}).Addr()})
	defer rdb.Close()
	var all []*tracbus.Registration
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Before: func(b *tracbus.Bus) {
		long := tracbus.NewPublisher(rdb, tracbus.PublisherConfig{StreamKey: "long", Logger: testkit.Quiet})
		short := tracbus.NewPublisher(rdb, tracbus.PublisherConfig{StreamKey: "short", StreamMaxLen: kept, Logger: testkit.Quiet})
		all = append(all, b.All(tracbus.Durable("long"), long), b.All(tracbus.Durable("short"), short))
	}})
	saved := d.Say(t, "handled before", 1)
	var tickets []int64
	for n := range int64(100) {
		tickets = append(tickets, n+1)
	}
	var want []string
	for n := range away / len(tickets) {
		tid := d.Say(t, fmt.Sprint("remark ", n), tickets...)
		for seq, id := range tickets {
			want = append(want, fmt.Sprintf("%d.%d ticket %d", tid, seq, id))
		}
	}
	for _, r := range all {
		require.NoError(t, r.Wait(testkit.Within(t)))
	}
	last := d.Consumer(t, "long").TID

	got, missed := readStream(t, rdb, "long", fmt.Sprintf("%d-0", saved), last)
	assert.Empty(t, missed, "nothing is missing")
	assert.Equal(t, want, got)

	got, missed = readStream(t, rdb, "short", fmt.Sprintf("%d-0", saved), last)
	require.NotEmpty(t, got)
	require.Len(t, missed, 1)
	assert.Equal(t, tracbus.ResyncStreamTrimmed, missed[0].Reason)
	assert.Equal(t, want[len(want)-len(got):], got, "what comes after the gap has none")
	assert.GreaterOrEqual(t, len(got), kept)
	assert.Less(t, len(got), away)
	var firstTID int64
	var firstSeq int
	_, err := fmt.Sscanf(got[0], "%d.%d", &firstTID, &firstSeq)
	require.NoError(t, err)
	if firstSeq == 0 {
		firstTID--
	}
	assert.Equal(t, saved, missed[0].After, "the last that was handled")
	assert.Equal(t, firstTID, missed[0].Through, "the last that is missing")
}

// readStream reads a stream from behind an id up to all of a tid.
func readStream(t *testing.T, rdb *redis.Client, key, after string, last int64) (got []string, missed []tracbus.Resync) {
	t.Helper()
	end, err := rdb.XRevRangeN(testkit.Within(t), key, "+", "-", 1).Result()
	require.NoError(t, err)
	require.Len(t, end, 1)
	ctx, cancel := context.WithCancel(testkit.Within(t))
	defer cancel()
	for entry, err := range tracbus.NewSubscriber(rdb, tracbus.SubscriberConfig{}).Stream(ctx, key, after) {
		require.NoError(t, err)
		if e, ok := entry.Event.(tracbus.Resync); ok {
			missed = append(missed, e)
			continue
		}
		c := entry.Event.About()
		got = append(got, fmt.Sprintf("%d.%d %s", c.TID, c.Seq, entry.Event.Resource()))
		require.LessOrEqual(t, c.TID, last)
		if entry.ID == end[0].ID {
			break
		}
	}
	return got, missed
}
