package foreign_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// good returns a story in which all is well: a process of Trac's and two trackers write a ticket and a page.
func good() *story {
	state := func(keywords string) map[string]string { return map[string]string{"keywords": keywords} }
	begun := func(at int64, token, result string) []line {
		return []line{{Word: beginWord, At: at, Token: token}, {Word: outcomeWord, At: at + 5, Token: token, Result: result}}
	}
	s := &story{
		writes: []write{
			{Token: "trac0.1/1", Resource: "ticket 1", N: 1, Kind: created, State: state("trac0.1/1")},
			{Token: "go0.1/1", Resource: "ticket 1", N: 2, Kind: changed, State: state("go0.1/1")},
			{Token: "trac0.1/2", Resource: "ticket 1", N: 3, Kind: changed, State: state("trac0.1/2")},
			{Token: "go1.1/1", Resource: "ticket 1", N: 4, Kind: commentEdited, Made: 2, Ref: "go0.1/1", State: state("trac0.1/2")},
			{Token: "trac0.1/3", Resource: "wiki Campaign0", Kind: created, Version: 1},
			{Token: "go0.1/2", Resource: "wiki Campaign0", Kind: changed, Version: 2},
			{Token: "trac0.1/5", Resource: "wiki Campaign1", Kind: renamed, OldName: "Campaign0"},
		},
		told: []told{
			{Resource: "ticket 1", Kind: created, Author: "trac0.1/1", Foreign: true, Values: state("trac0.1/1")},
			{Resource: "ticket 1", Kind: changed, Author: "go0.1/1", Comment: "go0.1/1", Time: 2, Values: state("go0.1/1"), Old: state("trac0.1/1"), New: state("go0.1/1")},
			{Resource: "ticket 1", Kind: changed, Author: "trac0.1/2", Comment: "trac0.1/2", Time: 3, Foreign: true, Values: state("trac0.1/2"), Old: state("go0.1/1"), New: state("trac0.1/2")},
			{Resource: "ticket 1", Kind: commentEdited, Author: "go1.1/1", Comment: "go1.1/1", Made: 2, OldComment: "go0.1/1"},
			{Resource: "wiki Campaign0", Kind: created, Author: "trac0.1/3", Comment: "trac0.1/3", Foreign: true, Version: 1, Text: "trac0.1/3"},
			{Resource: "wiki Campaign0", Kind: changed, Author: "go0.1/2", Comment: "go0.1/2", Version: 2, Text: "go0.1/2", OldText: "trac0.1/3"},
			{Resource: "wiki Campaign1", Kind: renamed, Foreign: true, Unknown: true, OldName: "Campaign0"},
		},
		runs: []runLog{
			{name: "trac0.1", trac: true, lines: append(append(append(append(append(begun(10, "trac0.1/1", committed), begun(30, "trac0.1/2", committed)...),
				begun(50, "trac0.1/3", committed)...), begun(60, "trac0.1/4", rolledBack)...), begun(80, "trac0.1/5", committed)...), line{Word: endWord})},
			{name: "go0.1", lines: append(append(begun(20, "go0.1/1", committed), begun(70, "go0.1/2", unknownWhich)...), line{Word: endWord})},
			{name: "go1.1", lines: append(begun(40, "go1.1/1", committed), line{Word: endWord})},
		},
		states: map[string]map[string]string{"ticket 1": state("trac0.1/2")},
		pages:  map[string]map[int64]string{"wiki Campaign1": {1: "trac0.1/3", 2: "go0.1/2"}},
	}
	for i := range s.told {
		t := &s.told[i]
		t.Place = record.Place{TID: int64(i + 1), Seq: 1}
		s.stream = append(s.stream, t.Place)
		for n := range s.runs[1:] {
			r := &s.runs[n+1]
			if i == 0 {
				r.lines = append(r.lines, line{Word: startWord})
			}
			own := run(t.Author) == r.name
			r.lines = append(r.lines, line{Word: everywhereWord, Place: t.Place, Primary: own})
			if own {
				r.lines = append(r.lines, line{Word: primaryWord, Place: t.Place})
			}
		}
	}
	return s
}

