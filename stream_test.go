package tracbus_test

import (
	"context"
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

// forever is a time in which a stream that fell back is not given up.
const forever = time.Hour

func TestStreamFromNowFromTheBeginningAndBehindAnEntry(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := testkit.PatientClient(t, server.Addr())
	publisher := newAppender(t, c)

	early := stream(t, c, tracbus.SubscriberConfig{}, "", forever)
	early.says("0-0 subscribed 0..0")
	oldest := stream(t, c, tracbus.SubscriberConfig{}, "0", forever)
	oldest.says("0-0 subscribed 0..0") // there is nothing in front
	publisher.add(span(1, 600)...)
	for _, l := range []*streaming{early, oldest} {
		l.takes(0, span(1, 600)...)
	}
	oldest.stop()

	now := stream(t, c, tracbus.SubscriberConfig{}, "", forever)
	now.says("600-0 subscribed 0..0")
	all := stream(t, c, tracbus.SubscriberConfig{}, "0", forever)
	all.says("0 subscribed 0..0")
	all.takes(0, span(1, 600)...)
	behind := stream(t, c, tracbus.SubscriberConfig{}, "400-0", forever)
	behind.takes(0, span(401, 600)...)
	begun := stream(t, c, tracbus.SubscriberConfig{}, "0-0", forever)
	begun.takes(0, span(1, 600)...)

	publisher.add(700)
	for _, l := range []*streaming{early, now, all, behind, begun} {
		l.takes(0, 700)
	}
}

// TestStreamGaps: what a subscriber that was away is told of what it missed.
func TestStreamGaps(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fill  func(t *testing.T, c *redis.Client, p *appender)
		after string
		want  []string
	}{
		{"nothing is missing, but the entry itself",
			func(t *testing.T, c *redis.Client, p *appender) { p.add(span(1, 9)...); trim(t, c, "8") }, "7-0",
			[]string{"8-0", "9-0"}},
		{"some were trimmed",
			func(t *testing.T, c *redis.Client, p *appender) { p.add(span(1, 9)...); trim(t, c, "8") }, "4-0",
			[]string{"7-0 trimmed 4..7", "8-0", "9-0"}},
		{"to go on where that was told is no gap",
			func(t *testing.T, c *redis.Client, p *appender) { p.add(span(1, 9)...); trim(t, c, "8") }, "0-0",
			[]string{"7-0 trimmed 0..7", "8-0", "9-0"}},
		{"all were trimmed",
			func(t *testing.T, c *redis.Client, p *appender) { p.add(span(1, 9)...); trim(t, c, "100"); p.add(10) }, "4-0",
			[]string{"9-0 trimmed 4..9", "10-0"}},
		{"deleted, and the publisher goes on",
			func(t *testing.T, c *redis.Client, p *appender) {
				p.add(span(1, 9)...)
				require.NoError(t, c.Del(t.Context(), streamKey).Err())
				p.add(10)
			}, "9-0", []string{"10-0"}},
		{"in the middle",
			func(t *testing.T, c *redis.Client, p *appender) {
				p.add(span(1, 9)...)
				require.NoError(t, c.XDel(t.Context(), streamKey, "5-0", "6-0").Err())
			}, "3-0", []string{"4-0", "6-0 trimmed 4..6", "7-0", "8-0", "9-0"}},
		{"a new branch behind the old one",
			func(t *testing.T, c *redis.Client, p *appender) { p.add(1, 2, 3); p.begin(1); p.add(2, 3) }, "2-0",
			[]string{"3-0", "3-0 restarted 3..0", streamIDOf(1, 2, 0), streamIDOf(1, 3, 0)}},
		{"a new branch alone",
			func(t *testing.T, c *redis.Client, p *appender) { p.begin(1); p.add(4, 5) }, "2-0",
			[]string{"2-0 restarted 2..0", streamIDOf(1, 4, 0), streamIDOf(1, 5, 0)}},
		{"a new branch, of which the first are trimmed",
			func(t *testing.T, c *redis.Client, p *appender) {
				p.begin(1)
				p.add(4, 5, 6)
				trim(t, c, streamIDOf(1, 6, 0))
			}, "2-0",
			[]string{streamIDOf(1, 5, 0) + " restarted 2..5", streamIDOf(1, 6, 0)}},
		{"the second branch after the same",
			func(t *testing.T, c *redis.Client, p *appender) { p.begin(1); p.add(4, 5); p.begin(2); p.add(1) }, streamIDOf(1, 4, 0),
			[]string{streamIDOf(1, 5, 0), streamIDOf(1, 5, 0) + " restarted 5..0", streamIDOf(2, 1, 0)}},
		{"other content at lower ids",
			func(t *testing.T, c *redis.Client, p *appender) { p.add(1, 2, 3, 7) }, "5-0",
			[]string{"0 restarted 5..0", "1-0", "2-0", "3-0", "7-0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			server := testserver.Redis(t, testserver.RedisOptions{})
			c := testkit.PatientClient(t, server.Addr())
			tc.fill(t, c, newAppender(t, c))
			stream(t, c, tracbus.SubscriberConfig{}, tc.after, forever).says(tc.want...)
		})
	}
}

