package realms_test

import (
	"context"
	"errors"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/trac/realms"
)

// TestPublished: events of these realms are published if they are asked for, but for
// realms that are left out; and a subscriber reads them.
func TestPublished(t *testing.T) {
	last := tracbus.TicketDeleted{ID: 17} // is always published
	for name, test := range map[string]struct {
		config tracbus.PublisherConfig
		want   func(tracbus.Event) bool
	}{
		"not asked for": {tracbus.PublisherConfig{}, func(tracbus.Event) bool { return false }},
		"all":           {tracbus.PublisherConfig{ExtraEvents: true}, func(tracbus.Event) bool { return true }},
		"some": {
			tracbus.PublisherConfig{ExtraEvents: true, SkipRealms: []tracbus.Realm{realms.RealmMilestone, realms.RealmAttachment}},
			func(e tracbus.Event) bool {
				return e.Resource().Realm == realms.RealmComponent || e.Resource().Realm == realms.RealmVersion
			},
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
		defer cancel()
		server := miniredis.RunT(t)
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer client.Close()
		bus := tracbus.NewBus("myenv")
		publisher := tracbus.NewPublisher(client, test.config)
		bus.All(tracbus.Everywhere, publisher)

		var want, got []tracbus.Event
		for event, err := range tracbus.NewSubscriber(client, tracbus.SubscriberConfig{}).Events(ctx, "trac.*") {
			if bad, ok := errors.AsType[*tracbus.DecodeError](err); ok {
				event, err = realms.Decode("trac", bad.Channel, bad.Payload)
			}
			require.NoError(t, err, name)
			if _, subscribed := event.(tracbus.Resync); subscribed {
				for _, e := range oneOfEach() {
					require.NoError(t, bus.Notify(e))
					if test.want(e) {
						want = append(want, carried(e))
					}
				}
				require.NoError(t, bus.Notify(last))
				continue
			}
			if event.Resource() == last.Resource() {
				break
			}
			got = append(got, event)
		}
		require.NoError(t, bus.Close(ctx))
		assert.Equal(t, want, got, name)
		assert.Equal(t, uint64(len(want)+1), publisher.Stats().Published, name)
	}
}
