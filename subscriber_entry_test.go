package tracbus

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/stream"
)

var streamedAt = time.Date(2024, 2, 29, 12, 0, 0, 123456000, time.UTC)

// streamedFields is an entry as a publisher appends it, but for some fields.
func streamedFields(but ...string) map[string]any {
	f := map[string]any{
		"channel": "trac.test.ticket.created", "payload": `{"id":7,"due":"2024-02-29T12:00:00.123456+00:00","none":null}`, "mark": "m",
		"time": "1709208000123456", "author": "joe", "ipnr": "::1", "authenticated": "1", "comment": "why", "before": "8-2", "at": "1",
		"types": `{"due":"time"}`,
	}
	for i := 0; i < len(but); i += 2 {
		if f[but[i]] = but[i+1]; but[i+1] == "-" {
			delete(f, but[i])
		}
	}
	return f
}

func entryID(first, second uint64) string { return fmt.Sprintf("%d-%d", first, second) }

// decodeEntry does what Stream does with an entry.
func decodeEntry(id string, fields map[string]any) (Event, error) {
	s := Subscriber{config: SubscriberConfig{Prefix: "trac"}}
	e, err := s.streamEntry("trac:stream", stream.Item{ID: id, Fields: fields})
	return e.Event, err
}

// TestEveryEventComesBackFromItsStreamEntry: it is the journal's own, as far as
// the message carries it.
func TestEveryEventComesBackFromItsStreamEntry(t *testing.T) {
	at := streamedAt.Add(-time.Hour)
	c := Change{Env: "test", TID: 1<<48 - 1, Seq: 3, CommitID: "mark", Time: streamedAt, Author: "jöe", IPNR: "::1", Authenticated: true, Comment: "why\u2028not"}
	other := c
	other.Author, other.Authenticated, other.Comment = "", false, ""
	nobody := other
	nobody.Time, nobody.Null = time.Time{}, AttrTime
	own := WikiPage{Name: "Odd *[page]?/ü\n.wiki.created", Version: 1, Text: "t\x00", Readonly: true, Time: c.Time, Author: c.Author, Comment: c.Comment}
	page := WikiPage{Name: "A.b/c d", Version: 3, Text: "text", Time: at, Author: "jane", Comment: "c"}
	full := Fields{"summary": "b", "due": at, "n": json.Number("1.50"), "ok": true, "none": nil, "like": "2024-02-29T11:00:00+00:00", "when": streamedAt}
	fresh, old := Fields{"due": at, "summary": "b", "like": full["like"]}, Fields{"due": nil, "summary": "a", "like": at}
	for _, tc := range []struct {
		event         Event
		types, before string
	}{
		{TicketCreated{c, 7, full}, `{"due":"time","when":"time"}`, ""},
		{TicketCreated{nobody, 7, Fields{}}, "", ""},
		{TicketChanged{c, 7, full, fresh, old}, `{"due":"time","when":"time"}`, `{"like":"time"}`},
		{TicketChanged{other, 7, full, Fields{}, Fields{}}, `{"due":"time","when":"time"}`, ""},
		{TicketDeleted{other, 7, full}, `{"due":"time","when":"time"}`, ""},
		{TicketCommentEdited{c, 7, at, "typo"}, "", ""},
		{TicketChangeDeleted{c, 7, at, fresh, old}, `{"due":"time"}`, `{"like":"time"}`},
		{WikiPageCreated{c, own}, "", ""},
		{WikiPageChanged{c, own, "old"}, "", ""},
		{WikiPageDeleted{c, page}, "", ""},
		{WikiPageRenamed{c, page, "Old"}, "", ""},
		{WikiPageVersionDeleted{c, page}, "", ""},
		{WikiPageCommentEdited{c, page, "old"}, "", ""},
	} {
		for _, all := range []bool{true, false} {
			channel, payload, err := PublisherConfig{FullNewValues: all}.Encode(tc.event)
			require.NoError(t, err)
			about := tc.event.About()
			f := streamedFields("channel", channel, "payload", payload, "mark", about.CommitID, "author", about.Author, "comment", about.Comment,
				"types", tc.types, "old_types", tc.before)
			if !about.Authenticated {
				f["authenticated"] = "0"
			}
			if about.Time.IsZero() {
				f["time"] = ""
			}
			want := tc.event
			if e, ok := want.(TicketChanged); ok && !all {
				e.Values, e.Absent = nil, AttrValues
				want = e
			}
			got, err := decodeEntry(entryID(5<<48|uint64(about.TID), uint64(about.Seq)), f)
			require.NoError(t, err, "%s", payload)
			assert.Equal(t, want, got)
		}
	}
}

