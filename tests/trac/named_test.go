package trac_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
	"github.com/tracbus/tracbus/trac/realms"
)

var _ = []tracbus.Model{trac.MilestoneEdit{}, trac.ComponentEdit{}, trac.VersionEdit{}}

func namedRealms() []tracbus.JournalRealm {
	return append(testTicketRealm(), tracbus.Pages{}, realms.Milestones{}, realms.Components{}, realms.Versions{}, realms.Attachments{})
}

// TestNamedThingsInTracsTables runs each test on each database.
func TestNamedThingsInTracsTables(t *testing.T) {
	tests := []struct {
		name string
		run  func(*testing.T, *ticketRig)
	}{
		{"WhatIsWrittenAndTold", testWhatIsWrittenAndTold},
		{"EditsThatFail", testNamedEditsThatFail},
		{"NamesKeepEveryCharacter", testNamesKeepEveryCharacter},
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) { test.run(t, newTicketRig(t, s, namedRealms())) })
		}
	})
}

var due = time.UnixMicro(1623046150123456).UTC()

// Each case is one transaction of joe's, after what is there already. Times of the
// transaction are t0. The functions are those of trac/ticket/model.py, version 1.6.
var namedCases = []struct {
	rule   string
	before []string
	steps  []any // a Model to be saved, or a deleted one
	told   []string
	rows   []string
	caches string
}{
	{
		// to_utimestamp(None) is 0; description is ''.
		rule: "Milestone.insert",
		steps: []any{
			trac.MilestoneEdit{New: true, Name: " 1.0\t x "},
			trac.MilestoneEdit{New: true, Name: "1.1", Due: &due, Completed: new(due.Add(time.Second)), Description: new(" as is\r\n ")},
		},
		told:   []string{"milestone 1.0 x created", `milestone 1.1 created`},
		rows:   []string{"milestone 1.0 x|0|0|", "milestone 1.1|1623046150123456|1623046151123456| as is\r\n "},
		caches: "fields 1, milestones 1",
	},
	{
		// _to_null.
		rule: "Component.insert",
		steps: []any{
			trac.ComponentEdit{New: true, Name: "core"},
			trac.ComponentEdit{New: true, Name: "web", Owner: new(" ann  b "), Description: new("d")},
		},
		told:   []string{"component core created, NULL", "component web created"},
		rows:   []string{"component core|NULL|NULL", "component web|ann b|d"},
		caches: "fields 1",
	},
	{
		rule: "Version.insert",
		steps: []any{
			trac.VersionEdit{New: true, Name: "1"},
			trac.VersionEdit{New: true, Name: "2", Time: new(due.In(time.FixedZone("", 7200)).Add(999)), Description: new("d")},
		},
		told:   []string{"version 1 created, NULL", "version 2 created"},
		rows:   []string{"version 1|0|NULL", "version 2|1623046150123456|d"},
		caches: "fields 1",
	},
	{
		// All columns are written again: NULL becomes 0 and ''.
		rule:   "Milestone.update",
		before: []string{"INSERT INTO milestone VALUES ('m1', NULL, NULL, NULL)"},
		steps:  []any{trac.MilestoneEdit{Name: "m1", Due: &due, Comment: "Why"}},
		told:   []string{`milestone m1 changed "Why" due: <nil> > 2021-06-07T06:09:10.123456Z, was NULL`},
		rows:   []string{"milestone m1|1623046150123456|0|"},
		caches: "fields 0, milestones 0",
	},
	{
		rule:   "Milestone.update: nothing is different",
		before: []string{"INSERT INTO milestone VALUES ('m1', NULL, 0, NULL)"},
		steps: []any{trac.MilestoneEdit{
			Name: "m1", NewName: " m1 ", Due: new(time.Time{}), Completed: new(time.UnixMicro(0)), Description: new(""),
			Base: &realms.Milestone{Name: "m1"},
		}},
		rows: []string{"milestone m1|NULL|0|NULL"},
	},
	{
		rule:   "Component.update: no cache without a new name",
		before: []string{"INSERT INTO component VALUES ('core', 'ann', 'd')", "INSERT INTO ticket (id, changetime, component) VALUES (1, 5, 'core')"},
		steps: []any{trac.ComponentEdit{
			Name: "core", Owner: new(""), Description: new(""), Base: &realms.Component{Name: "core", Owner: "ann", Description: "d"},
		}},
		told: []string{"component core changed description: d > <nil> owner: ann > , NULL"},
		rows: []string{"ticket 1|5|component=core", "component core|NULL|NULL"},
	},
	{
		// Version.update does without _to_null.
		rule:   "Version.update",
		before: []string{"INSERT INTO version VALUES ('1', 1623046150123456, NULL)"},
		steps:  []any{trac.VersionEdit{Name: "1", Time: new(time.Time{}), Base: &realms.Version{Name: "1", Time: due}}},
		told:   []string{"version 1 changed time: 2021-06-07T06:09:10.123456Z > <nil>, was NULL"},
		rows:   []string{"version 1|0|"},
		caches: "fields 0",
	},
	{
		rule: "Component.update: tickets get the new name, without a change in their history",
		before: []string{
			"INSERT INTO component VALUES ('core', 'ann', 'd')",
			"INSERT INTO ticket (id, changetime, component) VALUES (1, 5, 'core'), (2, 5, 'web'), (3, 6, 'core'), (4, 5, NULL)",
			"INSERT INTO ticket_change VALUES (1, 5, 'ann', 'comment', '1', 'x')",
			"INSERT INTO attachment (type, id, filename) VALUES ('component', 'core', 'a')",
		},
		steps: []any{trac.ComponentEdit{Name: "core", NewName: " k  l ", Comment: "Why"}},
		told: []string{
			`ticket 1 changed at t0 by joe component: "core" > "k l"`, `ticket 3 changed at t0 by joe component: "core" > "k l"`,
			`component k l renamed "Why" name: core > k l`,
		},
		rows: []string{
			"ticket 1|5|component=k l", "ticket 2|5|component=web", "ticket 3|6|component=k l", "ticket 4|5|",
			"change 1|5|ann|comment|1|x", "component k l|ann|d", "attachment component|core|a|NULL|NULL|NULL|NULL",
		},
		caches: "fields 0",
	},
	{
		rule: "Version.update: the same",
		before: []string{
			"INSERT INTO version VALUES ('1', 0, 'd')", "INSERT INTO ticket (id, changetime, version) VALUES (1, 5, '1')",
		},
		steps:  []any{trac.VersionEdit{Name: "1", NewName: "2"}},
		told:   []string{`ticket 1 changed at t0 by joe version: "1" > "2"`, "version 2 renamed name: 1 > 2"},
		rows:   []string{"ticket 1|5|version=2", "version 2|0|d"},
		caches: "fields 0",
	},
	{
		// Milestone.update: move_tickets, with a change of each; Attachment.reparent_all.
		rule: "Milestone.update: a new name",
		before: []string{
			"INSERT INTO milestone VALUES ('m1', 0, 0, 'd')",
			"INSERT INTO ticket (id, changetime, milestone, status) VALUES (1, 5, 'm1', 'new'), (2, 5, 'm3', 'new'), (3, 6, 'm1', 'closed')",
			"INSERT INTO ticket_change VALUES (1, 5, 'ann', 'comment', '1', 'x')",
			"INSERT INTO attachment (type, id, filename, size, time, description, author) VALUES ('milestone', 'm1', 'b', 3, 7, 'd', 'ann'), ('milestone', 'm1', 'a', NULL, NULL, NULL, NULL), ('milestone', 'm', 'a', 3, 7, 'd', 'ann'), ('wiki', 'm1', 'a', 3, 7, 'd', 'ann')",
		},
		steps: []any{trac.MilestoneEdit{Name: "m1", NewName: "m2", Description: new("e")}},
		told: []string{
			`ticket 1 changed at t0 by joe "Milestone renamed" milestone: "m1" > "m2"`,
			`ticket 3 changed at t0 by joe "Milestone renamed" milestone: "m1" > "m2"`,
			"attachment milestone/m2/a moved parent_id: m1 > m2, NULL, was NULL", "attachment milestone/m2/b moved parent_id: m1 > m2",
			"milestone m2 renamed description: d > e name: m1 > m2",
		},
		rows: []string{
			"ticket 1|t0|milestone=m2 status=new", "ticket 2|5|milestone=m3 status=new", "ticket 3|t0|milestone=m2 status=closed",
			"change 1|5|ann|comment|1|x", "change 1|t0|joe|comment|2|Milestone renamed", "change 1|t0|joe|milestone|m1|m2",
			"change 3|t0|joe|comment|1|Milestone renamed", "change 3|t0|joe|milestone|m1|m2",
			"milestone m2|0|0|e",
			"attachment milestone|m|a|3|7|d|ann", "attachment milestone|m2|a|NULL|NULL|NULL|NULL", "attachment milestone|m2|b|3|7|d|ann",
			"attachment wiki|m1|a|3|7|d|ann",
		},
		caches: "fields 0, milestones 0",
	},
	{
		// trac/ticket/roadmap.py, _do_save: update, then move_tickets(exclude_closed=True).
		rule: "a milestone is completed: tickets that are not closed move on",
		before: []string{
			"INSERT INTO milestone VALUES ('m1', 0, 0, ''), ('m2', 0, 0, '')",
			"INSERT INTO ticket (id, changetime, milestone, status) VALUES (1, 5, 'm1', 'new'), (2, 5, 'm1', 'closed')",
		},
		steps: []any{trac.MilestoneEdit{Name: "m1", Completed: &due, Retarget: new("m2")}},
		told: []string{
			"milestone m1 changed completed: <nil> > 2021-06-07T06:09:10.123456Z", `ticket 1 changed at t0 by joe milestone: "m1" > "m2"`,
		},
		rows: []string{
			"ticket 1|t0|milestone=m2 status=new", "ticket 2|5|milestone=m1 status=closed",
			"change 1|t0|joe|comment|1|", "change 1|t0|joe|milestone|m1|m2",
			"milestone m1|0|1623046150123456|", "milestone m2|0|0|",
		},
		caches: "fields 0, milestones 0",
	},
	{
		rule: "a milestone is renamed, and its open tickets go: one change of each",
		before: []string{
			"INSERT INTO milestone VALUES ('m1', 0, 0, '')",
			"INSERT INTO ticket (id, changetime, milestone, status) VALUES (1, 5, 'm1', 'new'), (2, 5, 'm1', 'closed')",
		},
		steps: []any{trac.MilestoneEdit{Name: "m1", NewName: "m2", Retarget: new(""), Comment: "Why"}},
		told: []string{
			`ticket 1 changed at t0 by joe "Why" milestone: "m1" > ""`, `ticket 2 changed at t0 by joe "Why" milestone: "m1" > "m2"`,
			`milestone m2 renamed "Why" name: m1 > m2`,
		},
		rows: []string{
			"ticket 1|t0|status=new", "ticket 2|t0|milestone=m2 status=closed",
			"change 1|t0|joe|comment|1|Why", "change 1|t0|joe|milestone|m1|NULL", "change 2|t0|joe|comment|1|Why", "change 2|t0|joe|milestone|m1|m2",
			"milestone m2|0|0|",
		},
		caches: "fields 0, milestones 0",
	},
	{
		rule: "tickets move, and the milestone stays as it is",
		before: []string{
			"INSERT INTO milestone VALUES ('m1', 0, 0, '')", "INSERT INTO ticket (id, changetime, milestone) VALUES (1, 5, 'm1')",
		},
		steps: []any{trac.MilestoneEdit{Name: "m1", Retarget: new("")}},
		told:  []string{`ticket 1 changed at t0 by joe milestone: "m1" > ""`},
		rows: []string{
			"ticket 1|t0|", "change 1|t0|joe|comment|1|", "change 1|t0|joe|milestone|m1|NULL", "milestone m1|0|0|",
		},
	},
	{
		// trac/ticket/roadmap.py, _do_delete.
		rule: "Milestone.delete",
		before: []string{
			"INSERT INTO milestone VALUES ('m1', 1623046150123456, 0, NULL), ('m2', 0, 0, '')",
			"INSERT INTO ticket (id, changetime, milestone, status) VALUES (1, 5, 'm1', 'new'), (2, 5, 'm1', 'closed')",
			"INSERT INTO attachment (type, id, filename, size, time, description, author) VALUES ('milestone', 'm1', 'a', 3, 7, 'd', 'ann'), ('milestone', 'm2', 'a', 3, 7, 'd', 'ann')",
		},
		steps: []any{deleted{trac.MilestoneEdit{Name: "m1", Retarget: new("m2"), Base: &realms.Milestone{Name: "m1", Due: due}}}},
		told: []string{
			`ticket 1 changed at t0 by joe "Ticket retargeted after milestone deleted" milestone: "m1" > "m2"`,
			`ticket 2 changed at t0 by joe "Ticket retargeted after milestone deleted" milestone: "m1" > "m2"`,
			"attachment milestone/m1/a deleted", "milestone m1 deleted, NULL",
		},
		rows: []string{
			"ticket 1|t0|milestone=m2 status=new", "ticket 2|t0|milestone=m2 status=closed",
			"change 1|t0|joe|comment|1|Ticket retargeted after milestone deleted", "change 1|t0|joe|milestone|m1|m2",
			"change 2|t0|joe|comment|1|Ticket retargeted after milestone deleted", "change 2|t0|joe|milestone|m1|m2",
			"milestone m2|0|0|", "attachment milestone|m2|a|3|7|d|ann",
		},
		caches: "fields 0, milestones 0",
	},
	{
		rule: "Milestone.delete: tickets lose it",
		before: []string{
			"INSERT INTO milestone VALUES ('m1', 0, 0, '')", "INSERT INTO ticket (id, changetime, milestone) VALUES (1, 5, 'm1')",
		},
		steps: []any{deleted{trac.MilestoneEdit{Name: "m1", Comment: "Why"}}},
		told:  []string{`ticket 1 changed at t0 by joe "Why" milestone: "m1" > ""`, `milestone m1 deleted "Why"`},
		rows:  []string{"ticket 1|t0|", "change 1|t0|joe|comment|1|Why", "change 1|t0|joe|milestone|m1|NULL"},

		caches: "fields 0, milestones 0",
	},
	{
		rule: "Component.delete and Version.delete: tickets stay as they are",
		before: []string{
			"INSERT INTO component VALUES ('core', 'ann', 'd'), ('web', NULL, NULL)", "INSERT INTO version VALUES ('1', 1623046150123456, '')",
			"INSERT INTO ticket (id, changetime, component, version) VALUES (1, 5, 'core', '1')",
		},
		steps:  []any{deleted{trac.ComponentEdit{Name: "core", Comment: "Why"}}, deleted{trac.VersionEdit{Name: "1"}}},
		told:   []string{`component core deleted "Why"`, "version 1 deleted"},
		rows:   []string{"ticket 1|5|component=core version=1", "component web|NULL|NULL"},
		caches: "fields 1",
	},
	{
		rule: "created, changed and renamed in one transaction: the last has an event of its own",
		steps: []any{
			trac.MilestoneEdit{New: true, Name: "m1"},
			trac.MilestoneEdit{Name: "m1", Due: &due, Base: &realms.Milestone{Name: "m1"}},
			trac.MilestoneEdit{Name: "m1", Description: new("d"), Base: &realms.Milestone{Name: "m1"}},
			trac.MilestoneEdit{Name: "m1", NewName: "m2"},
			deleted{trac.MilestoneEdit{Name: "m2"}},
		},
		told:   []string{"milestone m1 created", "milestone m2 renamed name: m1 > m2", "milestone m2 deleted"},
		caches: "fields 4, milestones 4",
	},
	{
		rule: "a ticket that the transaction has changed already has one change",
		before: []string{
			"INSERT INTO milestone VALUES ('m1', 0, 0, '')", "INSERT INTO component VALUES ('core', NULL, NULL)",
			"INSERT INTO ticket (id, changetime, milestone, component) VALUES (1, 5, 'm1', 'core')",
		},
		steps: []any{
			trac.TicketEdit{ID: 1, Set: tracbus.Fields{"owner": "ann"}, Comment: "Mine"},
			trac.ComponentEdit{Name: "core", NewName: "web"}, trac.MilestoneEdit{Name: "m1", NewName: "m2"},
		},
		told: []string{
			`ticket 1 changed at t0 by joe "Milestone renamed" component: "core" > "web" milestone: "m1" > "m2" owner: "" > "ann"`,
			"component web renamed name: core > web, NULL, was NULL", "milestone m2 renamed name: m1 > m2",
		},
		rows: []string{
			"ticket 1|t0|component=web milestone=m2 owner=ann", "change 1|t0|joe|comment|1|Milestone renamed", "change 1|t0|joe|milestone|m1|m2",
			"change 1|t0|joe|owner|NULL|ann", "component web|NULL|NULL", "milestone m2|0|0|",
		},
		caches: "fields 1, milestones 0",
	},
}

