package publish

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/redisconn/guard"
	"github.com/tracbus/tracbus/internal/stream"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// What the library publishes at most is what Redis takes as it is installed, and what
// subscribers read: their bound is the same.
func TestLargestMessageIsRedis(t *testing.T) {
	client := testkit.PatientClient(t, testserver.Redis(t, testserver.RedisOptions{}).Addr())
	for setting, want := range map[string]int{"proto-max-bulk-len": guard.MaxString, "client-query-buffer-limit": guard.MaxCommand} {
		got, err := client.ConfigGet(t.Context(), setting).Result()
		require.NoError(t, err)
		assert.Equal(t, strconv.Itoa(want), got[setting], setting)
	}
	assert.Equal(t, guard.Own().Bulk, maxMessage)
	assert.GreaterOrEqual(t, guard.Own().Answer, guard.MaxCommand)
}

// A message that is longer than the texts of a page on MySQL become, with all their bytes
// escaped, is published and read from the stream.
func TestLargeMessageIsRead(t *testing.T) {
	if testing.Short() {
		testkit.Skip(t, "it needs a gigabyte of memory")
	}
	const size = 2 * 6 << 24
	client := testkit.PatientClient(t, testserver.Redis(t, testserver.RedisOptions{}).Addr())
	p := newPublisher(t, client, Config{StreamKey: "changes"})
	span := consumer.Span{Journal: "uuid", Consumer: "redis", Reset: &consumer.Reset{Expect: consumer.Offset{Empty: true, Generation: -1}}}
	require.NoError(t, p.Send(testkit.Within(t), span, nil))
	e := eventAt(at(1), 0)
	e.payload = strings.Repeat("\x01", size) // what it says is not looked at
	span = consumer.Span{Journal: "uuid", Consumer: "redis", To: at(1)}
	require.NoError(t, p.Send(testkit.Within(t), span, []event{e}))

	items, err := stream.Read(testkit.Within(t), client, stream.Config{
		Key: "changes", PingAfter: testkit.Patience, MaxBackoff: time.Second,
	}, "0-0")
	require.NoError(t, err)
	for item := range items {
		require.NoError(t, item.Err)
		assert.Len(t, item.Fields["payload"], size)
		break
	}
}

// A message that is too long for Redis and for subscribers is not sent.
func TestMessageBeyondTheBound(t *testing.T) {
	long := eventAt(at(2), 0)
	long.payload = strings.Repeat("x", 1000)
	events := []event{eventAt(at(1), 0), long, eventAt(at(3), 0)}
	eachWay(t, func(t *testing.T, r *sendRig) {
		r.publisher.script.longest = 1000
		r.mustReset(0)
		err := r.send(0, 3, events)
		assert.ErrorContains(t, err, "tid 2, seq 0 on trac.test.ticket.changed.2-0: a message of 1028 bytes: expected 1000 at most")
		assert.Equal(t, []string{"1-0"}, r.heard(), "what is before it")
		r.publisher.script.longest = maxMessage
		require.NoError(t, r.send(0, 3, events))
		assert.Equal(t, []string{"2-0", "3-0"}, r.heard())
	})
	t.Run("pipeline", func(t *testing.T) {
		r := newSendRig(t, Config{}, testserver.RedisOptions{}, &redis.Options{})
		r.publisher.pipeline.longest = 1000
		require.NoError(t, r.publisher.Publish(r.ctx(), events))
		assert.Equal(t, []string{"1-0", "3-0"}, r.heard())
		assert.EqualValues(t, 1, r.publisher.Stats().Rejected)
		assert.ErrorContains(t, r.publisher.Stats().LastError, "a message of 1028 bytes: expected 1000 at most")
	})
}
