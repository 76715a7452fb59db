package stream_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/stream"
	"github.com/tracbus/tracbus/internal/stream/streamtest"
)

// forever is a time in which a stream that fell back is not given up.
const forever = time.Hour

// step is one of a loop over Read.
type step struct{ stream.Item }

func (s step) String() string {
	switch {
	case s.Refused:
		return fmt.Sprintf("%s refused: %v", s.ID, s.Err)
	case s.Err != nil:
		return fmt.Sprintf("%s error: %v", s.ID, s.Err)
	case s.Gap != nil:
		reason := map[stream.Reason]string{stream.Begun: "begun", stream.Trimmed: "trimmed", stream.Reset: "reset"}[s.Gap.Reason]
		return fmt.Sprintf("%s %s %d..%d", s.ID, reason, s.Gap.After, s.Gap.Through)
	}
	return s.ID
}

// reading is a loop over Read, whose steps a test takes one by one.
type reading struct {
	t testing.TB
	*streamtest.Loop[step]
}

// read starts a loop with the times of config, or with short ones.
func read(t testing.TB, client redis.UniversalClient, config stream.Config, after string, refill time.Duration) reading {
	t.Helper()
	config.Key, config.Refill = streamtest.Key, refill
	if config.MaxBackoff == 0 {
		config.MaxBackoff = 20 * time.Millisecond
	}
	if config.PingAfter == 0 {
		config.PingAfter = 100 * time.Millisecond
	}
	return reading{t, streamtest.Start(t, func(ctx context.Context) iter.Seq[step] {
		items, err := stream.Read(ctx, client, config, after)
		if err != nil {
			t.Error(err)
		}
		return func(yield func(step) bool) {
			for item := range items {
				if !yield(step{item}) {
					return
				}
			}
		}
	})}
}

// lost wants the loss of the connection next, with the place of the loop.
func (l reading) lost(at string) {
	l.t.Helper()
	s := l.Next()
	if s.Err == nil || s.Refused || s.ID != at || s.Gap != nil || s.Fields != nil {
		l.t.Fatalf("step\n got %v\nwant %s error: that the connection is lost", s, at)
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
