package tracbustest_test

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/trac/realms"
	"github.com/tracbus/tracbus/tracbustest"
)

var (
	at  = time.Date(2030, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
	who = tracbus.Change{Author: "joe", IPNR: "::1", Authenticated: true, Comment: "why", Time: at}
)

func TestRealmOfTickets(t *testing.T) {
	testkit.NoLeaks(t)
	values := tracbus.Fields{"summary": "It does not start.", "due": at, "votes": json.Number("1.50"), "open": true, "cc": nil, "status": "new"}
	tracbustest.Realm(t, tracbus.Tickets{},
		tracbus.TicketCreated{Change: who, ID: 17, Values: values},
		tracbus.TicketChanged{Change: who, ID: 17, Values: values, Old: tracbus.Fields{"status": "open", "cc": "joe", "votes": 3}},
		tracbus.TicketChanged{Change: who, ID: 17, New: tracbus.Fields{"status": "open"}, Old: tracbus.Fields{"status": "new"}},
		tracbus.TicketCommentEdited{Change: who, ID: 17, CommentTime: at, OldComment: "what"},
		tracbus.TicketChangeDeleted{Change: who, ID: 17, ChangeTime: at, New: tracbus.Fields{"a": "b"}, Old: tracbus.Fields{}},
		tracbus.TicketDeleted{Change: who, ID: 17, Values: values},
	)
}

func TestRealmOfPages(t *testing.T) {
	page := tracbus.WikiPage{Name: "Start/Here", Version: 3, Time: at, Author: "joe", Text: "= Welcome =", Comment: "why"}
	tracbustest.Realm(t, tracbus.Pages{},
		tracbus.WikiPageCreated{Change: who, Page: page},
		tracbus.WikiPageChanged{Change: who, Page: page, OldText: "before"},
		tracbus.WikiPageRenamed{Change: who, Page: page, OldName: "Begin"},
		tracbus.WikiPageVersionDeleted{Change: who, Page: page},
		tracbus.WikiPageCommentEdited{Change: who, Page: page, OldComment: "what"},
		tracbus.WikiPageDeleted{Change: who, Page: page},
	)
}

func TestRealmsOfTrac(t *testing.T) {
	m := realms.Milestone{Name: "1.0", Due: at, Completed: at.Add(time.Hour), Description: "First"}
	tracbustest.Realm(t, realms.Milestones{},
		realms.MilestoneCreated{Change: who, Milestone: m},
		realms.MilestoneChanged{Change: who, Milestone: m, Old: realms.Milestone{Name: "0.9", Description: "Soon"}},
		realms.MilestoneChanged{Change: who, Milestone: m, Old: realms.Milestone{Name: "1.0", Description: "Soon"}},
		realms.MilestoneDeleted{Change: who, Milestone: m},
	)
	c := realms.Component{Name: "engine", Owner: "joe", Description: "What turns"}
	tracbustest.Realm(t, realms.Components{},
		realms.ComponentCreated{Change: who, Component: c},
		realms.ComponentChanged{Change: who, Component: c, Old: realms.Component{Name: "motor"}},
		realms.ComponentChanged{Change: who, Component: c, Old: realms.Component{Name: "engine"}},
		realms.ComponentDeleted{Change: who, Component: c},
	)
	v := realms.Version{Name: "2.0", Time: at, Description: "Second"}
	tracbustest.Realm(t, realms.Versions{},
		realms.VersionCreated{Change: who, Version: v},
		realms.VersionChanged{Change: who, Version: v, Old: realms.Version{Name: "2.0"}},
		realms.VersionDeleted{Change: who, Version: v},
	)
	a := realms.Attachment{Parent: tracbus.TicketResource(17), Filename: "a.png", Size: 5, Time: at, Description: "How it looks", Author: "jim"}
	moved := a
	moved.Parent = tracbus.Resource{Realm: "wiki", ID: "Start"}
	tracbustest.Realm(t, realms.Attachments{},
		realms.AttachmentAdded{Change: who, Attachment: a},
		realms.AttachmentChanged{Change: who, Attachment: a, Old: moved},
		realms.AttachmentDeleted{Change: who, Attachment: a},
	)
}

// note is an event as an author might write it, and notes its realm, which is spoiled in
// one way after the other.
type note struct {
	tracbus.Change
	Name, Text, Before string
	What               tracbus.Kind
	entry              func(note) tracbus.Entry // zero: as it should be
}

func (e note) Resource() tracbus.Resource                { return tracbus.Resource{Realm: "note", ID: e.Name} }
func (e note) Kind() tracbus.Kind                        { return e.What }
func (e note) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }
func (e note) soundEntry() tracbus.Entry {
	made := tracbus.Entry{Resource: e.Resource(), Kind: e.What, Change: e.Change, State: tracbus.Fields{}}
	if e.What == tracbus.KindChanged && e.Text != e.Before {
		made.New, made.Old = tracbus.Fields{"text": e.Text}, tracbus.Fields{"text": e.Before}
	} else {
		made.State["text"] = e.Text
	}
	return made
}

