package tracbus_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/stream/streamtest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// streamed is one step of a loop over Stream.
type streamed struct {
	tracbus.StreamEntry
	err error
}

func (s streamed) String() string {
	if s.err != nil {
		return fmt.Sprintf("%s error: %v", s.ID, s.err)
	}
	if e, ok := s.Event.(tracbus.Resync); ok {
		return fmt.Sprintf("%s %s %d..%d", s.ID, e.Reason, e.After, e.Through)
	}
	return s.ID
}

// stream starts a loop over Stream, whose steps a test takes one by one.
func stream(t testing.TB, client redis.UniversalClient, after string) *streamtest.Loop[streamed] {
	t.Helper()
	config := tracbus.SubscriberConfig{MaxBackoff: 20 * time.Millisecond, PingAfter: 100 * time.Millisecond}
	return streamtest.Start(t, func(ctx context.Context) iter.Seq[streamed] {
		return func(yield func(streamed) bool) {
			for e, err := range tracbus.NewSubscriber(client, config).Stream(ctx, streamtest.Key, after) {
				if !yield(streamed{e, err}) {
					return
				}
			}
		}
	})
}

// TestStream: changes, gaps and losses, as a program sees them. What internal/stream
// makes of a stream is tested there.
func TestStream(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	client := testkit.HastyClient(t, server.Addr())
	p := streamtest.NewAppender(t, client)
	p.Add(streamtest.Span(1, 9)...)
	require.NoError(t, client.XDel(t.Context(), streamtest.Key, "5-0", "6-0").Err())

	stream(t, client, "").Says("9-0 subscribed 0..0")
	stream(t, client, "0").Says("0 subscribed 0..0", "1-0", "2-0")
	l := stream(t, client, "3-0")
	first := l.Next()
	require.NoError(t, first.err)
	changed, ok := first.Event.(tracbus.TicketChanged)
	require.True(t, ok, "%v", first)
	assert.EqualValues(t, 4, changed.ID)
	assert.EqualValues(t, 4, changed.TID)
	assert.Equal(t, "m4", changed.CommitID)
	assert.Equal(t, tracbus.Fields{"a": "b"}, changed.New)
	assert.Equal(t, "trac.test.ticket.changed.4", first.Channel)
	assert.NotEmpty(t, first.Payload)

	gap := l.Next()
	assert.Equal(t, "6-0 trimmed 4..6", gap.String())
	about := gap.Event.About()
	assert.WithinDuration(t, time.Now(), about.Time, time.Minute)
	assert.Equal(t, tracbus.AttrAuthor|tracbus.AttrComment|tracbus.AttrOrigin, about.Absent)
	assert.Empty(t, gap.Channel)
	l.Takes(0, 7, 8, 9)

	server.Kill()
	lost := l.Next()
	assert.ErrorIs(t, lost.err, tracbus.ErrDisconnected)
	assert.ErrorContains(t, lost.err, `stream "trac:stream": not connected to Redis: `)
	assert.Equal(t, tracbus.StreamEntry{ID: "9-0"}, lost.StreamEntry)
	server.Restart()
	p.Add(10)
	l.Takes(0, 10)

	p.Begin(1)
	p.Add(11)
	l.Says("10-0 restarted 10..0")
	l.Takes(1, 11)
}

func TestStreamAfterNoID(t *testing.T) {
	c := testkit.HastyClient(t, "127.0.0.1:1")
	for _, after := range []string{"1-", "-", "x", "-5", "-5-0", "$", "1-2-3", "18446744073709551616"} {
		n := 0
		for e, err := range tracbus.NewSubscriber(c, tracbus.SubscriberConfig{}).Stream(t.Context(), streamtest.Key, after) {
			n++
			assert.Zero(t, e)
			assert.EqualError(t, err, fmt.Sprintf(`stream "trac:stream": go on after id %q: expected two numbers of 64 bits, as in 17-0`, after))
		}
		assert.Equal(t, 1, n)
	}
}

// TestStreamYieldsWhatIsNoEvent, with its id, and goes on after it.
func TestStreamYieldsWhatIsNoEvent(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := testkit.PatientClient(t, server.Addr())
	p := streamtest.NewAppender(t, c)
	p.Add(1)
	for _, tid := range []int64{2, 3} { // somebody else's
		require.NoError(t, c.XAdd(t.Context(), &redis.XAddArgs{Stream: streamtest.Key, ID: streamtest.ID(0, tid, 0), Values: []any{"a", "b"}}).Err())
	}
	p.Add(4)
	own := streamtest.Entry(0, 5, 0, p.Last, "m5")
	own.Values.([]any)[1] = "trac.test.milestone.created"
	require.NoError(t, c.XAdd(t.Context(), own).Err())
	p.Last = own.ID
	p.Add(6)
	for _, after := range []string{"0-0", "1-0", "2-0"} {
		l := stream(t, c, after)
		for _, want := range []string{"1-0", "2-0", "3-0", "4-0", "5-0", "6-0"}[streamtest.TID(t, after):] {
			if want == "4-0" && after == "2-0" {
				l.Says("3-0 restarted 2..0") // a place that no publisher knows
			}
			s := l.Next()
			require.Equal(t, want, s.ID, "%v", s)
			bad, ok := errors.AsType[*tracbus.DecodeError](s.err)
			switch want {
			case "2-0", "3-0":
				require.True(t, ok, "%v", s)
				assert.ErrorIs(t, bad, tracbus.ErrStreamEntry)
			case "5-0":
				require.True(t, ok, "%v", s)
				assert.ErrorIs(t, bad, tracbus.ErrUnknownChannel)
				assert.Equal(t, "trac.test.milestone.created", s.Channel)
				assert.Equal(t, s.Payload, bad.Payload)
				assert.NotEmpty(t, s.Payload)
			default:
				require.NoError(t, s.err)
				assert.Equal(t, "m"+s.ID[:1], s.Event.About().CommitID)
			}
		}
		l.Stop()
	}
}

// TestStreamThatIsRefused is said once, and read as soon as it can be.
func TestStreamThatIsRefused(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{Users: []testserver.RedisUser{{Name: "blind", Password: "pw", Rules: "~other +xread +xinfo +info"}}})
	admin := testkit.PatientClient(t, server.Addr())
	for _, protocol := range []int{2, 3} {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "blind", Password: "pw", Protocol: protocol})
		require.NoError(t, admin.FlushAll(t.Context()).Err())
		require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "blind", "resetkeys").Err())
		l := stream(t, client, "")
		s := l.Next()
		assert.ErrorContains(t, s.err, `stream "trac:stream": NOPERM`)
		assert.NotErrorIs(t, s.err, tracbus.ErrDisconnected)
		assert.Empty(t, s.ID)
		require.NoError(t, admin.Set(t.Context(), streamtest.Key, "a text", 0).Err())
		require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "blind", "~trac:*").Err())
		assert.ErrorContains(t, l.Next().err, `stream "trac:stream": WRONGTYPE`)
		require.NoError(t, admin.Del(t.Context(), streamtest.Key).Err())
		l.Says("0-0 subscribed 0..0")
		p := streamtest.NewAppender(t, admin)
		p.Add(1, 2)
		l.Takes(0, 1, 2)
		require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "blind", "-xread").Err())
		testkit.Until(t, "it is said again", func() bool { s = l.Next(); return s.err != nil })
		assert.ErrorContains(t, s.err, "NOPERM")
		assert.Equal(t, "2-0", s.ID)
		p.Add(3)
		require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "blind", "+xread").Err())
		l.Takes(0, 3)
		l.Stop()
		require.NoError(t, client.Close())
	}
}
