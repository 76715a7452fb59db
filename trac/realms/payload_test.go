package realms_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/trac/realms"
)

// TestDecodeUndoesEncode: a message gives the event back, but for what it does not
// carry.
func TestDecodeUndoesEncode(t *testing.T) {
	for _, prefix := range []string{"trac", ""} {
		config := tracbus.PublisherConfig{Prefix: prefix, NoPrefix: prefix == ""}
		for _, e := range oneOfEach() {
			channel, payload, err := config.Encode(e)
			require.NoError(t, err)
			require.True(t, json.Valid([]byte(payload)), payload)
			back, err := realms.Decode(prefix, channel, payload)
			require.NoError(t, err, "%s %s", channel, payload)
			assert.Equal(t, carried(e), back, "%s %s", channel, payload)

			again, same, err := config.Encode(back)
			require.NoError(t, err)
			assert.Equal(t, channel+" "+payload, again+" "+same)

			_, err = tracbus.Decode(prefix, channel, payload)
			assert.Error(t, err, "%s %s: tracbus takes it for one of its own", channel, payload)
		}
	}
}

// TestAuthorOfNobody: a change that nobody knows who made, as one that Trac's tables say
// nothing of, has null in its message, and not somebody without a name.
func TestAuthorOfNobody(t *testing.T) {
	m := realms.Milestone{Name: "m1"}
	for null, want := range map[tracbus.Attrs]string{0: `"author":"",`, tracbus.AttrAuthor: `"author":null,`} {
		e := realms.MilestoneChanged{Change: tracbus.Change{Env: "e", Null: null}, Milestone: m, Old: m}
		channel, payload, err := tracbus.PublisherConfig{}.Encode(e)
		require.NoError(t, err)
		assert.Contains(t, payload, want)
		back, err := realms.Decode("trac", channel, payload)
		require.NoError(t, err)
		assert.Equal(t, null, back.About().Null)
	}
}

// carried returns an event as its message has it.
func carried(e tracbus.Event) tracbus.Event {
	all := e.About()
	c := tracbus.Change{Env: all.Env, Null: all.Null, Absent: tracbus.AttrOrigin | tracbus.AttrTime}
	description := func(now, old string) {
		if now != "" {
			c.Null &^= tracbus.AttrText
		}
		if old != "" || now == old {
			c.Null &^= tracbus.AttrOldText
		}
	}
	switch e := e.(type) {
	case realms.MilestoneChanged:
		description(e.Milestone.Description, e.Old.Description)
	case realms.ComponentChanged:
		description(e.Component.Description, e.Old.Description)
	case realms.VersionChanged:
		description(e.Version.Description, e.Old.Description)
	case realms.AttachmentChanged:
		description(e.Attachment.Description, e.Old.Description)
	default:
		c.Null &^= tracbus.AttrOldText
	}
	if k := e.Kind(); k == tracbus.KindCreated || k == tracbus.KindDeleted {
		c.Absent |= tracbus.AttrAuthor | tracbus.AttrComment
	} else {
		c.Author, c.Comment = all.Author, all.Comment
	}
	return e.WithChange(c)
}

