package trac_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

func testTicketEditsThatFail(t *testing.T, r *ticketRig) {
	seen := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	r.save("joe", create(tracbus.Fields{"summary": "Crash"}))
	for _, test := range []struct {
		edit tracbus.Model
		want string
	}{
		{trac.TicketEdit{ID: 2}, "does not exist"},
		{trac.TicketEdit{ID: -1}, "does not exist"},
		{trac.TicketEdit{ID: 1 << 40, Comment: "x"}, "does not exist"},
		{trac.TicketEdit{ID: 1, Set: tracbus.Fields{"colour": "red"}}, `field "colour": there is none of that name; expected one of ` +
			"area, box, cc, component, description, due, keywords, milestone, note, owner, priority, reporter, resolution, " +
			"severity, size, status, summary, type, version"},
		{trac.TicketEdit{ID: 1, Set: tracbus.Fields{"time": seen}}, `field "time": it cannot be set; expected another field`},
		{trac.TicketEdit{ID: 1, Set: tracbus.Fields{"changetime": nil}}, `field "changetime": it cannot be set; expected another field`},
		{create(tracbus.Fields{"id": "3"}), `field "id": it cannot be set; expected another field`},
		{trac.TicketEdit{ID: 1, Set: tracbus.Fields{"summary": 17}}, `field "summary": value of type int: expected nil or a string`},
		{trac.TicketEdit{ID: 1, Set: tracbus.Fields{"box": true}}, `field "box": value of type bool: expected nil or a string`},
		{create(tracbus.Fields{"milestone": seen}), `field "milestone": value of type time.Time: expected nil or a string`},
		{create(tracbus.Fields{"due": "2020-01-02"}), `field "due": value "2020-01-02": expected nil or a time.Time`},
		{create(tracbus.Fields{"due": json.Number("1")}), `field "due": value of type json.Number: expected nil or a time.Time`},
		{create(tracbus.Fields{"due": time.Time{}.AddDate(-1, 0, 0)}), `field "due": time in year 0: expected a year from 1 to 9999`},
		{trac.TicketEdit{ID: 1, Comment: "x", ReplyTo: -2}, "ReplyTo is -2: expected a comment's number, 0 or -1"},
		{trac.TicketEdit{Set: tracbus.Fields{"summary": "Crush"}}, "a TicketEdit without ID: expected the ticket's number, or a TicketCreate"},
		{trac.TicketEdit{ID: 1, Comment: "x", Base: seen}, `changed by "somebody" at t0, and not at ` +
			"2020-01-02T03:04:05.000006Z as expected: changed by somebody else meanwhile"},
	} {
		err := r.fails(test.edit)
		assert.Contains(t, r.namedIn(err.Error()), test.want)
		switch {
		case strings.Contains(test.want, "does not exist"):
			assert.ErrorIs(t, err, tracbus.ErrNotFound)
		case strings.Contains(test.want, "meanwhile"):
			assert.ErrorIs(t, err, tracbus.ErrConflict)
		}
	}
	if r.dialect == tracbus.PostgreSQL {
		assert.ErrorContains(t, r.fails(create(tracbus.Fields{"note": "\x00"})), `field note "\x00": it has the character U+0000`)
		assert.ErrorContains(t, r.fails(trac.TicketEdit{ID: 1, Comment: "\x00"}), `comment "\x00": it has the character U+0000`)
	}
	assert.Len(t, r.rows(), 3)
}

