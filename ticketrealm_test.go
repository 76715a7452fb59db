package tracbus

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/store"
)

var _ = []Recordable{TicketCreated{}, TicketChanged{}, TicketDeleted{}, TicketCommentEdited{}, TicketChangeDeleted{}}

// TestTicketsComeBackFromTheJournal makes events of all kinds, also odd ones, and
// takes them apart into rows and together again.
func TestTicketsComeBackFromTheJournal(t *testing.T) {
	r := rand.New(rand.NewPCG(1890, 1))
	for i := range 20_000 {
		made := randomTicketEvent(r)
		entered, err := normalized(made, "", false)
		if err != nil {
			continue // a journal refuses it
		}
		entry := entered.(Recordable).Entry()
		require.Equal(t, entered.Resource(), entry.Resource)
		require.Equal(t, entered.Kind(), entry.Kind)
		require.Equal(t, entered.About(), entry.Change)
		row, err := rowOf(entry)
		require.NoError(t, err)
		kept, err := entryOf(row)
		require.NoError(t, err)
		back, err := Tickets{}.Event(kept)
		require.NoError(t, err, "event %d: %#v", i, entered)
		require.Equal(t, entered, back, "event %d: entry %#v", i, entry)
	}
}

func randomTicketEvent(r *rand.Rand) Event {
	parts := func() Attrs { return Attrs(r.IntN(int(AttrOrigin) << 1)) }
	change := Change{
		Time: randomTime(r), Author: randomName(r), IPNR: "::1",
		Authenticated: r.IntN(2) == 0, Comment: randomName(r), Null: parts(), Absent: parts() & AttrValues,
	}
	id := 1 + r.Int64N(1<<40)
	switch r.IntN(5) {
	case 0:
		return TicketCreated{change, id, randomFields(r)}
	case 1:
		return TicketDeleted{change, id, randomFields(r)}
	case 2:
		return TicketCommentEdited{change, id, randomTime(r), randomName(r)}
	case 3:
		return TicketChangeDeleted{change, id, randomTime(r), randomFields(r), randomFields(r)}
	}
	return TicketChanged{change, id, randomFields(r), randomFields(r), randomFields(r)}
}

func randomFields(r *rand.Rand) Fields {
	if r.IntN(6) == 0 {
		return nil
	}
	f := Fields{}
	for range r.IntN(6) {
		f[randomName(r)] = []any{nil, "", randomName(r), true, false, json.Number("17"), json.Number("-0.5"), randomTime(r)}[r.IntN(8)]
	}
	return f
}

func randomName(r *rand.Rand) string {
	names := []string{"summary", "severity", "", "-", "=", "==", "=-", "=-summary", "=-=summary", "=summary", "-summary", "é\x00\u2028"}
	for _, s := range []string{stateEdited, stateOldComment, stateDeleted, stateLost} {
		names = append(names, s, string(notField)+s, s[1:])
	}
	return names[r.IntN(len(names))]
}

func randomTime(r *rand.Rand) time.Time { return time.UnixMicro(r.Int64N(3) - 1).UTC() }

func TestEntriesThatAreNoTickets(t *testing.T) {
	for _, test := range []struct {
		entry Entry
		want  string
	}{
		{Entry{Resource: Resource{RealmWiki, "Start"}, Kind: KindCreated}, "entry created of wiki Start: expected the realm ticket"},
		{Entry{Resource: Resource{RealmTicket, "x"}, Kind: KindCreated}, "entry created of ticket x: expected a ticket's number"},
		{Entry{Resource: Resource{RealmTicket, "017"}, Kind: KindCreated}, "entry created of ticket 017: expected a ticket's number"},
		{Entry{Resource: Resource{RealmTicket, "0"}, Kind: KindDeleted}, "entry deleted of ticket 0: expected a ticket's number"},
		{Entry{Resource: TicketResource(1), Kind: "renamed"}, "entry renamed of ticket 1: expected a kind of change that tickets have"},
		{Entry{Resource: TicketResource(1), Kind: KindCommentEdited}, "entry comment_edited of ticket 1: expected =edited and =old_comment in its state"},
		{
			Entry{Resource: TicketResource(1), Kind: KindChangeDeleted, State: Fields{stateDeleted: "never"}},
			"entry change_deleted of ticket 1: expected =deleted in its state",
		},
	} {
		event, err := Tickets{}.Event(test.entry)
		assert.Nil(t, event)
		assert.EqualError(t, err, test.want)
	}
}

// TestAnEntryOfATicketKeepsAValueOnce shows what the tables of a journal hold.
func TestAnEntryOfATicketKeepsAValueOnce(t *testing.T) {
	entry := TicketChanged{
		ID:     17,
		Values: Fields{"summary": "Crash", "milestone": "m2"},
		New:    Fields{"milestone": "m2", "colour": ""},
		Old:    Fields{"milestone": "m1", "colour": "red"},
	}.Entry()
	want := Fields{"summary": "Crash", "=-colour": nil}
	assert.Equal(t, fmt.Sprint(want), fmt.Sprint(entry.State))
}

// rowOf returns an event's entry as the journal's tables hold it.
func rowOf(e Entry) (store.Change, error) { return entry.Row(e.plain()) }

// readingTickets is a realm of an application that reads all of an entry.
type readingTickets struct{ Tickets }

// skimming is a listener that has no use for fields that did not change.
type skimming bool

func (s skimming) skims() bool { return bool(s) }

// A realm of an application that embeds Tickets may have an Event that reads the
// fields which did not change: they are left out for this library's realm alone.
func TestOnlyOwnTicketsAreTrimmed(t *testing.T) {
	trims := func(r JournalRealm, s skimmer) bool {
		return (&Journal{realms: []JournalRealm{r}}).trimFor(s) != nil
	}
	assert.True(t, trims(Tickets{}, skimming(true)))
	assert.False(t, trims(Tickets{}, skimming(false)))
	assert.False(t, trims(Tickets{}, nil))
	assert.False(t, trims(readingTickets{}, skimming(true)))
	assert.False(t, trims(Pages{}, skimming(true)), "there is no realm of tickets")
}