// TestDecodeOfOthers: messages of tickets and pages are tracbus's, and what is no
// message at all is an error that carries it.
func TestDecodeOfOthers(t *testing.T) {
	for _, e := range []tracbus.Event{
		tracbus.TicketCreated{Change: tracbus.Change{Env: "x.milestone"}, ID: 17, Values: tracbus.Fields{"milestone": "m1"}},
		tracbus.TicketChanged{Change: tracbus.Change{Env: "e"}, ID: 17, New: tracbus.Fields{}, Old: tracbus.Fields{}},
		tracbus.WikiPageDeleted{Change: tracbus.Change{Env: "e"}, Page: tracbus.WikiPage{Name: "e.version.created", Version: 1}},
		tracbus.WikiPageChanged{Change: tracbus.Change{Env: "e"}, Page: tracbus.WikiPage{Name: "e.milestone.changed.x", Version: 1}},
	} {
		channel, payload, err := tracbus.PublisherConfig{}.Encode(e)
		require.NoError(t, err)
		want, err := tracbus.Decode("trac", channel, payload)
		require.NoError(t, err)
		got, err := realms.Decode("trac", channel, payload)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}

	const created = `{"name":"m1","due":null,"completed":null,"description":"","id":"m1"}`
	const changed = `{"new_values":{"name":"m1","due":null,"completed":null,"description":""},"old_values":{},"author":"joe","comment":"","id":"m1"}`
	for _, test := range []struct {
		channel, payload string
		is               error
		want             string
	}{
		{"trac.e.milestone.created", "", tracbus.ErrBadPayload, "not a payload of this channel"},
		{"trac.e.milestone.created", "[]", tracbus.ErrBadPayload, "not a payload of this channel"},
		{"trac.e.milestone.created", "{}", tracbus.ErrBadPayload, `not a payload of this channel: member "id" is missing`},
		{"trac.e.sprint.created", created, tracbus.ErrUnknownChannel, "not a channel of tickets, pages or plain resources"},
		{"trac.e.milestone.closed.m1", changed, tracbus.ErrUnknownChannel, "not a channel of tickets, pages or plain resources"},
		{"trac.e.milestone.changed.m2", changed, tracbus.ErrUnknownChannel, "not a channel of tickets, pages or plain resources"},
		{"trac.e.milestone.renamed.m1", changed, tracbus.ErrBadPayload, `it is of "milestone m1", changed`},
		{"trac.e.milestone.created", strings.Replace(created, `"due":null,`, "", 1), tracbus.ErrBadPayload, `field "due" is missing: expected a time`},
		{"trac.e.milestone.created", strings.Replace(created, `"due":null`, `"due":"soon"`, 1), tracbus.ErrBadPayload, `field "due": expected a time, found string`},
		{"trac.e.milestone.created", strings.Replace(created, `"name":"m1"`, `"name":"m2"`, 1), tracbus.ErrBadPayload, `it is of "milestone m2", created`},
		{"trac.e.milestone.changed.m1", strings.Replace(changed, `"joe"`, `7`, 1), tracbus.ErrBadPayload, `member "author": expected a string, found "7"`},
		{"trac.e.milestone.changed.m1", strings.Replace(changed, `"old_values":{}`, `"old_values":{"due":1}`, 1), tracbus.ErrBadPayload, `old field "due": expected a time`},
	} {
		_, err := realms.Decode("trac", test.channel, test.payload)
		require.ErrorIs(t, err, test.is, test.payload)
		assert.ErrorContains(t, err, test.want)
		var bad *tracbus.DecodeError
		require.ErrorAs(t, err, &bad)
		assert.Equal(t, test.channel, bad.Channel)
		assert.Equal(t, test.payload, bad.Payload)
	}
}

// docs/channels.md has one message of each kind, as a publisher sends it.
func TestDocumentedMessages(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "channels.md"))
	require.NoError(t, err)
	c := tracbus.Change{Env: "myenv", Author: "joe", Comment: "Not in May."}
	due := time.Date(2020, 5, 1, 0, 0, 0, 0, time.UTC)
	m1 := realms.Milestone{Name: "1.0", Due: due, Description: "First"}
	m2, m3 := m1, m1
	m2.Due, m3.Name = due.AddDate(0, 1, 0), "1.1"
	core, kernel := realms.Component{Name: "core", Owner: "ann"}, realms.Component{Name: "kernel", Owner: "ann"}
	bob := realms.Component{Name: "core", Owner: "bob"}
	v1, v2, v3 := realms.Version{Name: "2.0"}, realms.Version{Name: "2.0", Time: due}, realms.Version{Name: "2.1"}
	a := realms.Attachment{Parent: tracbus.TicketResource(17), Filename: "crash.log", Size: 321, Time: at, Description: "Log", Author: "ann"}
	moved := a
	moved.Parent = tracbus.PageResource("Sand/Box")
	var want []string
	for _, e := range []tracbus.Event{
		realms.MilestoneCreated{c, m1}, realms.MilestoneChanged{c, m2, m1}, realms.MilestoneChanged{c, m3, m1}, realms.MilestoneDeleted{c, m3},
		realms.ComponentCreated{c, core}, realms.ComponentChanged{c, bob, core}, realms.ComponentChanged{c, kernel, core}, realms.ComponentDeleted{c, kernel},
		realms.VersionCreated{c, v1}, realms.VersionChanged{c, v2, v1}, realms.VersionChanged{c, v3, v1}, realms.VersionDeleted{c, v3},
		realms.AttachmentAdded{c, a}, realms.AttachmentChanged{c, moved, a}, realms.AttachmentDeleted{c, moved},
	} {
		channel, payload, err := tracbus.PublisherConfig{}.Encode(e)
		require.NoError(t, err)
		want = append(want, channel+" "+payload)
	}
	assert.Contains(t, string(text), "```text\n"+strings.Join(want, "\n")+"\n```\n")
}