func (e note) Entry() tracbus.Entry {
	if e.entry != nil {
		return e.entry(e)
	}
	return e.soundEntry()
}

func soundNote(e tracbus.Entry) (tracbus.Event, error) {
	text, ok := e.NewState()["text"].(string)
	if !ok {
		return nil, errors.New("no text")
	}
	n := note{Change: e.Change, Name: e.Resource.ID, Text: text, What: e.Kind}
	switch e.Kind {
	case tracbus.KindCreated, tracbus.KindDeleted:
		return n, nil
	case tracbus.KindChanged:
		n.Before = text
		if old, ok := e.Old["text"].(string); ok {
			n.Before = old
		}
		return n, nil
	}
	return nil, errors.New("no such kind")
}

type notes struct {
	name  tracbus.Realm
	event func(tracbus.Entry) (tracbus.Event, error)
}

func (r notes) Realm() tracbus.Realm                         { return r.name }
func (r notes) Event(e tracbus.Entry) (tracbus.Event, error) { return r.event(e) }

// What is sound passes, and each spoiling is found by the case that is about it.
func TestRealmSeesFaults(t *testing.T) {
	examples := func(entry func(note) tracbus.Entry) []tracbus.Event {
		return []tracbus.Event{
			note{Change: who, Name: "a", Text: "one", What: tracbus.KindCreated, entry: entry},
			note{Change: who, Name: "a", Text: "two", Before: "one", What: tracbus.KindChanged, entry: entry},
			note{Change: who, Name: "a", Text: "two", What: tracbus.KindDeleted, entry: entry},
		}
	}
	tracbustest.Realm(t, notes{"note", soundNote}, examples(nil)...)

	spoiledEvent := func(spoil func(note, tracbus.Entry) (tracbus.Event, error)) func(tracbus.Entry) (tracbus.Event, error) {
		return func(e tracbus.Entry) (tracbus.Event, error) {
			made, err := soundNote(e)
			if err != nil {
				return nil, err
			}
			return spoil(made.(note), e)
		}
	}
	for name, spoiled := range map[string]struct {
		event func(tracbus.Entry) (tracbus.Event, error)
		entry func(note) tracbus.Entry
		want  []string
	}{
		"it forgets the old text": {
			event: spoiledEvent(func(n note, _ tracbus.Entry) (tracbus.Event, error) { n.Before = ""; return n, nil }),
			want:  []string{"an event comes back", `.Before was "one"`},
		},
		"it makes a Change of its own": {
			event: spoiledEvent(func(n note, _ tracbus.Entry) (tracbus.Event, error) {
				n.Change.Null = 0
				return n, nil
			}),
			want: []string{"the common part comes back", ".Change.Null was"},
		},
		"it trims": {
			event: spoiledEvent(func(n note, _ tracbus.Entry) (tracbus.Event, error) {
				n.Text = strings.TrimSpace(n.Text)
				return n, nil
			}),
			want: []string{"any text comes back", `" spaces around it\t"`},
		},
		"it panics without fields": {
			event: func(e tracbus.Entry) (tracbus.Event, error) {
				_ = e.NewState()["text"].(string)
				return soundNote(e)
			},
			want: []string{"what it does not know is an error", "panic: interface conversion"},
		},
		"it returns nothing": {
			event: func(e tracbus.Entry) (tracbus.Event, error) {
				if e.Kind == "tracbustest" {
					return nil, nil
				}
				return soundNote(e)
			},
			want: []string{"what it does not know is an error", "it returned nil"},
		},
		"it takes another kind for a deletion": {
			event: func(e tracbus.Entry) (tracbus.Event, error) {
				if e.Kind != tracbus.KindCreated && e.Kind != tracbus.KindChanged {
					e.Kind = tracbus.KindDeleted
				}
				return soundNote(e)
			},
			want: []string{"what it does not know is an error", `of the kind "deleted"`},
		},
		"what is created has its text in New": {
			event: func(e tracbus.Entry) (tracbus.Event, error) {
				if e.Kind == tracbus.KindCreated {
					text, _ := e.New["text"].(string)
					return note{Change: e.Change, Name: e.Resource.ID, Text: text, What: e.Kind, entry: textInNew}, nil
				}
				made, err := soundNote(e)
				if err == nil {
					n := made.(note)
					n.entry = textInNew
					made = n
				}
				return made, err
			},
			entry: textInNew,
			want:  []string{"two changes are one", "State"},
		},
		"the entry is of another resource": {
			event: soundNote,
			entry: func(n note) tracbus.Entry { e := n.soundEntry(); e.Resource.ID = "b"; return e },
			want:  []string{"an event comes back", "the Entry is of note b"},
		},
		"the entry leaves out the text": {
			event: soundNote,
			entry: func(n note) tracbus.Entry {
				e := n.soundEntry()
				maps.DeleteFunc(e.State, func(string, any) bool { return true })
				return e
			},
			want: []string{"an event comes back", "no text"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := testkit.ExpectFailures(t)
			tracbustest.Realm(f, notes{"note", spoiled.event}, examples(spoiled.entry)...)
			f.Want(append(spoiled.want, "contract: ", "why: ", "seen: ")...)
		})
	}
	for name, c := range map[string]struct {
		realm  notes
		events []tracbus.Event
		want   string
	}{
		"no name":       {notes{"Note!", soundNote}, examples(nil), "a letter first"},
		"no events":     {notes{"note", soundNote}, nil, "no event was given"},
		"another realm": {notes{"note", soundNote}, []tracbus.Event{tracbus.TicketCreated{ID: 1}}, `of the realm "ticket"`},
		"a pointer":     {notes{"note", soundNote}, []tracbus.Event{&note{Name: "a", What: tracbus.KindCreated}}, "got a pointer"},
		"no event":      {notes{"note", soundNote}, []tracbus.Event{nil}, "got nil"},
		"WithChange":    {notes{"note", soundNote}, []tracbus.Event{stubborn{note{Name: "a", What: tracbus.KindCreated}}}, "WithChange returns an event whose About is"},
	} {
		t.Run(name, func(t *testing.T) {
			f := testkit.ExpectFailures(t)
			tracbustest.Realm(f, c.realm, c.events...)
			f.Want(c.want)
		})
	}
}

// textInNew keeps what is created among what changed.
func textInNew(n note) tracbus.Entry {
	e := n.soundEntry()
	if n.What == tracbus.KindCreated {
		e.State, e.New = tracbus.Fields{}, tracbus.Fields{"text": n.Text}
	}
	return e
}

// stubborn does not take another Change.
type stubborn struct{ note }

func (e stubborn) WithChange(tracbus.Change) tracbus.Event { return e }

// An error of a realm for a text that it cannot have is said, and is no failure.
func TestRealmMayRefuse(t *testing.T) {
	f := testkit.ExpectFailures(t)
	tracbustest.Realm(f, notes{"note", func(e tracbus.Entry) (tracbus.Event, error) {
		if text := e.NewState().Text("text"); strings.Contains(text, "\n") {
			return nil, errors.New("more than a line")
		}
		return soundNote(e)
	}}, note{Change: who, Name: "a", Text: "one", What: tracbus.KindCreated})
	assert.Empty(t, f.All)
	assert.Contains(t, strings.Join(f.Logs, "\n"), "more than a line")
}
