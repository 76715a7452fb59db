// Package stream_test tests what a journal's publisher appends to a Redis stream.
package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// allEvents are one of each kind, with values of each type.
func allEvents() []tracbus.Event {
	at := time.Date(2024, 2, 29, 12, 0, 0, 123456000, time.UTC)
	c := tracbus.Change{Comment: "why\u2028not"}
	page := tracbus.WikiPage{Name: "Odd *[page]?/ü\n.wiki.created", Version: 3, Text: "long \"text\"", Readonly: true, Time: at, Author: "jane", Comment: "c"}
	full := tracbus.Fields{"summary": "b", "due": at, "n": json.Number("1.50"), "ok": true, "none": nil, "like": "2024-02-29T11:00:00+00:00"}
	old := tracbus.Fields{"summary": "a", "due": nil, "like": at}
	fresh := maps.Clone(full)
	maps.DeleteFunc(fresh, func(name string, _ any) bool { _, changed := old[name]; return !changed })
	return []tracbus.Event{
		tracbus.TicketCreated{Change: c, ID: 17, Values: full},
		tracbus.TicketChanged{Change: c, ID: 17, Values: full, New: fresh, Old: old},
		tracbus.TicketChanged{Change: c, ID: 17, Values: full, New: tracbus.Fields{}, Old: tracbus.Fields{}},
		tracbus.TicketCommentEdited{Change: c, ID: 17, CommentTime: at, OldComment: "typo"},
		tracbus.TicketChangeDeleted{Change: c, ID: 17, ChangeTime: at, New: fresh, Old: old},
		tracbus.TicketDeleted{Change: c, ID: 17, Values: full},
		tracbus.WikiPageCreated{Change: c, Page: tracbus.WikiPage{Name: "WikiStart", Version: 1, Text: "t"}},
		tracbus.WikiPageChanged{Change: c, Page: tracbus.WikiPage{Name: "WikiStart", Version: 2, Text: "u"}, OldText: "t"},
		tracbus.WikiPageRenamed{Change: c, Page: page, OldName: "WikiStart"},
		tracbus.WikiPageVersionDeleted{Change: c, Page: page},
		tracbus.WikiPageCommentEdited{Change: c, Page: page, OldComment: "old"},
		tracbus.WikiPageDeleted{Change: c, Page: page},
	}
}

const journalStream = "trac:stream"

// loopOver begins a loop over the stream after an id.
func loopOver(t *testing.T, client redis.UniversalClient, after string) *testkit.Steps[tracbus.StreamEntry] {
	t.Helper()
	config := tracbus.SubscriberConfig{MaxBackoff: 20 * time.Millisecond, PingAfter: 100 * time.Millisecond}
	return testkit.Loop(t, func(ctx context.Context) iter.Seq2[tracbus.StreamEntry, error] {
		return tracbus.NewSubscriber(client, config).Stream(ctx, journalStream, after)
	})
}

// nextResync returns the Resync that a loop yields next, as "id reason after..through".
func nextResync(t *testing.T, l *testkit.Steps[tracbus.StreamEntry]) string {
	t.Helper()
	s := l.Next()
	require.NoError(t, s.Err)
	e, ok := s.Value.Event.(tracbus.Resync)
	require.True(t, ok, "a Resync: %v", s.Value)
	return fmt.Sprintf("%s %s %d..%d", s.Value.ID, e.Reason, e.After, e.Through)
}

// TestStreamOfAJournal: what a journal's publisher appends comes back as the
// journal's own events, and a Redis that was emptied is told.
func TestStreamOfAJournal(t *testing.T) {
	for _, all := range []bool{true, false} {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		client := testkit.HastyClient(t, server.Addr())
		publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{StreamKey: journalStream, ExtraEvents: true, FullNewValues: all, Logger: testkit.Quiet})
		t.Cleanup(publisher.Close)
		s := testdatabase.New(t, "sqlite")
		once := tracbus.DurableConfig{FromOldest: true, Backoff: 5 * time.Millisecond}.Durable("redis")
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Before: func(b *tracbus.Bus) { b.All(once, publisher) }})
		// record makes a transaction of each event, and one of them all.
		record := func() (told []tracbus.Event) {
			var last int64
			for e := range d.Since(testkit.Within(t), 0) {
				last = e.About().TID
			}
			groups := slices.Collect(slices.Chunk(allEvents(), 1))
			for _, events := range append(groups, allEvents()[:1], []tracbus.Event{allEvents()[1], allEvents()[6]}) {
				_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
					for _, e := range events {
						if err := tx.Record(testkit.Within(t), e.(tracbus.Recordable)); err != nil {
							return err
						}
					}
					return nil
				})
				require.NoError(t, err)
			}
			for e, err := range d.Since(testkit.Within(t), last) {
				require.NoError(t, err)
				told = append(told, e)
			}
			return told
		}
		check := func(l *testkit.Steps[tracbus.StreamEntry], told []tracbus.Event) (branch uint64) {
			t.Helper()
			for _, want := range told {
				c := want.About()
				c.Primary = false
				want = want.WithChange(c)
				if e, ok := want.(tracbus.TicketChanged); ok && (!all || len(e.Old) == 0 && len(e.Values) == 0) {
					e.Values, e.Absent = nil, tracbus.AttrValues
					want = e
				}
				got := l.Next()
				require.NoError(t, got.Err)
				assert.Equal(t, want, got.Value.Event)
				ms, seq, _ := strings.Cut(got.Value.ID, "-")
				first, err := strconv.ParseUint(ms, 10, 64)
				require.NoError(t, err)
				branch = first >> 48
				assert.EqualValues(t, c.TID, first&(1<<48-1))
				assert.Equal(t, strconv.Itoa(c.Seq), seq)
			}
			return branch
		}

		l := loopOver(t, client, "0")
		assert.Equal(t, "0-0 subscribed 0..0", nextResync(t, l))
		first := record()
		require.Len(t, first, 15)
		assert.Zero(t, check(l, first))
		again := loopOver(t, client, "0-0")
		check(again, first)
		again.Stop()

		require.NoError(t, client.FlushAll(testkit.Within(t)).Err())
		second := record()
		end := first[len(first)-1].About()
		assert.Equal(t, fmt.Sprintf("%d-%d restarted %d..0", end.TID, end.Seq, end.TID), nextResync(t, l))
		assert.NotZero(t, check(l, second))
		l.Stop()
	}
}
