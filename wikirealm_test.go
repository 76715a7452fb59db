package tracbus

import (
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