// at returns a line of the log of the first tracker.
func (s *story) at(word string, tid int64) *line {
	for i, l := range s.runs[1].lines {
		if l.Word == word && l.TID == tid {
			return &s.runs[1].lines[i]
		}
	}
	return nil
}

// TestForeignChecker hands the checker stories that are wrong in one way each.
func TestForeignChecker(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(s *story)
		want  string // is found; empty: nothing is
	}{
		{"all is well", func(*story) {}, ""},
		{"an event of no known kind", func(s *story) { s.told[2].Kind = "gone" }, "phantom: 3.1: gone by trac0.1/2 of ticket 1, which nobody committed"},
		{"a missing change", func(s *story) {
			s.writes[3].N = 5
			s.writes = append(s.writes, write{Token: "trac0.1/9", Resource: "ticket 1", N: 4, Kind: changed, State: s.writes[2].State})
		}, "missing: ticket 1: write 4, changed by trac0.1/9"},
		{"a change that is told twice", func(s *story) { s.told[2] = s.told[1]; s.told[2].TID = 3 }, "twice: 3.1: changed by go0.1/1 of ticket 1, again"},
		{"a change that was rolled back", func(s *story) { s.told[2].Author = "trac0.1/4" }, "phantom: 3.1: changed by trac0.1/4 of ticket 1, which nobody committed"},
		{"a ticket that nobody wrote", func(s *story) { s.told[2].Resource = "ticket 2" }, "phantom: 3.1: changed of ticket 2, which nobody wrote"},
		{"another order", func(s *story) { s.writes[1].N, s.writes[2].N = 3, 2 }, "order: 3.1: ticket 1, changed by trac0.1/2, was committed before changed by go0.1/1, and told after it"},
		{"values of a later moment", func(s *story) { s.told[1].Values = s.told[2].Values },
			"state: 2.1: ticket 1 is told as map[keywords:trac0.1/2], the tables had map[keywords:go0.1/1]"},
		{"an old value that is older", func(s *story) { s.told[2].Old = s.told[1].Old },
			`chain: 3.1: ticket 1: keywords was "go0.1/1" and became "trac0.1/2", it is told that "trac0.1/1" became "trac0.1/2"`},
		{"a field that is not told", func(s *story) { s.told[2].Old, s.told[2].New = nil, nil },
			`chain: 3.1: ticket 1: keywords was "go0.1/1" and became "trac0.1/2", it is told that "" became ""`},
		{"another comment", func(s *story) { s.told[3].OldComment = "x" },
			`chain: 4.1: ticket 1: the comment of 2, "go0.1/1", became "go1.1/1", it is told that the one of 2, "x", became "go1.1/1"`},
		{"tables that others changed", func(s *story) { s.states["ticket 1"] = map[string]string{"keywords": "x"} },
			"state: ticket 1 is now map[keywords:x], its last write left map[keywords:trac0.1/2]"},
		{"two updates by nobody", func(s *story) {
			last := s.writes[3].State
			s.writes = append(s.writes, write{Token: "trac0.1/8", Resource: "ticket 1", N: 5, Kind: raw, State: last}, write{Token: "trac0.1/9", Resource: "ticket 1", N: 6, Kind: raw, State: last})
			s.tell(told{Resource: "ticket 1", Kind: changed, Foreign: true, Unknown: true, Values: last, Old: map[string]string{"component": "x"}, New: map[string]string{"component": "trac0.1/9"}})
		}, ""},
		{"an update by nobody that is missing", func(s *story) {
			s.writes = append(s.writes, write{Token: "trac0.1/8", Resource: "ticket 1", N: 5, Kind: raw, State: s.writes[3].State})
		}, "missing: ticket 1: write 5, raw by trac0.1/8"},
		{"a page that is missing", func(s *story) {
			s.writes = append(s.writes, write{Token: "trac0.1/9", Resource: "wiki Campaign9", Kind: created, Version: 1})
		}, "missing: created wiki Campaign9 by trac0.1/9"},
		{"a page that is told twice", func(s *story) { s.told[5] = s.told[4]; s.told[5].TID = 6 }, "twice: 6.1: created wiki Campaign0 by trac0.1/3, again"},
		{"a page that was rolled back", func(s *story) { s.told[4].Author = "trac0.1/4" }, "phantom: 5.1: created wiki Campaign0 by trac0.1/4, which nobody committed"},
		{"pages in another order", func(s *story) {
			s.told[4], s.told[5] = s.told[5], s.told[4]
			s.told[4].TID, s.told[5].TID = 5, 6
		}, `chain: 5.1: version 2 of wiki Campaign0 came after "", it is told that after "trac0.1/3"`},
		{"a change that began when another one had ended", func(s *story) {
			s.runs[0].lines[4].At, s.runs[0].lines[5].At = 90, 95
		}, "order: 6.1: wiki Campaign0 by go0.1/2 was committed before another change began that was told before it"},
		{"a page that has another version", func(s *story) { s.pages["wiki Campaign1"] = map[int64]string{1: "trac0.1/3"} },
			"state: wiki Campaign1 has versions map[1:trac0.1/3], it is told to have map[1:trac0.1/3 2:go0.1/2]"},
		{"a page that was not renamed", func(s *story) { s.told[6].OldName = "Campaign7" },
			"chain: 7.1: Campaign7 is told to be renamed to wiki Campaign1, they had 0 and 0 versions"},
		{"a page that is deleted, and was not", func(s *story) {
			s.told[6] = told{Place: s.told[6].Place, Resource: "wiki Campaign5", Kind: deleted, Foreign: true}
		},
			`chain: 7.1: wiki Campaign5 is told to be deleted with version 0, "", and it had version 0, ""`},
		{"a commit that the tables do not have", func(s *story) { s.runs[0].lines[7].Result = committed }, "outcome: trac0.1/4 is said to be committed, and the tables do not have it"},
		{"a rollback that the tables have", func(s *story) { s.runs[1].lines[1].Result = rolledBack }, "outcome: go0.1/1 is said to be rolled back, and the tables have it: rolled back"},
		{"a stream without a change", func(s *story) { s.stream = append(s.stream[:2:2], s.stream[3:]...) }, "stream: it has 4.1 where the journal has 3.1"},
		{"a stream that ends", func(s *story) { s.stream = s.stream[:6] }, "stream: it ends before 7.1"},
		{"a stream with a change twice", func(s *story) { s.stream = append(s.stream, s.stream[6]) }, "stream: it goes on with 7.1 when the journal ends"},
		{"a listener that misses a change", func(s *story) { s.at(everywhereWord, 3).Word = "" }, "heard: go0.1 was told 4.1 where the journal has another one"},
		{"a listener that misses the last one", func(s *story) { s.at(everywhereWord, 7).Word = "" }, "heard: go0.1 was told 6 of 7 changes"},
		{"a killed one does not", func(s *story) { s.at(everywhereWord, 7).Word = ""; s.runs[1].killed = true }, ""},
		{"a change of Trac's that is primary", func(s *story) { s.at(everywhereWord, 3).Primary = true }, `primary: go0.1 was told 3.1, by "trac0.1/2", with Primary true`},
		{"a primary of Trac's", func(s *story) {
			s.runs[1].lines = append(s.runs[1].lines, line{Word: primaryWord, Place: record.Place{TID: 3, Seq: 1}})
		},
			`primary: go0.1 was told 3.1 as primary, which "trac0.1/2" made`},
		{"a missing primary", func(s *story) { s.at(primaryWord, 2).Word = "" }, "primary: 2.1 by go0.1/1 was told as primary nowhere"},
		{"a primary that is told twice", func(s *story) { s.runs[1].lines = append(s.runs[1].lines, *s.at(primaryWord, 2)) }, "primary: 2.1 was told as primary 2 times"},
		{"a run that did not end", func(s *story) { s.runs[0].lines = s.runs[0].lines[:10] }, "run: trac0.1 did not end in order"},
		{"a run that complains", func(s *story) { s.runs[0].lines = append(s.runs[0].lines, line{Word: faultWord, Result: "EOF"}) }, "run: trac0.1: EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := good()
			tc.spoil(s)
			v := check(*s)
			t.Log(v)
			if tc.want == "" {
				assert.Empty(t, v.found)
			} else {
				assert.Contains(t, v.found, tc.want)
			}
		})
	}
}

