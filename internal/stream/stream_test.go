package stream_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/stream"
	"github.com/tracbus/tracbus/internal/stream/streamtest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

func TestStreamFromNowFromTheBeginningAndAfterAnEntry(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := testkit.PatientClient(t, server.Addr())
	publisher := streamtest.NewAppender(t, c)

	early := read(t, c, stream.Config{}, "", forever)
	early.Says("0-0 begun 0..0")
	oldest := read(t, c, stream.Config{}, "0", forever)
	oldest.Says("0-0 begun 0..0") // there is nothing before
	publisher.Add(streamtest.Span(1, 600)...)
	for _, l := range []reading{early, oldest} {
		l.Takes(0, streamtest.Span(1, 600)...)
	}
	oldest.Stop()

	now := read(t, c, stream.Config{}, "", forever)
	now.Says("600-0 begun 0..0")
	all := read(t, c, stream.Config{}, "0", forever)
	all.Says("0 begun 0..0")
	all.Takes(0, streamtest.Span(1, 600)...)
	after := read(t, c, stream.Config{}, "400-0", forever)
	after.Takes(0, streamtest.Span(401, 600)...)
	begun := read(t, c, stream.Config{}, "0-0", forever)
	begun.Takes(0, streamtest.Span(1, 600)...)

	publisher.Add(700)
	for _, l := range []reading{early, now, all, after, begun} {
		l.Takes(0, 700)
	}
}

// A loop that begins with the oldest entry gets the first one, whenever it is appended: also
// between any two of the questions with which the loop finds its place.
func TestStreamBeginsWhileTheFirstEntryIsAppended(t *testing.T) {
	asked := int64(1)
	for question := int64(0); question < asked; question++ {
		server := testserver.Redis(t, testserver.RedisOptions{})
		publisher := streamtest.NewAppender(t, testkit.PatientClient(t, server.Addr()))
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { _ = client.Close() })
		var questions atomic.Int64
		testkit.NewTap(client).After(func(commands [][]string) {
			if !slices.ContainsFunc(commands, func(args []string) bool { return slices.Contains(args, streamtest.Key) }) {
				return
			}
			if questions.Add(1) == question+1 {
				publisher.Add(1, 2)
			}
		})
		l := read(t, client, stream.Config{}, "0", forever)
		l.Next() // begun
		asked = max(asked, questions.Load())
		l.Takes(0, 1, 2)
		l.Stop()
	}
	require.Greater(t, asked, int64(1))
}

// TestStreamGaps: which gap a loop yields that begins after an entry.
func TestStreamGaps(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fill  func(t *testing.T, c *redis.Client, p *streamtest.Appender)
		after string
		want  []string
	}{
		{"nothing is missing, but the entry itself",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) {
				p.Add(streamtest.Span(1, 9)...)
				trim(t, c, "8")
			}, "7-0",
			[]string{"8-0", "9-0"}},
		{"some were trimmed",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) {
				p.Add(streamtest.Span(1, 9)...)
				trim(t, c, "8")
			}, "4-0",
			[]string{"7-0 trimmed 4..7", "8-0", "9-0"}},
		{"to go on where that was told is no gap",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) {
				p.Add(streamtest.Span(1, 9)...)
				trim(t, c, "8")
			}, "0-0",
			[]string{"7-0 trimmed 0..7", "8-0", "9-0"}},
		{"all were trimmed",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) {
				p.Add(streamtest.Span(1, 9)...)
				trim(t, c, "100")
				p.Add(10)
			}, "4-0",
			[]string{"9-0 trimmed 4..9", "10-0"}},
		{"deleted, and the publisher goes on",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) {
				p.Add(streamtest.Span(1, 9)...)
				require.NoError(t, c.Del(t.Context(), streamtest.Key).Err())
				p.Add(10)
			}, "9-0", []string{"10-0"}},
		{"in the middle",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) {
				p.Add(streamtest.Span(1, 9)...)
				require.NoError(t, c.XDel(t.Context(), streamtest.Key, "5-0", "6-0").Err())
			}, "3-0", []string{"4-0", "6-0 trimmed 4..6", "7-0", "8-0", "9-0"}},
		{"a new generation after the old one",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) { p.Add(1, 2, 3); p.Begin(1); p.Add(2, 3) }, "2-0",
			[]string{"3-0", "3-0 reset 3..0", streamtest.ID(1, 2, 0), streamtest.ID(1, 3, 0)}},
		{"a new generation alone",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) { p.Begin(1); p.Add(4, 5) }, "2-0",
			[]string{"2-0 reset 2..0", streamtest.ID(1, 4, 0), streamtest.ID(1, 5, 0)}},
		{"a new generation, of which the first are trimmed",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) {
				p.Begin(1)
				p.Add(4, 5, 6)
				trim(t, c, streamtest.ID(1, 6, 0))
			}, "2-0",
			[]string{streamtest.ID(1, 5, 0) + " reset 2..5", streamtest.ID(1, 6, 0)}},
		{"the second generation after the same",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) {
				p.Begin(1)
				p.Add(4, 5)
				p.Begin(2)
				p.Add(1)
			}, streamtest.ID(1, 4, 0),
			[]string{streamtest.ID(1, 5, 0), streamtest.ID(1, 5, 0) + " reset 5..0", streamtest.ID(2, 1, 0)}},
		{"other content at lower ids",
			func(t *testing.T, c *redis.Client, p *streamtest.Appender) { p.Add(1, 2, 3, 7) }, "5-0",
			[]string{"0 reset 5..0", "1-0", "2-0", "3-0", "7-0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			server := testserver.Redis(t, testserver.RedisOptions{})
			c := testkit.PatientClient(t, server.Addr())
			tc.fill(t, c, streamtest.NewAppender(t, c))
			read(t, c, stream.Config{}, tc.after, forever).Says(tc.want...)
		})
	}
}

