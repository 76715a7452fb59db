package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/stream"
	"github.com/tracbus/tracbus/internal/stream/streamtest"
	"github.com/tracbus/tracbus/internal/testserver"
)

// Entries that are too large together are read in smaller numbers, without a word and
// without a gap. One that is too large alone is an error that names it, until it is gone.
func TestStreamOfLargeEntries(t *testing.T) {
	const most = 64 << 10
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", protocol), func(t *testing.T) {
			t.Parallel()
			server := testserver.Redis(t, testserver.RedisOptions{})
			admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
			t.Cleanup(func() { _ = admin.Close() })
			last, tid := "0-0", int64(0)
			add := func(entries, size int) {
				pipe := admin.Pipeline()
				for range entries {
					tid++
					entry := streamtest.Entry(0, tid, 0, last, "m")
					entry.Values.([]any)[3] = strings.Repeat("x", size)
					pipe.XAdd(context.Background(), entry)
					last = entry.ID
				}
				_, err := pipe.Exec(context.Background())
				require.NoError(t, err)
			}
			add(300, 10)
			add(20, most/4) // three fit into an answer
			add(300, 10)
			add(1, 2*most) // the 621st fits into none
			add(1500, 10)
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: protocol})
			t.Cleanup(func() { _ = client.Close() })
			l := read(t, client, stream.Config{MaxAnswer: most}, "0", forever)
			l.Says("0 begun 0..0")
			l.Takes(0, streamtest.Span(1, 620)...)
			found := l.Next()
			large, ok := errors.AsType[*stream.TooLargeError](found.Err)
			require.True(t, ok, "%v", found)
			assert.Equal(t, "621-0", large.ID)
			assert.True(t, found.Refused)
			assert.Equal(t, "620-0", found.ID, "where it goes on")
			assert.Regexp(t, `^entry 621-0: .*the server sent an answer of more than 65536 bytes \(13\d{4} at least\), expected less`, found.Err.Error())
			assert.ErrorContains(t, found.Err, "whoever begins after 621-0 goes on without it, and so does XDEL trac:stream 621-0")

			beyond := read(t, client, stream.Config{MaxAnswer: most}, large.ID, forever)
			beyond.Takes(0, 622)
			beyond.Stop()

			calls := commands(t, admin, "xread:")
			require.EqualValues(t, 1, admin.XDel(t.Context(), streamtest.Key, large.ID).Val())
			l.Says("621-0 trimmed 620..621")
			l.Takes(0, streamtest.Span(622, 2121)...)
			assert.Less(t, commands(t, admin, "xread:")-calls, 100, "reads of 1500 entries: their number grows again")
		})
	}
}

// The ends of a stream are found out in one answer, which may be too large as well.
func TestStreamWithALargeEnd(t *testing.T) {
	const most = 64 << 10
	server := testserver.Redis(t, testserver.RedisOptions{})
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	entry := streamtest.Entry(0, 7, 0, "0-0", "m")
	entry.Values.([]any)[3] = strings.Repeat("x", most)
	require.NoError(t, client.XAdd(t.Context(), entry).Err())

	l := read(t, client, stream.Config{MaxAnswer: most}, "", forever)
	found := l.Next()
	large, ok := errors.AsType[*stream.TooLargeError](found.Err)
	require.True(t, ok, "%v", found)
	assert.Equal(t, "7-0", large.ID)
	assert.ErrorContains(t, found.Err, "XDEL of an entry that is too large makes it go on")
	require.NoError(t, client.XDel(t.Context(), streamtest.Key, "7-0").Err())
	l.Says("7-0 begun 0..0")
}
