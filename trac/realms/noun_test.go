package realms_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac/realms"
)

// recorded is an event of this package.
type recorded interface {
	tracbus.Recordable
	tracbus.Payloader
}

var at = time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)

// allRealms are the realms of this package.
func allRealms() []tracbus.JournalRealm {
	return []tracbus.JournalRealm{realms.Milestones{}, realms.Components{}, realms.Versions{}, realms.Attachments{}}
}

func realmOf(t *testing.T, e tracbus.Event) tracbus.JournalRealm {
	t.Helper()
	for _, r := range allRealms() {
		if r.Realm() == e.Resource().Realm {
			return r
		}
	}
	t.Fatalf("no realm for %T", e)
	return nil
}

// oneOfEach returns events of every type and kind.
func oneOfEach() []recorded {
	c := tracbus.Change{Env: "myenv", TID: 7, Seq: 1, Time: at, Author: "joe", IPNR: "192.0.2.1", Authenticated: true, Comment: "Why"}
	null := c
	null.Null = tracbus.AttrText | tracbus.AttrOldText
	m1, m2 := realms.Milestone{Name: "m1", Due: at, Description: "First"}, realms.Milestone{Name: "m1", Completed: at, Description: "First"}
	m3 := realms.Milestone{Name: "x.version.created"}
	c1, c2 := realms.Component{Name: "core", Owner: "ann", Description: "d"}, realms.Component{Name: "core"}
	c3 := realms.Component{Name: "kernel", Owner: "ann", Description: "d"}
	v1, v2 := realms.Version{Name: "1.0", Time: at, Description: "d"}, realms.Version{Name: "1.0", Description: "d"}
	v3 := realms.Version{Name: "1.0.milestone.deleted", Description: "d"}
	a1 := realms.Attachment{tracbus.TicketResource(17), "crash.log", 123, at, "d", "ann"}
	a2, a3 := a1, a1
	a2.Parent, a2.Filename = tracbus.PageResource("a/b.attachment.created"), "100%/2F.attachment.created"
	a3.Size, a3.Description = 1<<40, ""
	return []recorded{
		realms.MilestoneCreated{c, m1}, realms.MilestoneChanged{c, m2, m1}, realms.MilestoneChanged{c, m3, m1}, realms.MilestoneDeleted{c, m3},
		realms.MilestoneChanged{null, m3, m3}, realms.MilestoneCreated{null, m3},
		realms.ComponentCreated{c, c1}, realms.ComponentChanged{c, c2, c1}, realms.ComponentChanged{c, c3, c1}, realms.ComponentDeleted{null, c2},
		realms.VersionCreated{c, v1}, realms.VersionChanged{c, v2, v1}, realms.VersionChanged{c, v3, v1}, realms.VersionDeleted{c, v3}, realms.VersionChanged{null, v1, realms.Version{Name: "1.0"}},
		realms.AttachmentAdded{c, a1}, realms.AttachmentChanged{c, a2, a1}, realms.AttachmentChanged{null, a3, a1}, realms.AttachmentDeleted{c, a2},
		realms.AttachmentAdded{null, realms.Attachment{Parent: tracbus.PageResource("P"), Filename: "f"}},
	}
}

// TestEventsComeBackFromTheJournal checks what every realm must keep: its events
// are the same after the journal has kept them as entries.
func TestEventsComeBackFromTheJournal(t *testing.T) {
	for _, e := range oneOfEach() {
		entry := e.Entry()
		assert.Equal(t, e.Resource(), entry.Resource)
		assert.Equal(t, e.Kind(), entry.Kind)
		back, err := realmOf(t, e).Event(entry)
		require.NoError(t, err, "%#v", e)
		assert.Equal(t, e, back)
		assert.Equal(t, tracbus.Change{Env: "x"}, e.WithChange(tracbus.Change{Env: "x"}).About())
	}
}

// TestWhatAnEntryHas has the rows of the journal for a change: each field once, and
// none that the id says already.
func TestWhatAnEntryHas(t *testing.T) {
	type f = tracbus.Fields
	due := realms.Milestone{Name: "m1", Due: at}
	file := realms.Attachment{Parent: tracbus.TicketResource(17), Filename: "f", Author: "ann", Time: at}
	moved := file
	moved.Parent = tracbus.TicketResource(18)
	for name, test := range map[string]struct {
		event           recorded
		id              string
		kind            tracbus.Kind
		state, new, old f
	}{
		"created": {
			realms.MilestoneCreated{Milestone: due}, "m1", "created",
			f{"due": at, "completed": nil, "description": ""}, nil, nil,
		},
		"changed": {
			realms.MilestoneChanged{Milestone: realms.Milestone{Name: "m1", Completed: at}, Old: due}, "m1", "changed",
			f{"description": ""}, f{"due": nil, "completed": at}, f{"due": at, "completed": nil},
		},
		"renamed": {
			realms.MilestoneChanged{Milestone: realms.Milestone{Name: "m2", Due: at}, Old: due}, "m2", "renamed",
			f{"due": at, "completed": nil, "description": ""}, f{"name": "m2"}, f{"name": "m1"},
		},
		"a description that was NULL": {
			realms.ComponentChanged{
				tracbus.Change{Null: tracbus.AttrOldText}, realms.Component{Name: "c", Description: "d"}, realms.Component{Name: "c"},
			}, "c", "changed",
			f{"owner": ""}, f{"description": "d"}, f{"description": nil},
		},
		"a description that is NULL": {
			realms.VersionDeleted{tracbus.Change{Null: tracbus.AttrText}, realms.Version{Name: "1"}}, "1", "deleted",
			f{"time": nil, "description": nil}, nil, nil,
		},
		"moved": {
			realms.AttachmentChanged{Attachment: moved, Old: file}, "ticket/18/f", "moved",
			f{"time": at, "description": "", "size": json.Number("0"), "author": "ann"}, f{"parent_id": "18"}, f{"parent_id": "17"},
		},
	} {
		entry := test.event.Entry()
		assert.Equal(t, test.id, entry.Resource.ID, name)
		assert.Equal(t, test.kind, entry.Kind, name)
		assert.Equal(t, test.state, entry.State, name)
		assert.Equal(t, test.new, entry.New, name)
		assert.Equal(t, test.old, entry.Old, name)
	}
}