// trim takes the entries below an id away.
func trim(t *testing.T, c *redis.Client, id string) {
	t.Helper()
	require.NoError(t, c.XTrimMinID(t.Context(), streamKey, id).Err())
}

// TestStreamThatFellBack: Redis lost what it had last, while it was read or while
// nobody did.
func TestStreamThatFellBack(t *testing.T) {
	begin := func(t *testing.T, refill time.Duration) (*redis.Client, *appender, *streaming) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		c := testkit.PatientClient(t, server.Addr())
		p := newAppender(t, c)
		p.proxy = testserver.Proxy(t, server.Addr())
		p.add(span(1, 9)...)
		l := stream(t, testkit.HastyClient(t, p.proxy.Addr()), tracbus.SubscriberConfig{PingAfter: 20 * time.Millisecond}, "7-0", refill)
		l.takes(0, 8, 9)
		return c, p, l
	}
	// fall makes the stream what it was when tid was the last.
	fall := func(t *testing.T, c *redis.Client, p *appender, tid int64) {
		_, err := c.TxPipelined(t.Context(), func(pipe redis.Pipeliner) error {
			pipe.Del(t.Context(), streamKey)
			last := "0-0"
			for tid := range tid {
				args := inStream(0, tid+1, 0, last, fmt.Sprint("m", tid+1))
				pipe.XAdd(t.Context(), args)
				last = args.ID
			}
			p.last = last
			return nil
		})
		require.NoError(t, err)
	}
	t.Run("and is filled again", func(t *testing.T) {
		c, p, l := begin(t, forever)
		fall(t, c, p, 6)
		looks(t, c, 3)
		p.add(span(7, 12)...)
		l.takes(0, 10, 11, 12)
		p.add(13)
		l.takes(0, 13)
	})
	t.Run("and is filled with something else", func(t *testing.T) {
		c, p, l := begin(t, forever)
		fall(t, c, p, 6)
		looks(t, c, 3)
		p.mark = "other"
		p.add(span(7, 12)...)
		l.says("6-0 restarted 9..0")
		l.takes(0, span(7, 12)...)
	})
	t.Run("and is filled with something else while nobody reads", func(t *testing.T) {
		c, p, l := begin(t, forever)
		p.proxy.Refuse()
		p.proxy.Cut()
		l.lost("9-0")
		fall(t, c, p, 6)
		p.mark = "other"
		p.add(span(7, 12)...)
		p.proxy.Accept()
		l.says("0 restarted 9..0")
		l.takes(0, span(1, 12)...)
		p.add(13)
		l.takes(0, 13)
	})
	t.Run("and is filled again while nobody reads", func(t *testing.T) {
		c, p, l := begin(t, forever)
		p.proxy.Refuse()
		p.proxy.Cut()
		l.lost("9-0")
		fall(t, c, p, 6)
		p.add(span(7, 12)...)
		p.proxy.Accept()
		l.takes(0, 10, 11, 12)
	})
	t.Run("and stays there", func(t *testing.T) {
		c, p, l := begin(t, 200*time.Millisecond)
		fall(t, c, p, 6)
		l.says("6-0 restarted 9..0")
		p.add(7, 8)
		l.takes(0, 7, 8)
	})
	t.Run("and comes on, but too slowly", func(t *testing.T) {
		c, p, l := begin(t, 300*time.Millisecond)
		fall(t, c, p, 6)
		looks(t, c, 3)
		p.add(7) // before the loop gives up
		l.says("6-0 restarted 9..0")
		l.takes(0, 7)
	})
	t.Run("and is gone, while the publisher goes on", func(t *testing.T) {
		c, p, l := begin(t, 100*time.Millisecond)
		require.NoError(t, c.Del(t.Context(), streamKey).Err())
		l.says("0-0 restarted 9..0")
		p.add(10)
		l.takes(0, 10)
	})
	t.Run("and is gone, and begun anew", func(t *testing.T) {
		c, p, l := begin(t, forever)
		require.NoError(t, c.FlushAll(t.Context()).Err())
		looks(t, c, 3)
		p.begin(1)
		p.add(10)
		l.says("9-0 restarted 9..0")
		l.takes(1, 10)
	})
	t.Run("into another branch", func(t *testing.T) {
		c, p, l := begin(t, 100*time.Millisecond)
		p.begin(3)
		p.add(10, 11)
		l.says("9-0 restarted 9..0")
		l.takes(3, 10, 11)
		fall(t, c, p, 6)
		l.says("0 restarted 11..0")
		l.takes(0, span(1, 6)...)
		p.branch = 0
		p.add(7)
		l.takes(0, 7)
	})
}

