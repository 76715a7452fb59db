package tracbus_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

const unsaid = tracbus.AttrOrigin

func TestDecode(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	for _, c := range []struct {
		channel, payload string
		want             tracbus.Event
	}{
		{
			"trac.test.ticket.created", `{"summary":"s","n":1.50,"ok":true,"due":null,"id":7}`,
			tracbus.TicketCreated{
				Change: tracbus.Change{Env: "test", Absent: unsaid | tracbus.AttrAuthor | tracbus.AttrComment | tracbus.AttrTime},
				ID:     7, Values: tracbus.Fields{"summary": "s", "n": json.Number("1.50"), "ok": true, "due": nil},
			},
		},
		{ // plugin 0.1: the changed fields only
			"trac.test.ticket.changed.7", `{"new_values":{"milestone":"m1"},"old_values":{"milestone":""},"author":"joe","comment":null,"id":7}`,
			tracbus.TicketChanged{
				Change: tracbus.Change{Env: "test", Author: "joe", Absent: unsaid | tracbus.AttrTime | tracbus.AttrValues, Null: tracbus.AttrComment},
				ID:     7, New: tracbus.Fields{"milestone": "m1"}, Old: tracbus.Fields{"milestone": ""},
			},
		},
		{ // plugin 0.2: all fields
			"trac.test.ticket.changed.7", `{"new_values":{"milestone":"m1","summary":"s"},"old_values":{"milestone":""},"author":"joe","comment":"c","id":7}`,
			tracbus.TicketChanged{
				Change: tracbus.Change{Env: "test", Author: "joe", Comment: "c", Absent: unsaid | tracbus.AttrTime},
				ID:     7, Values: tracbus.Fields{"milestone": "m1", "summary": "s"},
				New: tracbus.Fields{"milestone": "m1"}, Old: tracbus.Fields{"milestone": ""},
			},
		},
		{
			"trac.test.wiki.changed.A.b c", `{"name":"A.b c","version":2,"time":"2020-01-02T03:04:05.000006+00:00","author":"joe","text":"new","comment":"c","readonly":1,"old_text":null}`,
			tracbus.WikiPageChanged{
				Change: tracbus.Change{Env: "test", Time: at, Author: "joe", Comment: "c", Absent: unsaid, Null: tracbus.AttrOldText},
				Page:   tracbus.WikiPage{Name: "A.b c", Version: 2, Time: at, Author: "joe", Text: "new", Comment: "c", Readonly: true},
			},
		},
		{ // a message of some other program: what it does not carry is not made up
			"trac.test.wiki.deleted", `{"name":"A","extra":[1]}`,
			tracbus.WikiPageDeleted{
				Change: tracbus.Change{Env: "test", Absent: unsaid | tracbus.AttrAuthor | tracbus.AttrComment | tracbus.AttrTime | tracbus.AttrText | tracbus.AttrVersion | tracbus.AttrReadonly},
				Page:   tracbus.WikiPage{Name: "A"},
			},
		},
	} {
		got, err := tracbus.Decode("trac", c.channel, c.payload)
		require.NoError(t, err, c.channel)
		assert.Equal(t, c.want, got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		channel, payload string
		is               error
		want             string
	}{
		{"trac.test.build.created", `{}`, tracbus.ErrUnknownChannel, "not a channel of tickets, pages or plain resources"},
		{"trac.test.ticket.exploded.1", `{"id":1}`, tracbus.ErrUnknownChannel, ""},
		{"trac.test.ticket.changed.2", `{"id":1}`, tracbus.ErrUnknownChannel, `payload is of "ticket 1"`},
		{"trac.test.ticket.created", `{"id":"1"}`, tracbus.ErrBadPayload, `member "id": expected an integer, found "1"`},
		{"trac.test.ticket.created", `{"id":0}`, tracbus.ErrBadPayload, `member "id": expected a number from 1, found 0`},
		{"trac.test.wiki.created", `{"name":"P","version":-1}`, tracbus.ErrBadPayload, `member "version": expected 0 or more, found -1`},
		{"trac.test.ticket.created", `{"id":1.5}`, tracbus.ErrBadPayload, `member "id": expected an integer of 64 bits, found "1.5"`},
		{"trac.test.ticket.created", `{"id":99999999999999999999}`, tracbus.ErrBadPayload, "expected an integer of 64 bits"},
		{"trac.test.ticket.created", `{"id":1,"cc":["a"]}`, tracbus.ErrBadPayload, `member "cc": expected null, string, bool or number, found "[\"a\"]"`},
		{"trac.test.ticket.created", `{"id":1,"x":NaN}`, tracbus.ErrBadPayload, "byte 12: expected a value, found 'N'"},
		{"trac.test.ticket.created", `nonsense`, tracbus.ErrBadPayload, "byte 0: expected an object, found 'n'"},
		{"trac.test.ticket.changed.1", `{"id":1,"old_values":{}}`, tracbus.ErrBadPayload, `member "new_values" is missing`},
		{"trac.test.ticket.changed.1", `{"id":1,"new_values":[],"old_values":{}}`, tracbus.ErrBadPayload, `member "new_values": byte 0: expected an object, found '['`},
		{"trac.test.ticket.changed.1", `{"id":1,"new_values":{},"old_values":{},"author":3}`, tracbus.ErrBadPayload, `member "author": expected a string, found "3"`},
		{"trac.test.wiki.created", `{}`, tracbus.ErrBadPayload, `member "name" is missing`},
		{"trac.test.wiki.created", `{"name":"A//B"}`, tracbus.ErrInvalidPageName, `page name "A//B": not a page name: it has a part ""`},
		{"trac.test.wiki.changed.P", `{}`, tracbus.ErrBadPayload, `expected a member "id" or "name"`},
		{"trac.test.wiki.created", `{"name":"P","readonly":"yes"}`, tracbus.ErrBadPayload, `member "readonly": expected an integer, found "yes"`},
		{"trac.test.wiki.created", `{"name":"P","time":"2020-01-02T03:04:05"}`, tracbus.ErrBadPayload, `member "time": time "2020-01-02T03:04:05": expected a form like`},
	} {
		_, err := tracbus.Decode("trac", c.channel, c.payload)
		require.ErrorIs(t, err, c.is, "%s %s", c.channel, c.payload)
		assert.ErrorContains(t, err, c.want)
		var d *tracbus.DecodeError
		require.ErrorAs(t, err, &d)
		assert.Equal(t, c.channel, d.Channel)
		assert.Equal(t, c.payload, d.Payload)
		assert.True(t, strings.HasPrefix(err.Error(), "message on channel \""+c.channel), "%v", err)
	}
}

// TestRareEvents go through their messages and back.
func TestRareEvents(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	who := tracbus.Change{Env: "test", Author: "joe", Comment: "why"}
	page := tracbus.WikiPage{Name: "A/B c", Version: 3, Time: at, Author: "jane", Text: "t", Comment: "c"}
	for _, c := range []struct {
		event            tracbus.Event
		channel, payload string
	}{
		{
			tracbus.TicketCommentEdited{Change: who, ID: 7, CommentTime: at, OldComment: "typo"}, "test.ticket.comment_edited.7",
			`{"author":"joe","comment":"why","old_comment":"typo","time":"2020-01-02T03:04:05+00:00","id":7}`,
		},
		{
			tracbus.TicketChangeDeleted{Change: who, ID: 7, ChangeTime: at, New: tracbus.Fields{"cc": "b"}, Old: tracbus.Fields{"cc": "a"}}, "test.ticket.change_deleted.7",
			`{"new_values":{"cc":"b"},"old_values":{"cc":"a"},"author":"joe","comment":"why","id":7,"time":"2020-01-02T03:04:05+00:00"}`,
		},
		{
			tracbus.WikiPageRenamed{Change: who, Page: page, OldName: "Old"}, "test.wiki.renamed.A/B c",
			`{"name":"A/B c","version":3,"time":"2020-01-02T03:04:05+00:00","author":"jane","text":"t","comment":"c","readonly":0,"old_name":"Old"}`,
		},
		{
			tracbus.WikiPageVersionDeleted{Change: who, Page: page}, "test.wiki.version_deleted.A/B c",
			`{"name":"A/B c","version":3,"time":"2020-01-02T03:04:05+00:00","author":"jane","text":"t","comment":"c","readonly":0}`,
		},
		{
			tracbus.WikiPageCommentEdited{Change: who, Page: page, OldComment: "old"}, "test.wiki.comment_edited.A/B c",
			`{"name":"A/B c","version":3,"time":"2020-01-02T03:04:05+00:00","author":"jane","text":"t","comment":"c","readonly":0,"old_comment":"old"}`,
		},
	} {
		config := tracbus.PublisherConfig{NoPrefix: true}
		channel, payload, err := config.Encode(c.event)
		require.NoError(t, err)
		assert.Equal(t, c.channel, channel)
		assert.Equal(t, c.payload, payload)
		e, err := tracbus.Decode("", channel, payload)
		require.NoError(t, err)
		again, payload2, err := config.Encode(e)
		require.NoError(t, err)
		assert.Equal(t, []string{channel, payload}, []string{again, payload2})
		assert.IsType(t, c.event, e)
	}
	_, _, err := tracbus.PublisherConfig{}.Encode(tracbus.Resync{})
	assert.ErrorContains(t, err, "event without a payload")
	_, _, err = tracbus.PublisherConfig{}.Encode(tracbus.TicketCreated{ID: 1})
	assert.EqualError(t, err, "encode ticket 1 created: event without an env: a bus fills it in")
}

// FuzzDecode takes any message apart: it never panics, and what it understands
// becomes a message that means the same.
func FuzzDecode(f *testing.F) {
	f.Add("trac", "trac.test.ticket.changed.7", `{"new_values":{"milestone":"m1"},"old_values":{"milestone":""},"author":"joe","comment":null,"id":7}`)
	f.Add("trac", "trac.test.ticket.created", `{"summary":"s","n":1.50,"ok":true,"due":null,"id":7}`)
	f.Add("", "test.wiki.changed.x.wiki.created", `{"name":"x.wiki.created","version":2,"time":"2020-01-02T03:04:05.000006-03:30","author":null,"text":"\u2028\ud83d\ude00","comment":"","readonly":1,"old_text":"a"}`)
	f.Add("trac", "trac.test.wiki.deleted", `{"name":"P","version":0,"time":null}`)
	f.Add("trac", "trac.e.ticket.change_deleted.1", `{"id":1,"new_values":{},"old_values":{},"time":null}`)
	for _, v := range vectorsOf(f, "testdata/vectors.jsonl") {
		f.Add(v.Prefix, v.Channel, v.Data)
	}
	f.Fuzz(func(t *testing.T, prefix, channel, payload string) {
		e, err := tracbus.Decode(prefix, channel, payload)
		if err != nil {
			var d *tracbus.DecodeError
			require.ErrorAs(t, err, &d)
			return
		}
		c, ok := e.(tracbus.TicketChanged)
		config := tracbus.PublisherConfig{Prefix: prefix, NoPrefix: prefix == "", FullNewValues: !ok || c.Values != nil}
		channel2, payload2, err := config.Encode(e)
		require.NoError(t, err)
		if channel2 != channel { // it was under another prefix
			config.Prefix, config.NoPrefix = "", true
			channel2, payload2, err = config.Encode(e)
			require.NoError(t, err)
		}
		require.Equal(t, channel, channel2)
		require.True(t, json.Valid([]byte(payload2)), "%s", payload2)
		e2, err := tracbus.Decode(prefix, channel2, payload2)
		require.NoError(t, err, "%s %s", channel2, payload2)
		require.Equal(t, e, e2)
	})
}
