package trac_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// A ticket with four changes, as Trac's own tests have one
// (trac/ticket/tests/model.py, TicketCommentDeleteTestCase).
func commented() []ticketStep {
	return []ticketStep{
		step("joe", "ticket 1 created at t0 by joe", create(tracbus.Fields{
			"summary": "Test", "owner": "john", "keywords": "a, b, c", "note": "initial", "box": "", "size": "",
		})),
		step("jack", `ticket 1 changed at t1 by jack "Comment 1" note: "initial" > "change 1"`,
			trac.TicketEdit{ID: 1, Comment: "Comment 1", Set: tracbus.Fields{"note": "change 1"}}),
		step("john", `ticket 1 changed at t2 by john "Comment 2" note: "change 1" > "change 2" owner: "john" > "jack"`,
			trac.TicketEdit{ID: 1, Comment: "Comment 2", ReplyTo: 1, Set: tracbus.Fields{"owner": "jack", "note": "change 2"}}),
		step("jim", `ticket 1 changed at t3 by jim keywords: "a, b, c" > "" note: "change 2" > "change 3"`,
			trac.TicketEdit{ID: 1, Set: tracbus.Fields{"keywords": "", "note": "change 3"}}),
		step("amy", `ticket 1 changed at t4 by amy "Comment 4" keywords: "" > "a" note: "change 3" > "change 4"`,
			trac.TicketEdit{ID: 1, Comment: "Comment 4", Set: tracbus.Fields{"keywords": "a", "note": "change 4"}}),
	}
}