// trim takes the entries below an id away.
func trim(t *testing.T, c *redis.Client, id string) {
	t.Helper()
	require.NoError(t, c.XTrimMinID(t.Context(), streamtest.Key, id).Err())
}

// TestStreamThatFellBack: Redis lost what it had last, while it was read or while
// nobody did.
func TestStreamThatFellBack(t *testing.T) {
	type publisher struct {
		*streamtest.Appender
		proxy *testserver.TCPProxy // for those who read
	}
	begin := func(t *testing.T, refill time.Duration) (*redis.Client, publisher, reading) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		c := testkit.PatientClient(t, server.Addr())
		p := publisher{streamtest.NewAppender(t, c), testserver.Proxy(t, server.Addr())}
		p.Add(streamtest.Span(1, 9)...)
		l := read(t, testkit.HastyClient(t, p.proxy.Addr()), stream.Config{PingAfter: 20 * time.Millisecond}, "7-0", refill)
		l.Takes(0, 8, 9)
		return c, p, l
	}
	// fall makes the stream what it was when tid was the last.
	fall := func(t *testing.T, c *redis.Client, p publisher, tid int64) {
		_, err := c.TxPipelined(t.Context(), func(pipe redis.Pipeliner) error {
			pipe.Del(t.Context(), streamtest.Key)
			last := "0-0"
			for tid := range tid {
				args := streamtest.Entry(0, tid+1, 0, last, fmt.Sprint("m", tid+1))
				pipe.XAdd(t.Context(), args)
				last = args.ID
			}
			p.Last = last
			return nil
		})
		require.NoError(t, err)
	}
	t.Run("and is filled again", func(t *testing.T) {
		c, p, l := begin(t, forever)
		fall(t, c, p, 6)
		looks(t, c, 3)
		p.Add(streamtest.Span(7, 12)...)
		l.Takes(0, 10, 11, 12)
		p.Add(13)
		l.Takes(0, 13)
	})
	t.Run("and is filled with something else", func(t *testing.T) {
		c, p, l := begin(t, forever)
		fall(t, c, p, 6)
		looks(t, c, 3)
		p.Suffix = "other"
		p.Add(streamtest.Span(7, 12)...)
		l.Says("6-0 reset 9..0")
		l.Takes(0, streamtest.Span(7, 12)...)
	})
	t.Run("and is filled with something else while nobody reads", func(t *testing.T) {
		c, p, l := begin(t, forever)
		p.proxy.Refuse()
		p.proxy.Cut()
		l.lost("9-0")
		fall(t, c, p, 6)
		p.Suffix = "other"
		p.Add(streamtest.Span(7, 12)...)
		p.proxy.Accept()
		l.Says("0 reset 9..0")
		l.Takes(0, streamtest.Span(1, 12)...)
		p.Add(13)
		l.Takes(0, 13)
	})
	t.Run("and is filled again while nobody reads", func(t *testing.T) {
		c, p, l := begin(t, forever)
		p.proxy.Refuse()
		p.proxy.Cut()
		l.lost("9-0")
		fall(t, c, p, 6)
		p.Add(streamtest.Span(7, 12)...)
		p.proxy.Accept()
		l.Takes(0, 10, 11, 12)
	})
	t.Run("and stays there", func(t *testing.T) {
		c, p, l := begin(t, 200*time.Millisecond)
		fall(t, c, p, 6)
		l.Says("6-0 reset 9..0")
		p.Add(7, 8)
		l.Takes(0, 7, 8)
	})
	t.Run("and comes on, but too slowly", func(t *testing.T) {
		c, p, l := begin(t, 300*time.Millisecond)
		fall(t, c, p, 6)
		looks(t, c, 3)
		p.Add(7) // before the loop gives up
		l.Says("6-0 reset 9..0")
		l.Takes(0, 7)
	})
	t.Run("and is gone, while the publisher goes on", func(t *testing.T) {
		c, p, l := begin(t, 100*time.Millisecond)
		require.NoError(t, c.Del(t.Context(), streamtest.Key).Err())
		l.Says("0-0 reset 9..0")
		p.Add(10)
		l.Takes(0, 10)
	})
	t.Run("and is gone, and begun again", func(t *testing.T) {
		c, p, l := begin(t, forever)
		require.NoError(t, c.FlushAll(t.Context()).Err())
		looks(t, c, 3)
		p.Begin(1)
		p.Add(10)
		l.Says("9-0 reset 9..0")
		l.Takes(1, 10)
	})
	t.Run("into another generation", func(t *testing.T) {
		c, p, l := begin(t, 100*time.Millisecond)
		p.Begin(3)
		p.Add(10, 11)
		l.Says("9-0 reset 9..0")
		l.Takes(3, 10, 11)
		fall(t, c, p, 6)
		l.Says("0 reset 11..0")
		l.Takes(0, streamtest.Span(1, 6)...)
		p.Generation = 0
		p.Add(7)
		l.Takes(0, 7)
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
	p := streamtest.NewAppender(t, direct)
	l := read(t, testkit.HastyClient(t, proxy.Addr()), stream.Config{}, "", forever)
	l.Says("0-0 begun 0..0")
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
		at := p.Last
		fail.fail()
		l.lost(at) // once, however often it tries in vain
		fail.mend()
		next := int64(1)
		if at != "0-0" {
			next = streamtest.TID(t, at) + 1
		}
		p.Add(streamtest.Span(next, next+300)...)
		l.Takes(0, streamtest.Span(next, next+300)...)
	}
}

