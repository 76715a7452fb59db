package tracbus

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// randomPages makes events as they are after entering a journal: few different
// values, so that what may be equal often is.
type randomPages struct{ *rand.Rand }

func (r randomPages) text() string {
	return []string{"", "a", "b", "two\nlines", "é漢\u2028🐦", "null"}[r.IntN(6)]
}

func (r randomPages) name() string { return "Page " + r.text() }

func (r randomPages) time() time.Time {
	if r.IntN(3) == 0 {
		return time.Time{}
	}
	return time.UnixMicro(r.Int64N(4)*1_000_001 - 1).UTC()
}

func (r randomPages) page() WikiPage {
	return WikiPage{
		Name: r.name(), Version: []int64{0, 1, 2, 1<<63 - 1}[r.IntN(4)], Text: r.text(), Readonly: r.IntN(2) == 0,
		Time: r.time(), Author: r.text(), Comment: r.text(),
	}
}

func (r randomPages) change() Change {
	return Change{
		Env: "test", TID: r.Int64N(9), Seq: r.IntN(3), Time: r.time(), Author: r.text(), IPNR: r.text(),
		Authenticated: r.IntN(2) == 0, Comment: r.text(), Primary: r.IntN(2) == 0,
		Null: Attrs(r.IntN(1 << 9)), Absent: Attrs(r.IntN(1 << 9)),
	}
}

func (r randomPages) event() Recordable {
	c, p := r.change(), r.page()
	switch r.IntN(6) {
	case 0:
		return WikiPageCreated{c, p}
	case 1:
		return WikiPageChanged{c, p, r.text()}
	case 2:
		return WikiPageDeleted{c, p}
	case 3:
		return WikiPageRenamed{c, p, r.name()}
	case 4:
		return WikiPageVersionDeleted{c, p}
	}
	return WikiPageCommentEdited{c, p, r.text()}
}

func TestEveryPageEventComesBackFromItsEntry(t *testing.T) {
	r := randomPages{rand.New(rand.NewPCG(1, 2))}
	for range 20_000 {
		want := r.event()
		entry := want.Entry()
		got, err := Pages{}.Event(entry)
		require.NoError(t, err)
		require.Equal(t, want, got, "by way of %+v", entry)
		require.Equal(t, want.About(), entry.Change)
		for field := range entry.New {
			require.NotContains(t, entry.State, field, "a changed field is kept once")
			require.Contains(t, entry.Old, field)
		}
	}
}

func TestATextIsInTheEntryOnce(t *testing.T) {
	page := WikiPage{Name: "P", Version: 2, Text: "new"}
	state := Fields{"version": json.Number("2"), "time": nil, "author": "", "comment": "", "readonly": false}
	assert.Equal(t, Entry{
		Resource: Resource{RealmWiki, "P"}, Kind: KindChanged,
		State: state, New: Fields{"text": "new"}, Old: Fields{"text": "old"},
	}, WikiPageChanged{Page: page, OldText: "old"}.Entry())

	state["text"] = "new"
	assert.Equal(t, Entry{Resource: Resource{RealmWiki, "P"}, Kind: KindChanged, State: state},
		WikiPageChanged{Page: page, OldText: "new"}.Entry(), "only readonly changed")
}

func TestEntriesThatAreNoPages(t *testing.T) {
	good := func() Entry { return WikiPageChanged{Page: WikiPage{Name: "P"}, OldText: "old"}.Entry() }
	for want, spoil := range map[string]func(*Entry){
		`expected an entry of realm "wiki"`:                    func(e *Entry) { e.Resource.Realm = RealmTicket },
		`expected a kind that pages have`:                      func(e *Entry) { e.Kind = "change_deleted" },
		`field "version": expected a json.Number, found <nil>`: func(e *Entry) { delete(e.State, "version") },
		`field "version": strconv.ParseInt: parsing "1.5": invalid syntax`: func(e *Entry) {
			e.State["version"] = json.Number("1.5")
		},
		`field "time": expected a time.Time, found string`: func(e *Entry) { e.State["time"] = "now" },
		`field "text": expected a string, found bool`:      func(e *Entry) { e.New["text"] = true },
		`field "text": expected a string, found <nil>`:     func(e *Entry) { e.Old["text"] = nil },
	} {
		entry := good()
		spoil(&entry)
		e, err := Pages{}.Event(entry)
		assert.Nil(t, e)
		assert.EqualError(t, err, fmt.Sprintf("%s %s: %s", entry.Kind, entry.Resource, want))
	}
}

