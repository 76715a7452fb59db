package trac_test

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

var _ = []tracbus.Model{trac.TicketCreate{}, trac.TicketEdit{}, trac.CommentEdit{}, trac.ChangeDelete{}}

// TestTicketsInTracsTables runs each test on each database.
func TestTicketsInTracsTables(t *testing.T) {
	tests := []struct {
		name string
		run  func(*testing.T, *ticketRig)
	}{
		{"WhatATicketEditWrites", testWhatATicketEditWrites},
		{"TicketsKeepEveryCharacter", testTicketsKeepEveryCharacter},
		{"TicketEditsThatFail", testTicketEditsThatFail},
		{"WhoeverIsLateIsTold", testWhoeverIsLateIsTold},
		{"ADeletedTicketLeavesNoRow", testADeletedTicketLeavesNoRow},
		{"TicketsOfOneAfterTheOther", testTicketsOfOneAfterTheOther},
		{"WhatIsWrittenOfOldChanges", testWhatIsWrittenOfOldChanges},
		{"AChangeOfAFieldThatIsGone", testAChangeOfAFieldThatIsGone},
		{"OldChangesThatFail", testOldChangesThatFail},
		{"ANewCommentGetsAFreeNumber", testANewCommentGetsAFreeNumber},
		{"TwoCommentsOfOneNumber", testTwoCommentsOfOneNumber},
		{"AnOldViewOfTheComments", testAnOldViewOfTheComments},
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) { test.run(t, newTicketRig(t, s, testTicketRealm())) })
		}
	})
}

func testTicketRealm() []tracbus.JournalRealm {
	return []tracbus.JournalRealm{trac.Tickets{CustomFields: []tracbus.CustomField{
		{Name: "area", Type: "textarea"},
		{Name: "box", Type: "checkbox", Default: "0"},
		{Name: "due", Type: "time", Format: "datetime"},
		{Name: "size", Type: "select", Options: []string{"small", "large"}, Default: "1"},
		{Name: "note", Type: "text"},
	}}}
}

func create(set tracbus.Fields) trac.TicketCreate { return trac.TicketCreate{Set: set} }

