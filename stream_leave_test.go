package tracbus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

func TestLeavingAStreamLeavesNothing(t *testing.T) {
	// With timeouts as long as these, only the context can end the loop in time.
	patient := func(t *testing.T, addr string) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: time.Hour, WriteTimeout: time.Hour, DialTimeout: time.Hour})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	slow := tracbus.SubscriberConfig{PingAfter: time.Hour, MaxBackoff: time.Hour}
	t.Run("break", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		c := testkit.HastyClient(t, server.Addr())
		newAppender(t, c).add(span(1, 9)...)
		for e, err := range tracbus.NewSubscriber(patient(t, server.Addr()), slow).Stream(t.Context(), streamKey, "3-0") {
			require.NoError(t, err)
			require.Equal(t, "4-0", e.ID)
			break
		}
		testkit.Until(t, "the server has no reader any more", func() bool { return readers(t, c) == 0 })
	})
	t.Run("cancelled while it waits", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		c := testkit.HastyClient(t, server.Addr())
		l := stream(t, patient(t, server.Addr()), slow, "", forever)
		l.says("0-0 subscribed 0..0")
		testkit.Until(t, "the loop waits", func() bool { return readers(t, c) == 1 })
		l.stop()
		testkit.Until(t, "the server has no reader any more", func() bool { return readers(t, c) == 0 })
	})
	t.Run("cancelled in front of a black hole", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		proxy := testserver.Proxy(t, server.Addr())
		l := stream(t, patient(t, proxy.Addr()), slow, "", forever)
		l.says("0-0 subscribed 0..0")
		proxy.Pause()
		l.stop()
	})
	t.Run("cancelled while it connects to a black hole", func(t *testing.T) {
		testkit.NoLeaks(t)
		addr, asked := hole(t)
		l := stream(t, patient(t, addr), slow, "", forever)
		<-asked
		l.stop()
	})
	t.Run("cancelled while nobody is there", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		server.Kill()
		l := stream(t, patient(t, server.Addr()), slow, "7", forever)
		l.lost("7-0")
		l.stop()
	})
	t.Run("cancelled in the middle of what was read", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		c := testkit.HastyClient(t, server.Addr())
		newAppender(t, c).add(span(1, 9)...)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		for range tracbus.NewSubscriber(c, slow).Stream(ctx, streamKey, "0-0") {
			if n++; n == 3 {
				cancel()
			}
		}
		assert.Equal(t, 3, n)
	})
}

func TestStreamBehindNoID(t *testing.T) {
	c := testkit.HastyClient(t, "127.0.0.1:1")
	for _, after := range []string{"1-", "-", "x", "-5", "-5-0", "$", "1-2-3", "18446744073709551616"} {
		n := 0
		for e, err := range tracbus.NewSubscriber(c, tracbus.SubscriberConfig{}).Stream(t.Context(), streamKey, after) {
			n++
			assert.Zero(t, e)
			assert.EqualError(t, err, fmt.Sprintf(`stream "trac:stream": go on behind id %q: expected two numbers of 64 bits, as in 17-0`, after))
		}
		assert.Equal(t, 1, n)
	}
}

// TestStreamYieldsWhatIsNoEvent, with its id, and goes on behind it.
func TestStreamYieldsWhatIsNoEvent(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := testkit.PatientClient(t, server.Addr())
	p := newAppender(t, c)
	p.add(1)
	for _, tid := range []int64{2, 3} { // somebody else's
		require.NoError(t, c.XAdd(t.Context(), &redis.XAddArgs{Stream: streamKey, ID: streamIDOf(0, tid, 0), Values: []any{"a", "b"}}).Err())
	}
	p.add(4)
	own := inStream(0, 5, 0, p.last, "m5")
	own.Values.([]any)[1] = "trac.test.milestone.created"
	require.NoError(t, c.XAdd(t.Context(), own).Err())
	p.last = own.ID
	p.add(6)
	for _, after := range []string{"0-0", "1-0", "2-0"} {
		l := stream(t, c, tracbus.SubscriberConfig{}, after, forever)
		for _, want := range []string{"1-0", "2-0", "3-0", "4-0", "5-0", "6-0"}[tidOf(t, after):] {
			if want == "4-0" && after == "2-0" {
				l.says("3-0 restarted 2..0") // a place that no publisher knows
			}
			s := l.next()
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
		l.stop()
	}
}

// TestStreamThatIsRefused is said once, and read as soon as it can be.
func TestStreamThatIsRefused(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{Users: []testserver.RedisUser{{Name: "blind", Password: "pw", Rules: "~other +xread +xinfo"}}})
	admin := testkit.PatientClient(t, server.Addr())
	for _, protocol := range []int{2, 3} {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "blind", Password: "pw", Protocol: protocol})
		require.NoError(t, admin.FlushAll(t.Context()).Err())
		require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "blind", "resetkeys").Err())
		l := stream(t, client, tracbus.SubscriberConfig{}, "", forever)
		s := l.next()
		assert.ErrorContains(t, s.err, `stream "trac:stream": NOPERM`)
		assert.NotErrorIs(t, s.err, tracbus.ErrDisconnected)
		assert.Empty(t, s.ID)
		require.NoError(t, admin.Set(t.Context(), streamKey, "a text", 0).Err())
		require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "blind", "~trac:*").Err())
		assert.ErrorContains(t, l.next().err, `stream "trac:stream": WRONGTYPE`)
		require.NoError(t, admin.Del(t.Context(), streamKey).Err())
		l.says("0-0 subscribed 0..0")
		p := newAppender(t, admin)
		p.add(1, 2)
		l.takes(0, 1, 2)
		require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "blind", "-xread").Err())
		testkit.Until(t, "it is said again", func() bool { s = l.next(); return s.err != nil })
		assert.ErrorContains(t, s.err, "NOPERM")
		assert.Equal(t, "2-0", s.ID)
		p.add(3)
		require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "blind", "+xread").Err())
		l.takes(0, 3)
		l.stop()
		require.NoError(t, client.Close())
	}
}

// TestStreamOfAnotherDatabase reads where its client does.
func TestStreamOfAnotherDatabase(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := redis.NewClient(&redis.Options{Addr: server.Addr(), DB: 3, PoolSize: 1}) // of which none is taken
	defer c.Close()
	l := stream(t, c, tracbus.SubscriberConfig{}, "", forever)
	l.says("0-0 subscribed 0..0")
	newAppender(t, testkit.PatientClient(t, server.Addr())).add(5)
	newAppender(t, c).add(6)
	l.takes(0, 6)
	l.stop()
}

// TestStreamOfACluster asks the node that has the key.
func TestStreamOfACluster(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--cluster-enabled", "yes"}})
	admin := testkit.PatientClient(t, server.Addr())
	require.NoError(t, admin.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
	testkit.Until(t, "the cluster stands", func() bool { return admin.Get(context.Background(), "x").Err() == redis.Nil })
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}})
	defer c.Close()
	l := stream(t, c, tracbus.SubscriberConfig{}, "", forever)
	l.says("0-0 subscribed 0..0")
	p := newAppender(t, admin)
	p.add(1, 2)
	l.takes(0, 1, 2)
	require.NoError(t, admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err())
	l.lost("2-0")
	p.add(3)
	l.takes(0, 3)
	l.stop()
}