// TestStreamCutAtEveryByte cuts the next connection after every seventh byte
// that a session sends. What Redis was asked then may have been answered or not.
func TestStreamCutAtEveryByte(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	proxy := testserver.Proxy(t, server.Addr())
	p := streamtest.NewAppender(t, testkit.PatientClient(t, server.Addr()))
	p.Add(1)
	l := read(t, testkit.HastyClient(t, proxy.Addr()), stream.Config{MaxBackoff: time.Millisecond}, "1-0", forever)
	losses := 0
	for n := int64(0); n < 700; n += 7 {
		proxy.CutAfter(n)
		proxy.Cut()
		tid := 2 + n/7
		p.Add(tid)
		var s step
		for s = l.Next(); s.Err != nil; s = l.Next() {
			require.False(t, s.Refused, "%v", s)
			losses++
		}
		assert.Equal(t, streamtest.ID(0, tid, 0), s.String(), "cut after %d bytes", n)
	}
	assert.GreaterOrEqual(t, losses, 100)
}

// TestStreamOfAnEmptiedRedis: a Redis that keeps nothing begins again when it is
// killed.
func TestStreamOfAnEmptiedRedis(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := testkit.HastyClient(t, server.Addr())
	p := streamtest.NewAppender(t, c)
	p.Add(streamtest.Span(1, 5)...)
	l := read(t, c, stream.Config{}, "", forever)
	l.Says("5-0 begun 0..0")
	server.Restart()
	l.lost("5-0")
	p.Begin(1)
	p.Add(6)
	l.Says("5-0 reset 5..0")
	l.Takes(1, 6)
}