func testWhatIsWrittenAndTold(t *testing.T, r *ticketRig) {
	for _, c := range namedCases {
		r.empty()
		for _, statement := range c.before {
			r.exec(statement)
		}
		told, err := r.change(c.steps...)
		require.NoError(t, err, c.rule)
		assert.Equal(t, c.told, told, c.rule)
		assert.Equal(t, c.rows, r.allRows(), c.rule)
		assert.Equal(t, c.caches, r.caches(), c.rule)
	}
}

// change runs steps in one transaction, and returns what the journal has of it.
func (r *ticketRig) change(steps ...any) (told []string, err error) {
	r.t.Helper()
	var tid int64
	tid, err = r.journal.Update(r.t.Context(), tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
		r.times[tx.Time().UnixMicro()] = "t0"
		for _, step := range steps {
			var err error
			if d, ok := step.(deleted); ok {
				err = tx.Delete(r.t.Context(), d.Model)
			} else {
				err = tx.Save(r.t.Context(), step.(tracbus.Model))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || tid == 0 {
		return nil, err
	}
	for e, err := range r.journal.Since(r.t.Context(), tid-1) {
		require.NoError(r.t, err)
		told = append(told, r.tell(e))
		r.checkState(e)
		r.checkThing(e)
	}
	return told, nil
}

// tell writes an event in a line.
func (r *ticketRig) tell(e tracbus.Event) string {
	c := e.About()
	assert.Equal(r.t, "joe", c.Author)
	if e.Resource().Realm == tracbus.RealmTicket {
		return tellTicket(r, e)
	}
	line := fmt.Sprintf("%s %s", e.Resource(), e.Kind())
	if c.Comment != "" {
		line += fmt.Sprintf(" %q", c.Comment)
	}
	entry := e.(tracbus.Recordable).Entry()
	for _, name := range []string{"completed", "description", "due", "name", "owner", "parent_id", "time"} {
		if _, ok := entry.New[name]; ok {
			line += fmt.Sprintf(" %s: %v > %v", name, told(entry.Old[name]), told(entry.New[name]))
		}
	}
	if c.Null.Has(tracbus.AttrText) {
		line += ", NULL"
	}
	if c.Null.Has(tracbus.AttrOldText) {
		line += ", was NULL"
	}
	return line
}

// checkThing compares an event of a thing that is still there with its row.
func (r *ticketRig) checkThing(e tracbus.Event) {
	row := func(table, columns, name string) []string {
		for _, row := range r.read("SELECT name, " + columns + " FROM " + table) {
			if row[0] == name {
				for i := range row {
					row[i] = strings.TrimPrefix(row[i], "NULL")
				}
				return row[1:]
			}
		}
		return nil
	}
	us := func(t time.Time) string {
		if t.IsZero() {
			return "0"
		}
		return fmt.Sprint(t.UnixMicro())
	}
	switch e := e.(type) {
	case realms.MilestoneChanged:
		if got := row("milestone", "due, completed, description", e.Milestone.Name); got != nil {
			assert.Equal(r.t, got, []string{us(e.Milestone.Due), us(e.Milestone.Completed), e.Milestone.Description})
		}
	case realms.ComponentChanged:
		assert.Equal(r.t, row("component", "owner, description", e.Component.Name), []string{e.Component.Owner, e.Component.Description})
	case realms.VersionChanged:
		assert.Equal(r.t, row("version", "time, description", e.Version.Name), []string{us(e.Version.Time), e.Version.Description})
	}
}

// allRows returns what Trac's tables hold.
func (r *ticketRig) allRows() (lines []string) {
	for _, row := range r.read("SELECT id, changetime, component, milestone, owner, status, version FROM ticket ORDER BY id") {
		var fields []string
		for i, name := range []string{"component", "milestone", "owner", "status", "version"} {
			if row[i+2] != "NULL" {
				fields = append(fields, name+"="+row[i+2])
			}
		}
		lines = append(lines, "ticket "+row[0]+"|"+row[1]+"|"+strings.Join(fields, " "))
	}
	for _, table := range [][2]string{
		{"change", "ticket, time, author, field, oldvalue, newvalue FROM ticket_change ORDER BY ticket, time, field"},
		{"component", "name, owner, description FROM component ORDER BY name"},
		{"milestone", "name, due, completed, description FROM milestone ORDER BY name"},
		{"version", "name, time, description FROM version ORDER BY name"},
		{"attachment", "type, id, filename, size, time, description, author FROM attachment ORDER BY type, id, filename"},
	} {
		for _, row := range r.read("SELECT " + table[1]) {
			lines = append(lines, table[0]+" "+strings.Join(row, "|"))
		}
	}
	return lines
}

// caches returns the generations of Trac's caches, by the last part of their keys.
func (r *ticketRig) caches() string {
	key := map[tracbus.Dialect]string{tracbus.MySQL: "`key`"}[r.dialect]
	if key == "" {
		key = "key"
	}
	var lines []string
	for _, row := range r.read("SELECT " + key + ", id, generation FROM cache ORDER BY 1") {
		ids := map[string]string{"trac.ticket.model.MilestoneCache.milestones": "472382151", "trac.ticket.api.TicketSystem.fields": "660951007"}
		require.Equal(r.t, ids[row[0]], row[1], row[0])
		lines = append(lines, row[0][strings.LastIndexByte(row[0], '.')+1:]+" "+row[2])
	}
	return strings.Join(lines, ", ")
}

func testNamedEditsThatFail(t *testing.T, r *ticketRig) {
	r.exec("INSERT INTO milestone VALUES ('m1', 0, 0, 'd'), ('m2', 0, 0, '')")
	r.exec("INSERT INTO component VALUES ('core', 'ann', 'd'), ('web', NULL, NULL)")
	r.exec("INSERT INTO version VALUES ('1', 0, 'd'), ('2', 0, '')")
	r.exec("INSERT INTO ticket (id, changetime, milestone, component) VALUES (1, 5, 'm1', 'core')")
	before := r.allRows()
	for _, test := range []struct {
		step any
		is   error
		want string
	}{
		{trac.MilestoneEdit{Name: "m3"}, tracbus.ErrNotFound, `save milestone m3: milestone "m3": does not exist`},
		{trac.MilestoneEdit{Name: "m3", NewName: "m4"}, tracbus.ErrNotFound, `save a milestone: milestone "m3": does not exist`},
		{deleted{trac.MilestoneEdit{Name: "m3"}}, tracbus.ErrNotFound, `milestone "m3": does not exist`},
		{trac.MilestoneEdit{Name: "m1", Retarget: new("m3")}, tracbus.ErrNotFound, `milestone "m3": does not exist`},
		{deleted{trac.MilestoneEdit{Name: "m1", Retarget: new("m3")}}, tracbus.ErrNotFound, `milestone "m3": does not exist`},
		{deleted{trac.MilestoneEdit{Name: "m1", Retarget: new("m1")}}, nil, `milestone "m1": its tickets are to get the same milestone: expected another`},
		{trac.MilestoneEdit{Name: "m1", NewName: "m3", Retarget: new("m3")}, nil, `milestone "m1": its tickets are to get the same milestone: expected another`},
		{trac.MilestoneEdit{New: true, Name: " m1"}, trac.ErrNameExists, `milestone "m1": name "m1": another one of that name exists`},
		{trac.MilestoneEdit{Name: "m1", NewName: " m2 "}, trac.ErrNameExists, `milestone "m1": name "m2": another one of that name exists`},
		{trac.MilestoneEdit{Name: "m1", NewName: " \t"}, nil, `milestone "m1": a new name of " \t": expected another`},
		{trac.MilestoneEdit{New: true, Name: " "}, nil, `a new milestone with the name " ": expected another`},
		{trac.MilestoneEdit{New: true, Name: "m3", Retarget: new("")}, nil, `milestone "m3": it is new, and has NewName, Base or Retarget: expected none of them`},
		{trac.MilestoneEdit{New: true, Name: "m3", NewName: "m4"}, nil, `it is new, and has NewName, Base or Retarget: expected none of them`},
		{trac.MilestoneEdit{New: true, Name: "m3", Base: &realms.Milestone{}}, nil, `it is new, and has NewName, Base or Retarget: expected none of them`},
		{deleted{trac.MilestoneEdit{New: true, Name: "m1"}}, nil, `milestone "m1": delete with New, NewName or values: expected none of them`},
		{deleted{trac.MilestoneEdit{Name: "m1", Description: new("")}}, nil, `delete with New, NewName or values: expected none of them`},
		{trac.MilestoneEdit{Name: "m1", Due: new(time.Time{}.AddDate(-1, 0, 0))}, nil, `milestone "m1": due: time in year 0: expected a year from 1 to 9999`},
		{trac.MilestoneEdit{Name: "m1", Due: &due, Base: &realms.Milestone{Name: "m1", Description: "e"}}, tracbus.ErrConflict, `milestone "m1": it is not what the edit was made from`},
		{deleted{trac.MilestoneEdit{Name: "m1", Base: &realms.Milestone{Name: "m1", Description: "d", Due: due}}}, tracbus.ErrConflict, `milestone "m1": it is not what the edit was made from`},
		{trac.ComponentEdit{Name: "x"}, tracbus.ErrNotFound, `component "x": does not exist`},
		{trac.ComponentEdit{New: true, Name: "web"}, trac.ErrNameExists, `component "web": name "web": another one of that name exists`},
		{trac.ComponentEdit{Name: "core", NewName: "web"}, trac.ErrNameExists, `component "core": name "web": another one of that name exists`},
		{trac.ComponentEdit{Name: "core", Owner: new("x"), Base: &realms.Component{Name: "core", Description: "d"}}, tracbus.ErrConflict, "not what the edit was made from"},
		{deleted{trac.ComponentEdit{Name: "core", Owner: new("")}}, nil, "delete with New, NewName or values: expected none of them"},
		{deleted{trac.ComponentEdit{Name: "core", NewName: "x"}}, nil, "delete with New, NewName or values: expected none of them"},
		{trac.VersionEdit{Name: "x"}, tracbus.ErrNotFound, `version "x": does not exist`},
		{trac.VersionEdit{New: true, Name: "2"}, trac.ErrNameExists, `version "2": name "2": another one of that name exists`},
		{trac.VersionEdit{Name: "1", NewName: "2"}, trac.ErrNameExists, `version "1": name "2": another one of that name exists`},
		{trac.VersionEdit{Name: "1", Time: &due, Base: &realms.Version{Name: "1", Time: due, Description: "d"}}, tracbus.ErrConflict, "not what the edit was made from"},
		{deleted{trac.VersionEdit{Name: "1", Time: new(time.Time{})}}, nil, "delete with New, NewName or values: expected none of them"},
	} {
		_, err := r.change(test.step)
		require.ErrorIs(t, err, tracbus.ErrNotCommitted, test.want)
		assert.ErrorContains(t, err, test.want)
		for _, sentinel := range []error{tracbus.ErrNotFound, tracbus.ErrConflict, trac.ErrNameExists} {
			assert.Equal(t, sentinel == test.is, errors.Is(err, sentinel), "%v is %v", err, sentinel)
		}
	}
	if r.dialect == tracbus.PostgreSQL {
		_, err := r.change(trac.ComponentEdit{Name: "core", Description: new("\x00")})
		assert.ErrorContains(t, err, `component "core": description "\x00": it has the character U+0000`)
		_, err = r.change(trac.ComponentEdit{New: true, Name: "a\x00"})
		assert.ErrorContains(t, err, `it has the character U+0000`)
	}
	assert.Equal(t, before, r.allRows())
}

// testNamesKeepEveryCharacter writes what would do harm if it were taken for SQL, or
// for a mark of this library.
func testNamesKeepEveryCharacter(t *testing.T, r *ticketRig) {
	const odd = "'; DROP TABLE ticket; -- ? $1 {wiki} {FOR UPDATE} \"x\" \\ %s / : . `x` \U0001F600 \x01"
	steps := []any{
		trac.TicketCreate{Set: tracbus.Fields{"summary": "Crash", "milestone": odd, "component": odd, "version": odd}},
		trac.MilestoneEdit{New: true, Name: odd, Description: new(odd + "\xff")}, trac.ComponentEdit{New: true, Name: odd, Owner: new(odd + "\xff")},
		trac.VersionEdit{New: true, Name: odd, Description: new(odd + "\xff")},
	}
	_, err := r.change(steps...)
	require.NoError(t, err)
	_, err = r.change(
		trac.MilestoneEdit{Name: odd, NewName: odd + " m"}, trac.ComponentEdit{Name: odd, NewName: odd + " c"}, trac.VersionEdit{Name: odd, NewName: odd + " v"},
	)
	require.NoError(t, err)
	got := r.load(1)
	assert.Equal(t, []any{odd + " m", odd + " c", odd + " v"}, []any{got["milestone"], got["component"], got["version"]})
	var last tracbus.Event
	for e, err := range r.journal.History(t.Context(), realms.MilestoneResource(odd+" m")) {
		require.NoError(t, err)
		last = e
	}
	assert.Equal(t, realms.Milestone{Name: odd + " m", Description: odd + "\ufffd"}, last.(realms.MilestoneChanged).Milestone)
	_, err = r.change(deleted{trac.MilestoneEdit{Name: odd + " m"}}, deleted{trac.ComponentEdit{Name: odd + " c"}}, deleted{trac.VersionEdit{Name: odd + " v"}})
	require.NoError(t, err)
	assert.Empty(t, r.read("SELECT name FROM milestone"))
	assert.Equal(t, "", r.load(1)["milestone"])
}

// TestNamedEditsNeedTheirRealm: what a journal has no realm for is neither stored nor
// told; attachments follow all the same.
func TestNamedEditsNeedTheirRealm(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newTicketRig(t, s, []tracbus.JournalRealm{realms.Milestones{}})
		r.exec("INSERT INTO attachment (type, id, filename) VALUES ('milestone', 'm1', 'a')")
		told, err := r.change(trac.MilestoneEdit{New: true, Name: "m1"}, trac.MilestoneEdit{Name: "m1", NewName: "m2"})
		require.NoError(t, err)
		assert.Equal(t, []string{"milestone m1 created", "milestone m2 renamed name: m1 > m2"}, told)
		_, err = r.change(trac.ComponentEdit{New: true, Name: "core"})
		require.ErrorContains(t, err, `the journal has no realm "component"`)
		r.exec("INSERT INTO ticket (id, changetime, milestone) VALUES (1, 5, 'm2')")
		_, err = r.change(deleted{trac.MilestoneEdit{Name: "m2"}})
		require.ErrorContains(t, err, `the journal's realm "ticket" is <nil>`)
		assert.Equal(t, []string{
			"ticket 1|5|milestone=m2", "milestone m2|0|0|", "attachment milestone|m2|a|NULL|NULL|NULL|NULL",
		}, r.allRows())
	})
}

// TestAttachmentsFollow: what is attached to a ticket or page goes with it, and is
// told if the journal has the realm for it.
func TestAttachmentsFollow(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newTicketRig(t, s, namedRealms())
		r.exec("INSERT INTO ticket (id, changetime) VALUES (1, 5)")
		r.exec("INSERT INTO wiki (name, version, time) VALUES ('P', 1, 5), ('R', 1, 5)")
		r.exec(`INSERT INTO attachment (type, id, filename, size, time, description, author) VALUES ('ticket', '1', 'a/b', 3, 7, 'd', 'ann'),
			('ticket', '2', 'a', 3, 7, 'd', 'ann'), ('wiki', 'P', 'b', 3, 7, 'd', 'ann'), ('wiki', 'P', 'a', NULL, NULL, NULL, NULL), ('wiki', '1', 'a', 3, 7, 'd', 'ann')`)
		for _, test := range []struct {
			step any
			told []string
		}{
			{deleted{trac.TicketEdit{ID: 1}}, []string{"attachment ticket/1/a%2Fb deleted", "ticket 1 deleted at t0 by joe"}},
			{trac.PageRename{Name: "P", NewName: "Q"}, []string{
				"attachment wiki/Q/a moved parent_id: P > Q, NULL, was NULL", "attachment wiki/Q/b moved parent_id: P > Q", "wiki Q renamed name: P > Q, NULL",
			}},
			{deleted{trac.PageEdit{Name: "Q"}}, []string{"attachment wiki/Q/a deleted, NULL", "attachment wiki/Q/b deleted", "wiki Q deleted, NULL"}},
			{deleted{trac.PageEdit{Name: "R"}}, []string{"wiki R deleted, NULL"}},
		} {
			told, err := r.change(test.step)
			require.NoError(t, err)
			assert.Equal(t, test.told, told)
		}
		assert.Equal(t, []string{"attachment ticket|2|a|3|7|d|ann", "attachment wiki|1|a|3|7|d|ann"}, r.allRows())
	})
}

// TestAlso: only a Model that is being saved reports for others.
func TestAlso(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newTicketRig(t, s, namedRealms())
		err := r.update("joe", func(_ context.Context, tx *tracbus.ModelTransaction) error {
			return tx.Also(realms.MilestoneDeleted{Milestone: realms.Milestone{Name: "m1"}})
		})
		assert.ErrorContains(t, err, "also: expected a call from the Save or Delete of a Model")
	})
}