func TestWhatIsNoStreamEntry(t *testing.T) {
	for _, tc := range []struct {
		id   string
		but  []string
		is   error
		want string
	}{
		{"9-0", []string{"channel", "-"}, ErrStreamEntry, `field "channel" is missing`},
		{"9-0", []string{"payload", "-"}, ErrStreamEntry, `field "payload" is missing`},
		{"9-0", []string{"mark", "-"}, ErrStreamEntry, `field "mark" is missing`},
		{"9-0", []string{"time", "-"}, ErrStreamEntry, `field "time" is missing`},
		{"9-0", []string{"time", "soon"}, ErrStreamEntry, `field "time": expected microseconds since 1970, found "soon"`},
		{"9-0", []string{"time", "9223372036854775807"}, ErrStreamEntry, `field "time": expected microseconds`},
		{"9-0", []string{"author", "-"}, ErrStreamEntry, `field "author" is missing`},
		{"9-0", []string{"author", "\xff"}, ErrStreamEntry, `field "author": expected UTF-8`},
		{"9-0", []string{"ipnr", "-"}, ErrStreamEntry, `field "ipnr" is missing`},
		{"9-0", []string{"authenticated", "yes"}, ErrStreamEntry, `field "authenticated": expected 0 or 1, found "yes"`},
		{"9-0", []string{"comment", "-"}, ErrStreamEntry, `field "comment" is missing`},
		{"9-0", []string{"before", "-"}, ErrStreamEntry, `field "before" is missing`},
		{"9-0", []string{"before", "8-"}, ErrStreamEntry, `field "before": expected the id of the entry before, found "8-"`},
		{"9-0", []string{"types", "{"}, ErrStreamEntry, `field "types": expected a JSON object, found "{"`},
		{"9-0", []string{"types", `["due"]`}, ErrStreamEntry, `field "types": expected a JSON object`},
		{"9-0", []string{"types", `{"due":"date"}`}, ErrStreamEntry, `field "types": expected the type "time" of each field, found "date"`},
		{"9-0", []string{"types", `{"due":1}`}, ErrStreamEntry, `field "types": expected the type`},
		{"9-0", []string{"old_types", `x`}, ErrStreamEntry, `field "old_types": expected a JSON object`},
		{"9-0", []string{"payload", `{"id":7,"due":3}`}, ErrStreamEntry, `field "due": expected a time, found "3"`},
		{"9-0", []string{"payload", `{"id":7,"due":"today"}`}, ErrStreamEntry, `field "due": expected a time, found "today"`},
		{"9-0", []string{"payload", `{}`}, ErrBadPayload, `expected a member "id" or "name"`},
		{"9-0", []string{"channel", "trac.test.build.created"}, ErrUnknownChannel, "not a channel of tickets, pages or plain resources"},
		{entryID(3<<48, 0), nil, ErrStreamEntry, `field "id": expected a tid`},
		{"9-1099511627776", nil, ErrStreamEntry, `field "id": expected a tid and a place in the transaction, found "9-1099511627776"`},
	} {
		f := streamedFields(tc.but...)
		e, err := decodeEntry(tc.id, f)
		assert.Nil(t, e)
		d, ok := errors.AsType[*DecodeError](err)
		require.True(t, ok, "%q: %v", tc.but, err)
		assert.ErrorIs(t, err, tc.is, "%q", tc.but)
		assert.ErrorContains(t, err, "entry "+tc.id+": ")
		assert.ErrorContains(t, err, tc.want)
		channel, _ := f["channel"].(string)
		payload, _ := f["payload"].(string)
		assert.Equal(t, []string{channel, payload}, []string{d.Channel, d.Payload})
	}
	for _, but := range [][]string{
		nil, {"at", "-"}, {"types", "-"}, {"types", ""}, {"types", "{}"}, {"types", `{"none":"time","id":"time","not there":"time"}`}, {"before", "0-0"},
		{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nx", "tracestate", "a=1"}, {"traceparent", strings.Repeat("0", 1<<20)}, {"tracestate", "a=1"},
	} {
		e, err := decodeEntry("9-0", streamedFields(but...))
		if assert.NoError(t, err, "%.200q", but) {
			assert.Zero(t, e.About().Trace)
		}
	}
}

func FuzzStreamEntry(f *testing.F) {
	f.Add(uint64(9), uint64(0), "types", `{"due":"time"}`, "time", "1")
	f.Add(uint64(1)<<63, uint64(1)<<63, "payload", `{"id":7,"due":{}}`, "before", "1-1")
	f.Add(uint64(9), uint64(0), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate", "a=1")
	f.Add(uint64(0), uint64(0), "old_types", `{"due":null}`, "channel", "trac.test.ticket.changed.7")
	f.Fuzz(func(t *testing.T, first, second uint64, name1, value1, name2, value2 string) {
		fields := streamedFields(name1, value1, name2, value2)
		given := maps.Clone(fields)
		e, err := decodeEntry(entryID(first, second), fields)
		require.Equal(t, given, fields)
		if err != nil {
			_, ok := errors.AsType[*DecodeError](err)
			require.True(t, ok, "%v", err)
			require.Nil(t, e)
			return
		}
		require.Equal(t, int64(first&(1<<48-1)), e.About().TID)
		require.False(t, e.About().Absent.Has(AttrOrigin))
	})
}
