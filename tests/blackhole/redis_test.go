package blackhole_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestBlackHoleRedis has the connections to Redis become black holes.
func TestBlackHoleRedis(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{})
	t.Run("wake", func(t *testing.T) {
		s, proxy, notes := testdatabase.New(t, "sqlite"), testserver.Proxy(t, server.Addr()), testkit.NewNotes()
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Journal: tracbus.JournalConfig{
			Waker: tracbus.NewRedisWaker(testkit.HastyClient(t, proxy.Addr())), Logger: notes.Logger(),
		}})
		d.Say(t, "first", 1)
		proxy.Swallow()
		require.NoError(t, d.Wait(testkit.Within(t), d.Say(t, "second", 1)), "nobody waits for Redis")
		notes.Until(t, "processes do not wake each other: they poll")
	})
	t.Run("subscriber", func(t *testing.T) {
		proxy := testserver.Proxy(t, server.Addr())
		s := tracbus.NewSubscriber(testkit.HastyClient(t, proxy.Addr()), tracbus.SubscriberConfig{PingAfter: 200 * time.Millisecond})
		for e, err := range s.Events(testkit.Within(t), "trac.*") {
			if err == nil {
				assert.IsType(t, tracbus.Resync{}, e)
				proxy.Swallow()
				continue
			}
			assert.ErrorIs(t, err, tracbus.ErrDisconnected)
			break
		}
	})
	t.Run("publisher", func(t *testing.T) {
		proxy := testserver.Proxy(t, server.Addr())
		bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("desk")
		p := tracbus.NewPublisher(testkit.HastyClient(t, proxy.Addr()), tracbus.PublisherConfig{Logger: testkit.Quiet})
		bus.All(tracbus.Everywhere, p)
		require.NoError(t, bus.Notify(desk.Remark(1, "first")))
		require.NoError(t, bus.Wait(testkit.Within(t)))
		proxy.Swallow()
		require.NoError(t, bus.Notify(desk.Remark(1, "second")))
		testkit.Until(t, "the publisher says that Redis is away", func() bool { return p.Stats().Disconnected })
		t.Run("Bus.Close, Registration.Close", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			var undelivered *tracbus.CloseError
			assert.ErrorAs(t, bus.Close(ctx), &undelivered)
		})
		proxy.Resume()
		proxy.Cut()
		require.NoError(t, bus.Close(testkit.Within(t)))
	})
}
