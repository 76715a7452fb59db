// Package streamtest is for tests that read a stream: it appends entries as a
// publisher does, and takes the steps of a loop one by one.
package streamtest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Key is the stream's.
const Key = "trac:stream"

// Entry returns an entry as a publisher appends it, for the change of a ticket
// with the tid as its number.
func Entry(generation, tid, seq int64, before, commit string) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: Key, ID: ID(generation, tid, seq), Values: []any{
		"channel", fmt.Sprintf("trac.test.ticket.changed.%d", tid),
		"payload", fmt.Sprintf(`{"id": %d, "new_values": {"a": "b"}, "old_values": {"a": "c"}, "author": "joe", "comment": "why"}`, tid),
		"mark", commit, "time", "1709208000123456", "author", "joe", "ipnr", "127.0.0.1", "authenticated", "1", "comment", "why",
		"before", before, "at", "1709208000999",
	}}
}

// ID returns the id of an entry.
func ID(generation, tid, seq int64) string {
	return strconv.FormatInt(generation<<48|tid, 10) + "-" + strconv.FormatInt(seq, 10)
}

// TID returns the tid in an id.
func TID(t testing.TB, id string) int64 {
	t.Helper()
	first, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n & (1<<48 - 1)
}

// Span returns the tids from one to another.
func Span(from, to int64) (tids []int64) {
	for tid := from; tid <= to; tid++ {
		tids = append(tids, tid)
	}
	return tids
}

// An Appender appends as a publisher does, and knows what it appended last.
type Appender struct {
	t      testing.TB
	client *redis.Client

	Generation int64
	Last       string // id
	Suffix     string // of each commit id
}

// NewAppender returns an appender for an empty stream.
func NewAppender(t testing.TB, client *redis.Client) *Appender {
	return &Appender{t: t, client: client, Last: "0-0"}
}

// Add appends one change for each tid.
func (a *Appender) Add(tids ...int64) {
	a.t.Helper()
	for _, tid := range tids {
		args := Entry(a.Generation, tid, 0, a.Last, fmt.Sprint("m", tid, a.Suffix))
		deadline := time.Now().Add(patience)
		for { // the first connections may be broken
			err := a.client.XAdd(context.Background(), args).Err()
			if err == nil || strings.Contains(err.Error(), "equal or smaller") {
				break
			}
			if time.Now().After(deadline) {
				a.t.Fatalf("XADD %s: %v", args.ID, err)
			}
			time.Sleep(time.Millisecond)
		}
		a.Last = args.ID
	}
}

// Begin begins a new generation.
func (a *Appender) Begin(generation int64) { a.Generation, a.Last = generation, "0-0" }