// testWhatIsWrittenOfOldChanges compares rows with those that Trac would have
// left; the functions are those of trac/ticket/model.py, version 1.6.
func testWhatIsWrittenOfOldChanges(t *testing.T, r *ticketRig) {
	empty := []string{"custom 1 box=NULL", "custom 1 note=change 4", "custom 1 size=NULL"}
	rows := [][]string{
		{"change 1 t1 jack comment: 1 > Comment 1", "change 1 t1 jack note: initial > change 1"},
		{"change 1 t2 john comment: 1.2 > Comment 2", "change 1 t2 john note: change 1 > change 2", "change 1 t2 john owner: john > jack"},
		{"change 1 t3 jim comment: 3 > ", "change 1 t3 jim keywords: a, b, c > NULL", "change 1 t3 jim note: change 2 > change 3"},
		{"change 1 t4 amy comment: 4 > Comment 4", "change 1 t4 amy keywords: NULL > a", "change 1 t4 amy note: change 3 > change 4"},
	}
	ticketAt := func(changed, owner, keywords string) string {
		if keywords != "" {
			keywords = " keywords=" + keywords
		}
		return "ticket 1 time=t0 changetime=" + changed + " summary=Test reporter=joe owner=" + owner + " status=new" + keywords
	}
	tests := []struct {
		name  string
		steps []ticketStep
		want  [][]string
	}{
		{
			// Ticket.modify_comment: what was, who edited and when, in _comment0,
			// _comment1 … at the time of the change.
			"comments are edited",
			[]ticketStep{
				step("sue", `ticket 1 comment_edited at t5 by sue "New 2" instead of "Comment 2" made at t2`, trac.CommentEdit{ID: 1, CommentNumber: 2, Comment: "New 2"}),
				step("sue", "nothing", trac.CommentEdit{ID: 1, CommentNumber: 2, Comment: "New 2"}),
				step("joe", `ticket 1 comment_edited at t7 by joe instead of "New 2" made at t2`, trac.CommentEdit{ID: 1, CommentNumber: 2, Comment: ""}),
				step("joe", `ticket 1 comment_edited at t8 by joe "Now" instead of "" made at t3`, trac.CommentEdit{ID: 1, CommentNumber: 3, Comment: "Now"}),
			},
			[][]string{
				{ticketAt("t8", "jack", "a")}, empty, rows[0],
				{"change 1 t2 sue _comment0: Comment 2 > t5", "change 1 t2 joe _comment1: New 2 > t7", "change 1 t2 john comment: 1.2 > "},
				rows[1][1:],
				{"change 1 t3 joe _comment0:  > t8", "change 1 t3 jim comment: 3 > Now"}, rows[2][1:], rows[3],
			},
		},
		{
			// The first edit of two is gone: the next one is still the third.
			"a comment is edited twice in one transaction, one edit is missing",
			[]ticketStep{
				step("sue", `ticket 1 comment_edited at t5+1 by sue "C" instead of "B" made at t1`,
					trac.CommentEdit{ID: 1, CommentNumber: 1, Comment: "B"}, trac.CommentEdit{ID: 1, CommentNumber: 1, Comment: "C"}),
				step("sql", "nothing", sqlModel("DELETE FROM ticket_change WHERE field = '_comment0'")),
				step("sue", `ticket 1 comment_edited at t7 by sue "D" instead of "C" made at t1`, trac.CommentEdit{ID: 1, CommentNumber: 1, Comment: "D"}),
			},
			[][]string{
				{ticketAt("t7", "jack", "a")}, empty,
				{"change 1 t1 sue _comment1: B > t5+1", "change 1 t1 sue _comment2: C > t7", "change 1 t1 jack comment: 1 > D"},
				rows[0][1:], rows[1], rows[2], rows[3],
			},
		},
		{
			// modify_comment adds a comment by the author of the fields' rows.
			// _find_change counts where a number is missing.
			"a change without a comment, as old Tracs wrote",
			[]ticketStep{
				step("sql", "nothing", sqlModel("DELETE FROM ticket_change WHERE oldvalue = '1.2' AND field = 'comment'")),
				step("sue", `ticket 1 comment_edited at t6 by sue "New" instead of "" made at t2`, trac.CommentEdit{ID: 1, CommentNumber: 2, Comment: "New"}),
			},
			[][]string{
				{ticketAt("t6", "jack", "a")}, empty, rows[0],
				{"change 1 t2 sue _comment0:  > t6", "change 1 t2 john comment:  > New"}, rows[1][1:], rows[2], rows[3],
			},
		},
		{
			// Ticket.delete_change of the last one: fields get back what they were.
			"the last change is deleted",
			[]ticketStep{step("sue", `ticket 1 change_deleted at t5 by sue "Comment 4" made at t4 keywords: "" > "a" note: "change 3" > "change 4"`,
				trac.ChangeDelete{ID: 1, CommentNumber: 4})},
			[][]string{
				{ticketAt("t5", "jack", "")}, {empty[0], "custom 1 note=change 3", empty[2]}, rows[0], rows[1], rows[2],
			},
		},
		{
			// Of an earlier one: the next change of each field is told the old
			// value, and a field without one gets it back.
			"a change amid others is deleted, and its edited comment",
			[]ticketStep{
				step("sue", `ticket 1 comment_edited at t5 by sue "New" instead of "Comment 2" made at t2`, trac.CommentEdit{ID: 1, CommentNumber: 2, Comment: "New"}),
				step("sue", `ticket 1 change_deleted at t6 by sue "New" made at t2 note: "change 1" > "change 2" owner: "john" > "jack"`,
					trac.ChangeDelete{ID: 1, CommentNumber: 2}),
			},
			[][]string{
				{ticketAt("t6", "john", "a")}, empty, rows[0],
				{rows[2][0], rows[2][1], "change 1 t3 jim note: change 1 > change 3"}, rows[3],
			},
		},
		{
			// The SQL comparison with NULL: the next change of keywords is not told.
			"a change to nothing is deleted",
			[]ticketStep{step("sue", `ticket 1 change_deleted at t5 by sue made at t3 keywords: "a, b, c" > "" note: "change 2" > "change 3"`,
				trac.ChangeDelete{ID: 1, CommentNumber: 3})},
			[][]string{
				{ticketAt("t5", "jack", "a")}, empty, rows[0], rows[1],
				{rows[3][0], rows[3][1], "change 1 t4 amy note: change 2 > change 4"},
			},
		},
		{
			// Where the next change does not follow on this one, it stays.
			"a change that does not fit the next is deleted",
			[]ticketStep{
				step("sql", "nothing", sqlModel("UPDATE ticket_change SET oldvalue = 'else' WHERE newvalue = 'change 2'")),
				step("sue", `ticket 1 change_deleted at t6 by sue "Comment 1" made at t1 note: "initial" > "change 1"`, trac.ChangeDelete{ID: 1, CommentNumber: 1}),
			},
			[][]string{
				{ticketAt("t6", "jack", "a")}, empty,
				{rows[1][0], "change 1 t2 john note: else > change 2", rows[1][2]}, rows[2], rows[3],
			},
		},
		{
			"a change is undone, and a new one made in the same transaction",
			[]ticketStep{
				step("sue", `ticket 1 changed at t5+1 by sue keywords: "" > "z"`, trac.ChangeDelete{ID: 1, CommentNumber: 4}, trac.TicketEdit{ID: 1, Set: tracbus.Fields{"keywords": "z"}}),
			},
			[][]string{
				{ticketAt("t5+1", "jack", "z")}, {empty[0], "custom 1 note=change 3", empty[2]}, rows[0], rows[1], rows[2],
				{"change 1 t5+1 sue comment: 4 > ", "change 1 t5+1 sue keywords: NULL > z"},
			},
		},
	}
	for _, test := range tests {
		r.empty()
		for i, step := range append(commented(), test.steps...) {
			event := r.save(step.author, step.models...)
			assert.Equal(t, step.event, tellTicket(r, event), "%s: step %d", test.name, i)
			r.checkState(event)
		}
		assert.Equal(t, slices.Concat(test.want...), r.rows(), test.name)
	}
}