// testWhatATicketEditWrites compares rows with what Trac's own model would have
// written; the functions are those of trac/ticket/model.py, version 1.6.
func testWhatATicketEditWrites(t *testing.T, r *ticketRig) {
	due := time.Date(2021, 6, 7, 8, 9, 10, 123456000, time.FixedZone("", 7200))
	crash := create(tracbus.Fields{"summary": "Crash"})
	plain := []string{
		"custom 1 box=0", "custom 1 size=large",
	}
	tests := []struct {
		name  string
		steps []ticketStep
		want  []string
	}{
		{
			// Ticket.insert; status and reporter are what the page adds
			// (trac/ticket/web_ui.py and the workflow's "create"). The default 1
			// of a select is its second option (_custom_field_default).
			"a new ticket",
			[]ticketStep{step("joe", "ticket 1 created at t0 by joe", crash)},
			append([]string{"ticket 1 time=t0 changetime=t0 summary=Crash reporter=joe status=new"}, plain...),
		},
		{
			// The page takes the author as it does every other value (web_ui.py,
			// _process_newticket_request, and __setitem__).
			"the reporter is the author without spaces around",
			[]ticketStep{step(" joe\u3000", "ticket 1 created at t0 by  joe\u3000", crash)},
			append([]string{"ticket 1 time=t0 changetime=t0 summary=Crash reporter=joe status=new"}, plain...),
		},
		{
			// Values as __setitem__ takes them: stripped, but not a textarea. cc by
			// _fixup_cc_list. Empty is NULL (_to_db_types), also in a row of
			// ticket_custom, which every field that was set gets. A time has 18
			// digits (_datetime_to_db_str).
			"a new ticket with all kinds of values",
			[]ticketStep{step("joe", "ticket 1 created at t0 by joe", create(tracbus.Fields{
				"summary": " \u3000Crash\x1f ", "description": " as is\r\n ", "cc": " a,b;;c a\u00a0d ", "reporter": nil, "status": "",
				"keywords": " ", "area": " as is ", "due": due, "note": "", "size": "huge",
			}))},
			[]string{
				"ticket 1 time=t0 changetime=t0 summary=Crash description= as is\r\n  cc=a, b, c, d",
				"custom 1 area= as is ", "custom 1 box=0", "custom 1 due=001623046150123456", "custom 1 note=NULL", "custom 1 size=huge",
			},
		},
		{
			// Ticket._datetime_to_db_str: a sign instead of a digit.
			"a time before 1970",
			[]ticketStep{step("joe", "ticket 1 created at t0 by joe", create(tracbus.Fields{"due": time.UnixMicro(-5)}))},
			[]string{
				"ticket 1 time=t0 changetime=t0 reporter=joe status=new",
				"custom 1 box=0", "custom 1 due=-0000000000000005", "custom 1 size=large",
			},
		},
		{
			// Ticket.save_changes: a row for each field, and always one for the
			// comment with its number, empty or not.
			"fields change",
			[]ticketStep{
				step("joe", "ticket 1 created at t0 by joe", crash),
				step("amy", `ticket 1 changed at t1 by amy due: <nil> > "2021-06-07T06:09:10.123456Z" `+
					`milestone: "" > "m1" size: "large" > "" summary: "Crash" > "Crash on start"`,
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{
						"milestone": " m1 ", "summary": "Crash on start", "size": nil, "due": due,
						"status": "new", "owner": nil, "keywords": "",
					}}),
			},
			[]string{
				"ticket 1 time=t0 changetime=t1 summary=Crash on start reporter=joe status=new milestone=m1",
				"custom 1 box=0", "custom 1 due=001623046150123456", "custom 1 size=NULL",
				"change 1 t1 amy comment: 1 > ",
				"change 1 t1 amy due: NULL > 001623046150123456",
				"change 1 t1 amy milestone: NULL > m1",
				"change 1 t1 amy size: large > NULL",
				"change 1 t1 amy summary: Crash > Crash on start",
			},
		},
		{
			"comments have numbers, and say what they reply to",
			[]ticketStep{
				step("joe", "ticket 1 created at t0 by joe", crash),
				step("amy", `ticket 1 changed at t1 by amy " Why? "`, trac.TicketEdit{ID: 1, Comment: " Why? "}),
				step("joe", `ticket 1 changed at t2 by joe "So." owner: "" > "joe"`,
					trac.TicketEdit{ID: 1, Comment: "So.", ReplyTo: 1, Set: tracbus.Fields{"owner": "joe"}}),
				step("sue", `ticket 1 changed at t3 by sue "Oh"`, trac.TicketEdit{ID: 1, Comment: "Oh", ReplyTo: -1}),
			},
			append(append([]string{"ticket 1 time=t0 changetime=t3 summary=Crash reporter=joe owner=joe status=new"}, plain...),
				"change 1 t1 amy comment: 1 >  Why? ",
				"change 1 t2 joe comment: 1.2 > So.",
				"change 1 t2 joe owner: NULL > joe",
				"change 1 t3 sue comment: description.3 > Oh",
			),
		},
		{
			// save_changes: "Not modified". The comment has a zero-width space.
			"nothing changes",
			[]ticketStep{
				step("joe", "ticket 1 created at t0 by joe", crash),
				step("amy", "nothing", trac.TicketEdit{ID: 1}),
				step("amy", "nothing", trac.TicketEdit{ID: 1, Comment: " \u200b\n", Set: tracbus.Fields{
					"summary": "Crash ", "box": "0", "due": nil, "note": nil, "area": "", "severity": "", "milestone": nil,
				}}),
			},
			append([]string{"ticket 1 time=t0 changetime=t0 summary=Crash reporter=joe status=new"}, plain...),
		},
		{
			// save_changes: a custom field gets the row that it has not, without a
			// row in ticket_change where its value is the default (since 1.4).
			"a field without a row, as it was defined later",
			[]ticketStep{
				step("joe", "ticket 1 created at t0 by joe", crash),
				step("sql", "nothing", sqlModel(`DELETE FROM ticket_custom`)),
				step("amy", `ticket 1 changed at t2 by amy note: <nil> > "x"`,
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{"note": "x", "area": ""}}),
			},
			[]string{
				"ticket 1 time=t0 changetime=t2 summary=Crash reporter=joe status=new",
				"custom 1 area=NULL", "custom 1 box=0", "custom 1 note=x", "custom 1 size=large",
				"change 1 t2 amy comment: 1 > ",
				"change 1 t2 amy note: NULL > x",
			},
		},
		{
			// The key of ticket_change does not let a ticket change twice at once.
			"a clock that stands",
			[]ticketStep{
				step("joe", "ticket 1 created at t0 by joe", crash),
				step("sql", "nothing", sqlModel("UPDATE ticket SET changetime = 4102444800000000")),
				step("amy", `ticket 1 changed at 4102444800000001 by amy "a"`, trac.TicketEdit{ID: 1, Comment: "a"}),
				step("sql", "nothing", sqlModel("UPDATE ticket SET changetime = 5")),
				step("amy", `ticket 1 changed at 4102444800000002 by amy "b"`, trac.TicketEdit{ID: 1, Comment: "b"}),
			},
			append(append([]string{"ticket 1 time=t0 changetime=4102444800000002 summary=Crash reporter=joe status=new"}, plain...),
				"change 1 4102444800000001 amy comment: 1 > a",
				"change 1 4102444800000002 amy comment: 2 > b",
			),
		},
		{
			// save_changes counts changes whose comments have no number, which
			// Tracs before 0.11 wrote.
			"changes without numbers",
			[]ticketStep{
				step("joe", "ticket 1 created at t0 by joe", crash),
				step("sql", "nothing", sqlModel(
					`INSERT INTO ticket_change VALUES (1, 10, 'a', 'comment', '', 'x'), (1, 20, 'a', 'comment', '7', 'x'),
						(1, 30, 'a', 'comment', NULL, 'x'), (1, 40, 'a', 'owner', NULL, 'y'), (1, 40, 'a', 'cc', NULL, 'y')`)),
				step("amy", `ticket 1 changed at t2 by amy "a"`, trac.TicketEdit{ID: 1, Comment: "a"}),
			},
			append(append([]string{"ticket 1 time=t0 changetime=t2 summary=Crash reporter=joe status=new"}, plain...),
				"change 1 10 a comment:  > x",
				"change 1 20 a comment: 7 > x",
				"change 1 30 a comment: NULL > x",
				"change 1 40 a cc: NULL > y",
				"change 1 40 a owner: NULL > y",
				"change 1 t2 amy comment: 10 > a",
			),
		},
		{
			"saved twice in one transaction",
			[]ticketStep{
				step("joe", "ticket 1 created at t0 by joe", crash),
				step("amy", `ticket 1 changed at t1 by amy "Twice" milestone: "" > "m2" owner: "" > "amy"`,
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": "m1", "summary": "Crush"}, Comment: "Once"},
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": "m2", "summary": "Crash", "owner": "amy"}, Comment: "Twice", ReplyTo: 9},
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": "m2"}}),
			},
			append(append([]string{"ticket 1 time=t0 changetime=t1 summary=Crash reporter=joe owner=amy status=new milestone=m2"}, plain...),
				"change 1 t1 amy comment: 9.1 > Twice",
				"change 1 t1 amy milestone: NULL > m2",
				"change 1 t1 amy owner: NULL > amy",
			),
		},
		{
			"there and back in one transaction",
			[]ticketStep{
				step("joe", "ticket 1 created at t0 by joe", crash),
				step("amy", `ticket 1 changed at t1 by amy "a"`, trac.TicketEdit{ID: 1, Comment: "a"}),
				step("amy", "nothing",
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": "m1", "due": due}},
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": "", "due": nil}}),
			},
			append(append([]string{"ticket 1 time=t0 changetime=t2 summary=Crash reporter=joe status=new", plain[0]}, "custom 1 due=NULL", plain[1]),
				"change 1 t1 amy comment: 1 > a",
			),
		},
		{
			"there and back in one transaction, with a comment",
			[]ticketStep{
				step("joe", "ticket 1 created at t0 by joe", crash),
				step("amy", `ticket 1 changed at t1 by amy "a"`,
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": "m1"}, Comment: "a"},
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": ""}}),
			},
			append(append([]string{"ticket 1 time=t0 changetime=t1 summary=Crash reporter=joe status=new"}, plain...),
				"change 1 t1 amy comment: 1 > a",
			),
		},
		{
			"created and changed in one transaction",
			[]ticketStep{
				step("joe", `ticket 1 created at t0 by joe "a"`, crash,
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": "m1", "note": "n"}},
					trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": "m2"}, Comment: "a"}),
			},
			append(append([]string{"ticket 1 time=t0 changetime=t0 summary=Crash reporter=joe status=new milestone=m2", plain[0]},
				"custom 1 note=n", plain[1]),
				"change 1 t0 joe comment: 1 > a",
			),
		},
	}
	for _, test := range tests {
		r.empty()
		for i, step := range test.steps {
			event := r.save(step.author, step.models...)
			assert.Equal(t, step.event, tellTicket(r, event), "%s: step %d", test.name, i)
			r.checkState(event)
		}
		assert.Equal(t, test.want, r.rows(), test.name)
	}
}

// testTicketsKeepEveryCharacter writes what would do harm if it were taken for
// SQL, or for one of the marks of this library.
func testTicketsKeepEveryCharacter(t *testing.T, r *ticketRig) {
	const odd = "'; DROP TABLE ticket; -- ? $1 {wiki} {FOR UPDATE} \"x\" \\ %s %d `x` \U0001F600 \u2028 \x01"
	set := tracbus.Fields{"area": odd, "note": odd, "size": odd}
	for _, name := range columnFields() {
		set[name] = odd
	}
	set["cc"] = "'--?{wiki}\"\\"
	want := maps.Clone(set)
	want["summary"], set["summary"] = odd+"\ufffd", odd+"\xff "
	created := r.save(odd, create(maps.Clone(set)), trac.TicketEdit{ID: 1, Comment: odd})
	r.checkState(created)
	for name, v := range want {
		assert.Equal(t, v, created.(tracbus.TicketCreated).Values[name], name)
	}
	for _, name := range append(columnFields(), "note") {
		set[name] = "was " + set.Text(name)
	}
	changed := r.save(odd, trac.TicketEdit{ID: 1, Set: set, Comment: odd + " "})
	r.checkState(changed)
	assert.Equal(t, odd+" ", changed.About().Comment)
	assert.Len(t, changed.(tracbus.TicketChanged).New, len(columnFields())+1)
	assert.Contains(t, r.rows(), "change 1 t1 "+odd+" comment: 2 > "+odd+" ")
	assert.Contains(t, r.rows(), "change 1 t1 "+odd+" summary: "+odd+"\ufffd > was "+odd+"\ufffd")
	edited := r.save(odd, trac.CommentEdit{ID: 1, CommentNumber: 2, Comment: odd})
	assert.Equal(t, odd+" ", edited.(tracbus.TicketCommentEdited).OldComment)
	assert.Contains(t, r.rows(), "change 1 t1 "+odd+" _comment0: "+odd+"  > t2")
	r.save(odd, trac.ChangeDelete{ID: 1, CommentNumber: 2})
	assert.Equal(t, want, without(created.(tracbus.TicketCreated).Values, "time", "changetime", "box"))
	assert.Equal(t, want, without(r.load(1), "time", "changetime", "box"))
}

func without(f tracbus.Fields, names ...string) tracbus.Fields {
	g := maps.Clone(f)
	for _, name := range names {
		delete(g, name)
	}
	return g
}