// looks waits until the loop has looked n times whether the stream fell back.
func looks(t *testing.T, c *redis.Client, n int) {
	t.Helper()
	first := commands(t, c, "xinfo")
	testkit.Until(t, "the loop looks at the stream", func() bool { return commands(t, c, "xinfo") >= first+n })
}

// TestStreamLinesBreak: whatever happens to the connection, nothing is missing and
// nothing twice.
func TestStreamLinesBreak(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	proxy := testserver.Proxy(t, server.Addr())
	direct := testkit.HastyClient(t, server.Addr())
	p := newAppender(t, direct)
	l := stream(t, testkit.HastyClient(t, proxy.Addr()), tracbus.SubscriberConfig{}, "", forever)
	l.says("0-0 subscribed 0..0")
	for _, fail := range []struct {
		fail, mend func()
	}{
		{proxy.Cut, func() {}},
		{proxy.Pause, proxy.Resume},
		{proxy.DropReplies, proxy.Resume},
		{func() { proxy.Refuse(); proxy.Cut() }, proxy.Accept},
		{server.Stop, server.Continue},
		{server.Kill, server.Restart},
		{func() { require.NoError(t, direct.ClientKillByFilter(context.Background(), "TYPE", "normal").Err()) }, func() {}},
	} {
		at := p.last
		fail.fail()
		l.lost(at) // once, however often it tries in vain
		fail.mend()
		next := int64(1)
		if at != "0-0" {
			next = tidOf(t, at) + 1
		}
		p.add(span(next, next+300)...)
		l.takes(0, span(next, next+300)...)
	}
}

// TestStreamCutAtEveryByte cuts the next connection behind every seventh byte
// that a session sends. What Redis was asked then may have been answered or not.
func TestStreamCutAtEveryByte(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	proxy := testserver.Proxy(t, server.Addr())
	p := newAppender(t, testkit.PatientClient(t, server.Addr()))
	p.add(1)
	l := stream(t, testkit.HastyClient(t, proxy.Addr()), tracbus.SubscriberConfig{MaxBackoff: time.Millisecond}, "1-0", forever)
	losses := 0
	for n := int64(0); n < 700; n += 7 {
		proxy.CutAfter(n)
		proxy.Cut()
		tid := 2 + n/7
		p.add(tid)
		var told streamed
		for told = l.next(); told.err != nil; told = l.next() {
			require.ErrorIs(t, told.err, tracbus.ErrDisconnected)
			losses++
		}
		assert.Equal(t, streamIDOf(0, tid, 0), told.String(), "cut behind %d bytes", n)
	}
	assert.GreaterOrEqual(t, losses, 100)
}

// TestStreamOfAnEmptiedRedis: a Redis that keeps nothing begins anew when it is
// killed.
func TestStreamOfAnEmptiedRedis(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := testkit.HastyClient(t, server.Addr())
	p := newAppender(t, c)
	p.add(span(1, 5)...)
	l := stream(t, c, tracbus.SubscriberConfig{}, "", forever)
	l.says("5-0 subscribed 0..0")
	server.Restart()
	l.lost("5-0")
	p.begin(1)
	p.add(6)
	l.says("5-0 restarted 5..0")
	l.takes(1, 6)
}