// testAChangeOfAFieldThatIsGone deletes a change of a custom field that is not
// defined any more: its row gets back what it was (Trac's ticket 10858).
func testAChangeOfAFieldThatIsGone(t *testing.T, r *ticketRig) {
	for _, step := range commented() {
		r.save(step.author, step.models...)
	}
	r.open([]tracbus.JournalRealm{&trac.Tickets{}})
	event := r.save("sue", trac.ChangeDelete{ID: 1, CommentNumber: 4})
	assert.Equal(t, `ticket 1 change_deleted at t5 by sue "Comment 4" made at t4 keywords: "" > "a" note: "change 3" > "change 4"`,
		tellTicket(r, event))
	assert.Contains(t, r.rows(), "custom 1 note=change 3")
	assert.NotContains(t, r.load(1), "note")
}

func testOldChangesThatFail(t *testing.T, r *ticketRig) {
	for _, step := range commented() {
		r.save(step.author, step.models...)
	}
	before := r.rows()
	for want, m := range map[string]tracbus.Model{
		"comment 5: does not exist":                                  trac.CommentEdit{ID: 1, CommentNumber: 5, Comment: "x"},
		"comment 0: does not exist":                                  trac.CommentEdit{ID: 1, CommentNumber: 0, Comment: "x"},
		"comment -1: does not exist":                                 trac.CommentEdit{ID: 1, CommentNumber: -1, Comment: "x"},
		"comment 1: does not exist":                                  trac.CommentEdit{ID: 2, CommentNumber: 1, Comment: "x"},
		"change 1: expected a ChangeDelete to be deleted, not saved": trac.ChangeDelete{ID: 1, CommentNumber: 1},
	} {
		err := r.fails(m)
		assert.ErrorContains(t, err, want)
		assert.Equal(t, strings.Contains(want, "exist"), errors.Is(err, tracbus.ErrNotFound))
	}
	for want, m := range map[string]tracbus.Model{
		"change 5: does not exist":                              trac.ChangeDelete{ID: 1, CommentNumber: 5},
		"change 1: does not exist":                              trac.ChangeDelete{ID: 17, CommentNumber: 1},
		"comment 1: expected a ChangeDelete, got a CommentEdit": trac.CommentEdit{ID: 1, CommentNumber: 1, Comment: "x"},
	} {
		err := r.update("joe", func(ctx context.Context, tx *tracbus.ModelTransaction) error { return tx.Delete(ctx, m) })
		assert.ErrorContains(t, err, want)
	}
	assert.Equal(t, before, r.rows())
}