// tell adds a change that everybody was told of.
func (s *story) tell(t told) {
	t.Place = record.Place{TID: int64(len(s.told) + 1), Seq: 1}
	s.told, s.stream = append(s.told, t), append(s.stream, t.Place)
	for i := range s.runs[1:] {
		s.runs[i+1].lines = append(s.runs[i+1].lines, line{Word: everywhereWord, Place: t.Place})
	}
}

// spoiledEnv has TestForeignSeesFaults run: it takes some minutes.
const spoiledEnv = "TRACBUS_FOREIGN_SPOILED"

// spoilings take out of the library, one at a time, what keeps others' changes from being lost, told
// twice, or told wrong.
var spoilings = []struct {
	name  string
	spoil []record.Spoiling
	want  []int // one of these is found
}{
	{"rows are deleted in another transaction", []record.Spoiling{
		{File: "capture.go", Old: "if err := in.Take(ctx, tx.q, rows, numbers); err != nil {", With: `q := tx.q
			if !tx.joined { // which has locked them
				q = tx.journal.db
			}
			if err := in.Take(ctx, q, rows, numbers); err != nil {`},
	}, []int{isMissing}},
	{"rows are deleted up to the last one", []record.Spoiling{
		{File: "internal/capture/inbox.go", Old: `"DELETE FROM {journal_inbox} WHERE "+where+"n IN "+marks(len(some))), args...)`, With: `"DELETE FROM {journal_inbox} WHERE n <= ?"), args[len(args)-1])`},
		{File: "internal/capture/inbox.go", Old: "n != int64(len(some))", With: "n < 1"},
	}, []int{isMissing}},
	{"what waits is not taken in before a change", []record.Spoiling{
		{File: "capture.go", Old: `if r.ID == "" && !tx.imports || !tx.captured(r)`, With: `if !tx.imports || !tx.captured(r)`},
	}, []int{isLate, isChain}},
	{"rows that come meanwhile are overlooked", []record.Spoiling{
		{File: "capture.go", Old: "if capture.Same(rows, later) {", With: "if later != nil {"},
	}, []int{isState, isChain, isPhantom, isMissing}},
	{"a joined transaction does not say what is its own", []record.Spoiling{
		{File: "transaction.go", Old: "if lock != nil || tx.joined {", With: "if lock != nil {"},
	}, []int{isTwice}},
	{"who takes in a change has made it", []record.Spoiling{
		{File: "commit.go", Old: "rows[i].Origin = foreignOrigin", With: "rows[i].Origin = tx.journal.origin"},
	}, []int{isPrimary}},
}

// TestSpoilingsFit the source as it is, and what they make of it can be built.
func TestSpoilingsFit(t *testing.T) {
	var all []record.Spoiling
	for _, tc := range spoilings {
		all = append(all, tc.spoil...)
	}
	record.SpoilingsFit(t, all)
}

// TestForeignSeesFaults proves that the campaign's checker finds what it is for.
func TestForeignSeesFaults(t *testing.T) {
	if os.Getenv(spoiledEnv) == "" {
		t.Skip("it takes some minutes: " + spoiledEnv + " has it run")
	}
	for _, tc := range spoilings {
		t.Run(tc.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			s, program := testdatabase.New(t, "postgresql"), record.SpoiledBinary(t, tc.spoil)
			seen, names := false, []string{}
			for n := 1; n <= 3 && !seen; n++ { // it may not happen at once
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					v := onTables(t, s, program).play(seconds(t))
					for _, kind := range tc.want {
						seen = seen || v.counts[kind] > 0
					}
				})
			}
			for _, kind := range tc.want {
				names = append(names, kinds[kind])
			}
			if !seen {
				t.Errorf("the library is spoiled, and the checker finds none of %s", strings.Join(names, ", "))
			}
		})
	}
}