// namedIn names the times in a text.
func (r *ticketRig) namedIn(text string) string {
	for us, name := range r.times {
		text = strings.ReplaceAll(text, time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z"), name)
	}
	return text
}

// testWhoeverIsLateIsTold is Trac's mid-air collision (trac/ticket/web_ui.py,
// _validate_ticket).
func testWhoeverIsLateIsTold(t *testing.T, r *ticketRig) {
	r.save("joe", create(tracbus.Fields{"summary": "Crash"}))
	seen, _ := r.load(1).Time("changetime")
	r.save("amy", trac.TicketEdit{ID: 1, Comment: "Me first", Base: seen.In(time.FixedZone("", 3600))})
	err := r.fails(trac.TicketEdit{ID: 1, Comment: "And me", Base: seen})
	assert.ErrorIs(t, err, tracbus.ErrConflict)
	assert.Contains(t, r.namedIn(err.Error()), `changed by "amy" at t1, and not at t0 as expected: changed by somebody else meanwhile`)
	err = r.update("joe", func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		return tx.Delete(ctx, trac.TicketEdit{ID: 1, Base: seen})
	})
	assert.ErrorIs(t, err, tracbus.ErrConflict)

	err = r.update("joe", func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		told := tracbus.TicketChanged{ID: 1, Values: r.load(1), Old: tracbus.Fields{"owner": "amy"}}
		return errors.Join(tx.Record(ctx, told), tx.Save(ctx, trac.TicketEdit{ID: 1, Comment: "And me", Base: seen}))
	})
	assert.ErrorIs(t, err, tracbus.ErrConflict, "although the transaction has told of the ticket")

	seen, _ = r.load(1).Time("changetime")
	r.save("joe", trac.TicketEdit{ID: 1, Comment: "Now", Base: seen}, trac.TicketEdit{ID: 1, Set: tracbus.Fields{"owner": "joe"}, Base: seen})
	assert.Equal(t, "joe", r.load(1)["owner"])
}

func testADeletedTicketLeavesNoRow(t *testing.T, r *ticketRig) {
	r.save("joe", create(tracbus.Fields{"summary": "Crash", "milestone": "m1"}))
	r.save("joe", create(tracbus.Fields{"summary": "Crush"}))
	r.save("amy", trac.TicketEdit{ID: 1, Comment: "Hm"})
	r.save("amy", trac.TicketEdit{ID: 2, Comment: "Hm"})
	r.exec("INSERT INTO attachment (type, id, filename) VALUES ('ticket', '1', 'a'), ('ticket', '2', 'a'), ('wiki', '1', 'a')")
	want := r.load(1)
	var event tracbus.Event
	require.NoError(t, r.update("sue", func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		err := tx.Delete(ctx, trac.TicketEdit{ID: 1, Comment: "Spam"})
		event = r.pending(tx, tracbus.TicketResource(1))
		return err
	}))
	assert.Equal(t, "ticket 1 deleted at t4 by sue \"Spam\"", tellTicket(r, event))
	assert.Equal(t, want, event.(tracbus.TicketDeleted).Values)
	assert.Equal(t, []string{
		"ticket 2 time=t1 changetime=t3 summary=Crush reporter=joe status=new",
		"custom 2 box=0", "custom 2 size=large",
		"change 2 t3 amy comment: 1 > Hm",
	}, r.rows())
	assert.Equal(t, [][]string{{"ticket", "2"}, {"wiki", "1"}}, r.read("SELECT type, id FROM attachment ORDER BY type"))

	for want, edit := range map[string]trac.TicketEdit{
		"does not exist": {ID: 1},
		"delete with the fields map[]: expected ID, and neither Set nor ReplyTo":          {},
		"delete with the fields map[owner:joe]: expected ID, and neither Set nor ReplyTo": {ID: 2, Set: tracbus.Fields{"owner": "joe"}},
	} {
		err := r.update("sue", func(ctx context.Context, tx *tracbus.ModelTransaction) error { return tx.Delete(ctx, edit) })
		assert.ErrorContains(t, err, want)
	}
}

// testTicketsOfOneAfterTheOther has several change one ticket at once: each sees
// what the one before it wrote, and the numbers have no gap.
func testTicketsOfOneAfterTheOther(t *testing.T, r *ticketRig) {
	r.save("joe", create(tracbus.Fields{"summary": "0"}))
	const writers, each = 4, 10
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				summary := fmt.Sprint(w*each + i + 1)
				_, err := r.journal.Update(t.Context(), tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
					return tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"summary": summary}})
				})
				assert.NoError(t, err)
			}
		})
	}
	group.Wait()
	was := "0"
	for _, row := range r.read("SELECT oldvalue, newvalue FROM ticket_change WHERE field = 'summary' ORDER BY time") {
		assert.Equal(t, was, row[0])
		was = row[1]
	}
	numbers := r.read("SELECT oldvalue FROM ticket_change WHERE field = 'comment' ORDER BY time")
	assert.Len(t, numbers, writers*each)
	for i, row := range numbers {
		assert.Equal(t, fmt.Sprint(i+1), row[0])
	}
}
