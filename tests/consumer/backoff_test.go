package consumer_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestMaxBackoffBoundsTheWholePause: of a durable publisher, whatever Redis answers to its
// script meanwhile, and however long that lasts. What waits is published within one
// MaxBackoff after Redis is back.
func TestMaxBackoffBoundsTheWholePause(t *testing.T) {
	const most = time.Second
	for answer, moments := range map[string]time.Duration{ // within one call
		"-TRYAGAIN Multiple keys request during rehashing of slot\r\n": 100 * time.Millisecond,
		"-ASK 5461 10.0.0.1:1\r\n":                                     0,
		"-CLUSTERDOWN The cluster is down\r\n":                         0,
		"-READONLY You can't write against a read only replica.\r\n":   0,
		"-LOADING Redis is loading the dataset in memory\r\n":          0,
	} {
		name, _, _ := strings.Cut(answer[1:], " ")
		for _, away := range []time.Duration{3 * time.Second, 70 * time.Second} {
			t.Run(name+" for "+away.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := &scriptServer{answer: answer}
					client := redis.NewClient(&redis.Options{Addr: "10.0.0.1:1", Dialer: server.dial, Protocol: 2, DisableIdentity: true})
					defer client.Close()
					publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{MaxBackoff: most, Logger: testkit.Quiet})
					defer publisher.Close()
					s := testdatabase.New(t, "sqlite")
					d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
						Journal: tracbus.JournalConfig{PollInterval: 20 * time.Millisecond},
						Before: func(b *tracbus.Bus) {
							b.All(tracbus.DurableConfig{FromOldest: true, LeaseFor: 20 * time.Second}.Durable("redis"), publisher)
						},
					})
					d.Say(t, "waits", 1)
					<-time.After(away)
					asked := server.calls()
					require.Greater(t, len(asked), int(away/(2*most)))
					for i := 1; i < len(asked); i++ {
						assert.LessOrEqual(t, asked[i].Sub(asked[i-1]), most+moments, "call %d", i)
					}
					back := time.Now()
					published := server.back()
					assert.LessOrEqual(t, (<-published).Sub(back), most+moments)
				})
			})
		}
	}
}