// TestPagesWithoutVersions: a tracker that keeps pages, and no versions of them, says which page
// it is, its text, and who and when of the change. What is left is filled in by one rule under all
// kinds, and not at all if the event says that nobody knows it.
func TestPagesWithoutVersions(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	earlier := at.Add(-time.Hour)
	said := Change{Author: "joe", Time: at}
	unknown := said
	unknown.Null = AttrTime | AttrAuthor
	page := WikiPage{Name: "A", Text: "x"}
	const filled = `"version":null,"time":"2020-01-02T03:04:05+00:00","author":"joe","text":"x","comment":"","readonly":0`
	for name, test := range map[string]struct {
		event Event
		want  string
	}{
		"created":         {WikiPageCreated{Change: said, Page: page}, filled},
		"changed":         {WikiPageChanged{Change: said, Page: page}, filled + `,"old_text":""`},
		"deleted":         {WikiPageDeleted{Change: said, Page: page}, filled},
		"renamed":         {WikiPageRenamed{Change: said, Page: page, OldName: "B"}, filled + `,"old_name":"B"`},
		"version deleted": {WikiPageVersionDeleted{Change: said, Page: page}, filled},
		"comment edited":  {WikiPageCommentEdited{Change: said, Page: page}, filled + `,"old_comment":""`},

		"created without a text": {WikiPageCreated{Change: said, Page: WikiPage{Name: "A"}}, `"version":null,"time":"2020-01-02T03:04:05+00:00","author":"joe","text":"","comment":"","readonly":0`},
		"Trac's version 0":       {WikiPageChanged{Change: said, Page: WikiPage{Name: "A", Readonly: true}}, `"version":0,"time":"2020-01-02T03:04:05+00:00","author":"joe","text":"","comment":"","readonly":1,"old_text":""`},
		"who is said, and when":  {WikiPageDeleted{Change: said, Page: WikiPage{Name: "A", Version: 3, Time: earlier, Author: "jane"}}, `"version":3,"time":"2020-01-02T02:04:05+00:00","author":"jane","text":"","comment":"","readonly":0`},
		"when, and that it was nobody": {WikiPageDeleted{Change: said, Page: WikiPage{Name: "A", Version: 3, Time: earlier}},
			`"version":3,"time":"2020-01-02T02:04:05+00:00","author":"","text":"","comment":"","readonly":0`},
		"who only":        {WikiPageRenamed{Change: said, Page: WikiPage{Name: "A", Version: 3, Author: "jane"}, OldName: "B"}, `"version":3,"time":"2020-01-02T03:04:05+00:00","author":"jane","text":"","comment":"","readonly":0,"old_name":"B"`},
		"nobody knows":    {WikiPageDeleted{Change: unknown, Page: page}, `"version":null,"time":null,"author":null,"text":"x","comment":"","readonly":0`},
		"a comment of it": {WikiPageDeleted{Change: Change{Author: "joe", Time: at, Comment: "why it went"}, Page: page}, filled},
	} {
		t.Run(name, func(t *testing.T) {
			bus := NewBus("test")
			got := make(chan Event, 1)
			On(bus, Primary, func(_ context.Context, e Event) error { got <- e; return nil })
			require.NoError(t, bus.Notify(test.event))
			e := <-got
			_, payload, err := PublisherConfig{}.Encode(e)
			require.NoError(t, err)
			assert.Equal(t, `{"name":"A",`+test.want+`}`, payload)
			entry := e.(Recordable).Entry()
			back, err := Pages{}.Event(entry)
			require.NoError(t, err)
			assert.Equal(t, e, back, "from the journal it comes as it was told")
			require.NoError(t, bus.Close(t.Context()))
		})
	}
}
