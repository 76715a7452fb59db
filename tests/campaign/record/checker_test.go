package record

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestAttackChecker hands the checker histories that are wrong in one way each.
func TestAttackChecker(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(h *History)
		want  string // the first thing found; empty for nothing
	}{
		{"all is well", func(*History) {}, ""},
		{"a killed run stops anywhere", func(h *History) {
			h.lose("p1.1", Everywhere, 2, 2)
			h.lose("p1.1", Primary, 2, 2)
			h.lose("p1.1", Primary, 2, 1)
		}, ""},
		{"an unknown outcome may be either", func(h *History) {
			h.line("p0.1", Outcome, 7, 0).Result = Unknown + ": EOF"
		}, ""},
		{"a lost change", func(h *History) { h.lose("p0.1", Everywhere, 2, 2) },
			"lost: p0.1 was never told 2.2, wiki Start by p1.1/1/1"},
		{"a lost change at the end", func(h *History) { h.lose("p1.2", Everywhere, 7, 1) },
			"lost: p1.2 was never told 7.1, wiki Start by p0.1/2/1"},
		{"a lost change at the start", func(h *History) { h.lose("p1.2", Everywhere, 5, 1) },
			"lost: p1.2 was never told 5.1, ticket 2 by p0.1/1/2"},
		{"a gap before the end of a killed run", func(h *History) { h.lose("p1.1", Everywhere, 2, 1) },
			"lost: p1.1 was never told 2.1, ticket 2 by p1.1/1/1"},
		{"a change told twice", func(h *History) { h.tell("p0.1", *h.line("p0.1", Everywhere, 4, 1)) },
			"twice: p0.1 was told 4.1, ticket 1, again"},
		{"a change from before the start", func(h *History) { h.tell("p1.2", *h.line("p0.1", Everywhere, 4, 1)) },
			"twice: p1.2 was told 4.1, which was before it began, at tid 4"},
		{"a swapped pair", func(h *History) { h.tell("p0.1", h.lose("p0.1", Everywhere, 5, 1)) },
			"out of order: p0.1 was told 5.1, ticket 2, after 7.1"},
		{"a swapped pair in one transaction", func(h *History) {
			*h.line("p0.1", Everywhere, 2, 1), *h.line("p0.1", Everywhere, 2, 2) =
				*h.line("p0.1", Everywhere, 2, 2), *h.line("p0.1", Everywhere, 2, 1)
		}, "out of order: p0.1 was told 2.1, ticket 2, after 2.2"},
		{"swapped primaries", func(h *History) { h.tell("p0.1", h.lose("p0.1", Primary, 5, 1)) },
			"out of order: p0.1 was told 5.1 as primary after 7.1"},
		{"a change that was rolled back", func(h *History) {
			h.tell("p0.1", Line{Word: Everywhere, Place: Place{3, 1}, By: "p1.2/1/9"})
		}, `invented: p0.1 was told 3.1 by "p1.2/1/9", which the tables do not have`},
		{"an old value that is older", func(h *History) {
			h.line("p0.1", Everywhere, 4, 1).Old = &State{0, ""}
		}, `chain: p0.1 was told 4.1 as a change of ticket 1 from version 0 by ""; the change before it had made version 1 by "p0.1/1/1"`},
		{"an old value of what was deleted", func(h *History) {
			h.line("p0.1", Everywhere, 6, 1).Old = &State{1, "p1.1/1/1"}
		}, `chain: p0.1 was told 6.1 as a change of ticket 2 from version 1 by "p1.1/1/1"; the change before it had made nothing`},
		{"changes in another order than their commits", func(h *History) {
			h.line("p0.1", Everywhere, 4, 1).New.N = 3
		}, `chain: p0.1 was told 4.1 as a change of ticket 1 to version 3 by "p1.1/2/1"; it made version 2 by "p1.1/2/1"`},
		{"another resource", func(h *History) { h.line("p0.1", Everywhere, 4, 1).Resource = "ticket 9" },
			"content: p0.1 was told 4.1 as ticket 9 changed by p1.1/2/1, the tables have ticket 1 changed by p1.1/2/1"},
		{"a value that differs between processes", func(h *History) { h.line("p1.2", Everywhere, 7, 1).Digest = 99 },
			"content: p0.1 and p1.2 were told different events at 7.1"},
		{"two primaries", func(h *History) { h.tell("p1.2", *h.line("p0.1", Primary, 5, 1)) },
			"primary: p1.2 was told 5.1 with Primary true, which p0.1 committed"},
		{"two primaries in one process", func(h *History) { h.tell("p0.1", *h.line("p0.1", Primary, 7, 1)) },
			"primary: 7.1, wiki Start, was told as primary in p0.1 and in p0.1"},
		{"a primary in the wrong process", func(h *History) { h.tell("p1.2", h.lose("p0.1", Primary, 7, 1)) },
			"primary: p1.2 was told 7.1 with Primary true, which p0.1 committed"},
		{"a missing primary", func(h *History) { h.lose("p0.1", Primary, 5, 1) },
			"primary: 5.1, ticket 2, was told as primary nowhere, and p0.1, which committed it, lived on"},
		{"a primary skipped by a killed run", func(h *History) { h.lose("p1.1", Primary, 2, 1) },
			"primary: 2.1, ticket 2, was told as primary nowhere, and p1.1, which committed it, was told 2.2"},
		{"a commit that was denied", func(h *History) { h.line("p0.1", Outcome, 7, 0).Result = NotCommitted },
			"outcome: p0.1/2/1: not committed, but the tables have it, as tid 7"},
		{"a commit that did not land", func(h *History) {
			h.tell("p0.1", Line{Word: Outcome, Place: Place{TID: 3}, By: "p0.1/1/3", Result: Committed})
		}, "outcome: p0.1/1/3: Update returned tid 3, but the tables do not have it"},
		{"another tid", func(h *History) { h.line("p0.1", Outcome, 7, 0).TID = 3 },
			"outcome: p0.1/2/1: Update returned tid 3, but the tables say 7"},
		{"an error of no kind", func(h *History) { h.line("p0.1", Outcome, 7, 0).Result = "EOF" },
			"outcome: p0.1/2/1: Update returned what it must not: EOF"},
		{"a commit that the journal does not have", func(h *History) { h.Truth.Commits["p0.1/9/9"] = 2 },
			"tables: p0.1/9/9 committed 2 changes, the journal has 0 of it"},
		{"a journal row without its commit", func(h *History) { delete(h.Truth.Commits, "p1.1/2/1") },
			"tables: tid 4 is that of p1.1/2/1, which did not commit"},
		{"a tid for two", func(h *History) { h.Truth.Changes[2].By = "p0.1/2/2" },
			"tables: tid 2 is that of p1.1/1/1 and of p0.1/2/2"},
		{"a row without its change", func(h *History) { h.Truth.Final["ticket 3"] = State{1, "p0.1/3/1"} },
			"tables: ticket 3 has version 1, the journal has 0 changes of it"},
		{"rows that another change left", func(h *History) { h.Truth.Final["ticket 1"] = State{2, "p0.1/1/1"} },
			"tables: ticket 1 is now as p0.1/1/1 left it, its last change is 4.1 by p1.1/2/1"},
		{"a run that did not end", func(h *History) { h.lose("p1.2", End, 0, 0) },
			"run: p1.2 did not end in order"},
		{"a run that complains", func(h *History) { h.tell("p1.1", Line{Word: Fault, Result: "Run: EOF"}) },
			"run: p1.1: Run: EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := NewHistory()
			tc.spoil(h)
			v := Check(h.Truth, []Run{*h.runs["p0.1"], *h.runs["p1.1"], *h.runs["p1.2"]})
			t.Log(v)
			if tc.want == "" {
				assert.Empty(t, v.Told)
				return
			}
			if len(v.Told) == 0 || !strings.HasPrefix(v.Told[0], tc.want) {
				t.Errorf("first fault\n got %q\nwant %q", v.Told, tc.want)
			}
		})
	}
}
