package consumer_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
)

// TestHalfOfATransactionIsPublished, and then the database is put back to before it.
// The new history has nothing to publish in its place, and yet a new generation begins:
// readers of the stream get a Resync, and the log says so.
func TestHalfOfATransactionIsPublished(t *testing.T) {
	for _, stream := range []string{"", "half"} {
		t.Run("stream: "+stream, func(t *testing.T) {
			testkit.NoLeaks(t)
			k := desk.NewRestorable(t, "sqlite")
			server := testserver.Redis(t, testserver.RedisOptions{})
			rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
			t.Cleanup(func() { _ = rdb.Close() })
			ear := testkit.NewEar(t, testkit.PatientClient(t, server.Addr()))
			held := new(heldUp)
			testkit.NewTap(rdb).Before(held.hold)
			lines := new(testkit.LogRecorder)
			d := desk.Seat(t, k.Server, "", desk.Config{
				DB:      k.Open(t, k.Source),
				Journal: tracbus.JournalConfig{Logger: slog.New(lines)},
				Before: func(b *tracbus.Bus) {
					b.All(tracbus.Durable("redis"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{StreamKey: stream, Logger: testkit.Quiet}))
				},
			})
			k.Add(t, "a1", "a2")
			testkit.Until(t, "all is published", func() bool { return len(ear.All()) == 2 && d.Consumer(t, "redis").TID == 2 })
			restore := k.Backup(t)

			state := func() map[string]string {
				keys, err := rdb.Keys(testkit.Within(t), "tracbus:*place").Result()
				require.NoError(t, err)
				require.Len(t, keys, 1)
				s, err := rdb.HGetAll(testkit.Within(t), keys[0]).Result()
				require.NoError(t, err)
				return s
			}
			held.after.Store(2)
			tickets := make([]int64, 600)
			for i := range tickets {
				tickets[i] = int64(i + 1)
			}
			tid := d.Say(t, "half", tickets...)
			testkit.Until(t, "half of it is published", func() bool { return state()["seq"] == "255" })
			d.Pause(t)
			restore()
			held.after.Store(0)
			for _, e := range []tracbus.Event{tracbus.TicketCommentEdited{ID: 1, OldComment: "not published"}, desk.NewPage("b1")} {
				_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), e) })
				require.NoError(t, err)
			}
			d.Follow()
			testkit.Until(t, "the new page is published", func() bool {
				messages := ear.All()
				return len(messages) > 0 && strings.Contains(messages[len(messages)-1].Payload, `"b1"`)
			})
			assert.Len(t, ear.All(), 2+256+1)
			assert.NotEqual(t, "0", state()["branch"])
			assert.Len(t, lines.With("the sink of a consumer is ahead of the journal, whose history went back: it is reset"), 1)
			if stream == "" {
				return
			}
			var read []string
			for e, err := range tracbus.NewSubscriber(rdb, tracbus.SubscriberConfig{}).Stream(testkit.Within(t), stream, "3-255") {
				require.NoError(t, err)
				if r, ok := e.Event.(tracbus.Resync); ok {
					read = append(read, string(r.Reason))
					continue
				}
				read = append(read, e.Event.Resource().ID)
				break
			}
			assert.Equal(t, int64(3), tid)
			assert.Equal(t, []string{string(tracbus.ResyncStreamReset), "b1"}, read)
		})
	}
}

// heldUp is a process that gets no further than after some calls of the script; zero
// lets all of them pass.
type heldUp struct{ after atomic.Int32 }

func (h *heldUp) hold(commands [][]string) error {
	for _, c := range commands {
		if h.after.Load() != 0 && strings.HasPrefix(c[0], "eval") && h.after.Add(-1) <= 0 {
			h.after.Store(-1)
			return errors.New("held up")
		}
	}
	return nil
}