// FuzzEvents: whatever an event holds, it comes back from the journal's entry and
// from its message.
func FuzzEvents(f *testing.F) {
	f.Add("m1", "m2", "d", "", int64(0), int64(1623046150123456), int64(3), uint16(0))
	f.Add("x.milestone.created", "%2F/", "\x00\u2028", "é", int64(-1), int64(1), int64(-1), uint16(tracbus.AttrText|tracbus.AttrOldText))
	f.Add("", "/", "a/b", "100%", int64(253402300799999999), int64(-62135596800000000), int64(1<<62), uint16(tracbus.AttrOldText))
	f.Fuzz(func(t *testing.T, name, other, text, more string, us1, us2, n int64, null uint16) {
		name, other, text, more = value.Text(name), value.Text(other), value.Text(text), value.Text(more)
		t1, t2 := time.UnixMicro(us1).UTC(), time.UnixMicro(us2).UTC()
		if value.CheckTime(t1) != nil || value.CheckTime(t2) != nil {
			return
		}
		c := tracbus.Change{Env: "e", Time: t1, Author: more, Comment: text, Null: tracbus.Attrs(null) & (tracbus.AttrText | tracbus.AttrOldText)}
		m1, m2 := realms.Milestone{name, t1, time.Time{}, text}, realms.Milestone{other, t2, t1, more}
		c1, c2 := realms.Component{name, text, more}, realms.Component{other, more, text}
		v1, v2 := realms.Version{name, t1, text}, realms.Version{other, time.Time{}, more}
		a1 := realms.Attachment{tracbus.Resource{Realm: "wiki", ID: name}, other, n, t1, text, more}
		a2 := realms.Attachment{tracbus.Resource{Realm: "ticket", ID: other}, name, n + 1, t2, more, text}
		for _, e := range []recorded{
			realms.MilestoneCreated{c, m1}, realms.MilestoneChanged{c, m2, m1}, realms.MilestoneDeleted{c, m2},
			realms.ComponentCreated{c, c1}, realms.ComponentChanged{c, c2, c1}, realms.ComponentDeleted{c, c2},
			realms.VersionCreated{c, v1}, realms.VersionChanged{c, v2, v1}, realms.VersionDeleted{c, v2},
			realms.AttachmentAdded{c, a1}, realms.AttachmentChanged{c, a2, a1}, realms.AttachmentDeleted{c, a2},
		} {
			back, err := realmOf(t, e).Event(e.Entry())
			require.NoError(t, err, "%#v", e)
			require.Equal(t, e, back)

			payload, err := e.Payload()
			require.NoError(t, err)
			kept := bytes.Clone(payload)
			channel, sent, err := tracbus.PublisherConfig{}.Encode(e)
			require.NoError(t, err)
			require.Equal(t, string(kept), sent)
			back, err = realms.Decode("trac", channel, sent)
			require.NoError(t, err, "%s %s", channel, sent)
			require.Equal(t, e.Resource(), back.Resource())
			require.Equal(t, e.Kind(), back.Kind())
			again, same, err := tracbus.PublisherConfig{}.Encode(back)
			require.NoError(t, err)
			require.Equal(t, channel+" "+sent, again+" "+same)
		}
	})
}