// TestEntriesThatAreNone: a realm refuses what its events do not make.
func TestEntriesThatAreNone(t *testing.T) {
	good := realms.MilestoneChanged{Milestone: realms.Milestone{Name: "m2"}, Old: realms.Milestone{Name: "m1"}}
	for want, breach := range map[string]func(*tracbus.Entry){
		`expected the realm "milestone"`:                   func(e *tracbus.Entry) { e.Resource.Realm = "version" },
		`field "due" is missing: expected a time`:          func(e *tracbus.Entry) { delete(e.State, "due") },
		`field "description" is missing: expected a text`:  func(e *tracbus.Entry) { delete(e.State, "description") },
		`field "due": expected a time, found string`:       func(e *tracbus.Entry) { e.State["due"] = "soon" },
		`field "description": expected a text, found bool`: func(e *tracbus.Entry) { e.State["description"] = true },
		`expected a kind that the realm "milestone" has`:   func(e *tracbus.Entry) { e.Kind = "moved" },
		`old field "name": expected a text, found bool`:    func(e *tracbus.Entry) { e.Old["name"] = false },
		`its fields say renamed of milestone m3`:           func(e *tracbus.Entry) { e.New["name"] = "m3" },
		`its fields say changed of milestone m2`:           func(e *tracbus.Entry) { e.Old["name"] = "m2" },
	} {
		e := good.Entry()
		breach(&e)
		_, err := realms.Milestones{}.Event(e)
		require.Error(t, err, want)
		assert.True(t, strings.HasSuffix(err.Error(), want), "%v: expected %s", err, want)
	}
	file := realms.AttachmentDeleted{Attachment: realms.Attachment{Parent: tracbus.TicketResource(1), Filename: "f"}}
	for want, breach := range map[string]func(*tracbus.Entry){
		`"f" is not the id of an attachment: expected <parent realm>/<parent id>/<file name>`: func(e *tracbus.Entry) { e.Resource.ID = "f" },
		`field "size": expected an integer of 64 bits, found "many"`:                          func(e *tracbus.Entry) { e.State["size"] = "many" },
		`field "size" is missing: expected an integer`:                                        func(e *tracbus.Entry) { delete(e.State, "size") },
	} {
		e := file.Entry()
		breach(&e)
		_, err := realms.Attachments{}.Event(e)
		require.Error(t, err, want)
		assert.True(t, strings.HasSuffix(err.Error(), want), "%v: expected %s", err, want)
	}
}

// TestAttachmentIDs: two attachments never have one id, and an id says which
// attachment it is of.
func TestAttachmentIDs(t *testing.T) {
	ids := map[string]bool{}
	for _, parent := range []tracbus.Resource{
		tracbus.TicketResource(17), tracbus.PageResource("a"), tracbus.PageResource("a/b"), tracbus.PageResource("a/b%2Fc"), tracbus.PageResource("a:b"),
		tracbus.PageResource("a/"), realms.MilestoneResource("a/b"), {Realm: "wiki"},
	} {
		for _, filename := range []string{"c", "b/c", "/c", "c/", "%2Fc", "%252Fc", "%/c", "c%", "%25", "2F", "", "\n", "é.txt"} {
			r := realms.AttachmentResource(parent, filename)
			assert.False(t, ids[r.ID], r.ID)
			ids[r.ID] = true
			gotParent, gotName, err := realms.ParseAttachmentID(r.ID)
			require.NoError(t, err, r.ID)
			assert.Equal(t, parent, gotParent, r.ID)
			assert.Equal(t, filename, gotName, r.ID)
		}
	}
	assert.Equal(t, "ticket/17/crash.log", realms.AttachmentResource(tracbus.TicketResource(17), "crash.log").ID)
	assert.Equal(t, "wiki/a/b/100%25%2F.png", realms.AttachmentResource(tracbus.PageResource("a/b"), "100%/.png").ID)
	for _, id := range []string{"", "f", "ticket/17", "ticket/17/%", "ticket/17/%2f", "ticket/17/a%20b"} {
		_, _, err := realms.ParseAttachmentID(id)
		assert.Error(t, err, id)
	}
}
