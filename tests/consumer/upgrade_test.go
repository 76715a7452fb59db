package consumer_test

import (
	"fmt"
	"log/slog"
	"strings"
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

// TestUpgradeInACluster: an earlier version kept the state of a durable publisher without
// a stream in a slot of its own. Whoever comes after it loses and repeats nothing, and
// leaves its key alone.
func TestUpgradeInACluster(t *testing.T) {
	testkit.NoLeaks(t)
	cluster := testserver.Cluster(t, testserver.ClusterOptions{})
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	defer client.Close()
	owner := cluster.Owner("tracbus").Admin()
	ear := testkit.NewEar(t, owner)
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	var log testkit.LogRecorder
	said := 0
	version := func() {
		publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{Logger: testkit.Quiet})
		defer publisher.Close()
		var all *tracbus.Registration
		d := desk.Seat(t, s, dsn, desk.Config{
			Journal: tracbus.JournalConfig{Logger: slog.New(&log)},
			Before:  func(b *tracbus.Bus) { all = b.All(tracbus.DurableConfig{FromOldest: true}.Durable("redis"), publisher) },
		})
		defer d.Leave(t)
		for range 3 {
			said++
			d.Say(t, fmt.Sprint("n", said), 1)
		}
		require.NoError(t, all.Wait(testkit.Within(t)))
	}
	version()
	keys, err := owner.Keys(t.Context(), "tracbus:{tracbus}:*:redis:place").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	now := keys[0]
	before := "tracbus:{" + strings.Split(now, ":")[2] + ":redis}:place"
	state, err := client.HGetAll(t.Context(), now).Result()
	require.NoError(t, err)
	require.NotEmpty(t, state)
	require.NoError(t, client.HSet(t.Context(), before, state).Err())
	require.NoError(t, client.Del(t.Context(), now).Err())

	version()
	assert.Len(t, log.With("the sink of a consumer was emptied"), 1)
	version()
	assert.Len(t, log.With("the sink of a consumer was emptied"), 1, "that is over")
	left, err := client.HGetAll(t.Context(), before).Result()
	require.NoError(t, err)
	assert.Equal(t, state, left)

	require.NoError(t, owner.Publish(t.Context(), "end", "").Err())
	var heard, want []string
	testkit.Until(t, "the end is heard", func() bool {
		messages := ear.All()
		return len(messages) > 0 && messages[len(messages)-1].Channel == "end"
	})
	for _, m := range ear.All() {
		if event, err := tracbus.Decode("trac", m.Channel, m.Payload); err == nil {
			heard = append(heard, desk.Briefs([]tracbus.Event{event})...)
		}
	}
	for i := range said {
		want = append(want, fmt.Sprint("n", i+1))
	}
	assert.Equal(t, want, heard)
}
