package tracbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

const streamKey = "trac:stream"

// inStream are the fields of an entry as a publisher appends it, for the change
// of a ticket with the tid as its number.
func inStream(branch, tid, seq int64, before, mark string) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: streamKey, ID: streamIDOf(branch, tid, seq), Values: []any{
		"channel", fmt.Sprintf("trac.test.ticket.changed.%d", tid),
		"payload", fmt.Sprintf(`{"id": %d, "new_values": {"a": "b"}, "old_values": {"a": "c"}, "author": "joe", "comment": "why"}`, tid),
		"mark", mark, "time", "1709208000123456", "author", "joe", "ipnr", "127.0.0.1", "authenticated", "1", "comment", "why",
		"before", before, "at", "1709208000999",
	}}
}

func streamIDOf(branch, tid, seq int64) string {
	return strconv.FormatInt(branch<<48|tid, 10) + "-" + strconv.FormatInt(seq, 10)
}

// appender appends as a publisher does, and knows what it appended last.
type appender struct {
	t      testing.TB
	client *redis.Client
	branch int64
	last   string
	mark   string               // added to that of each transaction
	proxy  *testserver.TCPProxy // for those who read
}

func newAppender(t testing.TB, client *redis.Client) *appender {
	return &appender{t: t, client: client, last: "0-0"}
}

// add appends one change for each tid.
func (a *appender) add(tids ...int64) {
	a.t.Helper()
	for _, tid := range tids {
		args := inStream(a.branch, tid, 0, a.last, fmt.Sprint("m", tid, a.mark))
		testkit.Until(a.t, "XADD", func() bool { // its connection may be of before
			err := a.client.XAdd(context.Background(), args).Err()
			return err == nil || strings.Contains(err.Error(), "equal or smaller")
		})
		a.last = args.ID
	}
}

// begin begins a new branch.
func (a *appender) begin(branch int64) { a.branch, a.last = branch, "0-0" }

func span(from, to int64) (tids []int64) {
	for tid := from; tid <= to; tid++ {
		tids = append(tids, tid)
	}
	return tids
}

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

// streaming is a loop over Stream, whose steps a test takes one by one.
type streaming struct {
	t      testing.TB
	steps  chan streamed
	ended  chan struct{}
	cancel context.CancelFunc
}

func stream(t testing.TB, client redis.UniversalClient, config tracbus.SubscriberConfig, after string, refill time.Duration) *streaming {
	t.Helper()
	if config.MaxBackoff == 0 {
		config.MaxBackoff = 20 * time.Millisecond
	}
	if config.PingAfter == 0 {
		config.PingAfter = 100 * time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &streaming{t: t, steps: make(chan streamed), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(l.ended)
		for e, err := range tracbus.NewSubscriber(client, config).WithRefill(refill).Stream(ctx, streamKey, after) {
			select {
			case l.steps <- streamed{e, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(l.stop)
	return l
}

func (l *streaming) stop() {
	l.cancel()
	select {
	case <-l.ended:
	case <-time.After(testkit.Patience):
		l.t.Errorf("the loop did not end within %v", testkit.Patience)
	}
}

func (l *streaming) next() streamed {
	l.t.Helper()
	select {
	case s := <-l.steps:
		return s
	case <-l.ended:
		l.t.Fatal("the loop ended")
	case <-time.After(testkit.Patience):
		l.t.Fatalf("the loop yielded nothing within %v", testkit.Patience)
	}
	return streamed{}
}

// says wants steps next, in the form of their String.
func (l *streaming) says(want ...string) {
	l.t.Helper()
	for i, w := range want {
		if got := l.next().String(); got != w {
			l.t.Fatalf("step %d\n got %s\nwant %s\n of %q", i, got, w, want)
		}
	}
}

// takes wants the entries of tids next.
func (l *streaming) takes(branch int64, tids ...int64) {
	l.t.Helper()
	for _, tid := range tids {
		l.says(streamIDOf(branch, tid, 0))
	}
}

// lost wants one ErrDisconnected next, which says where the loop stands.
func (l *streaming) lost(at string) {
	l.t.Helper()
	s := l.next()
	if !errors.Is(s.err, tracbus.ErrDisconnected) || s.ID != at || s.Event != nil {
		l.t.Fatalf("step\n got %v\nwant %s error: %v", s, at, tracbus.ErrDisconnected)
	}
}

// readers counts the connections on which something waits for a stream.
func readers(t testing.TB, admin *redis.Client) int {
	list, err := admin.ClientList(context.Background()).Result()
	require.NoError(t, err)
	return len(slices.DeleteFunc(strings.Split(list, "\n"), func(line string) bool { return !strings.Contains(line, "cmd=xread") }))
}

// commands counts how often a command, or one of its subcommands, was called.
func commands(t testing.TB, admin *redis.Client, name string) (calls int) {
	t.Helper()
	info, err := admin.Info(context.Background(), "commandstats").Result()
	require.NoError(t, err)
	for line := range strings.SplitSeq(info, "\n") {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+name); ok {
			_, rest, _ = strings.Cut(rest, "calls=")
			number, _, _ := strings.Cut(rest, ",")
			n, err := strconv.Atoi(number)
			require.NoError(t, err, line)
			calls += n
		}
	}
	return calls
}

func tidOf(t testing.TB, id string) int64 {
	t.Helper()
	first, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	require.NoError(t, err)
	return n & (1<<48 - 1)
}
