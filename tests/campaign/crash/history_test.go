package crash_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// newHistory is a small round in which nothing is wrong: that of
// NewHistory.
func newHistory() *history {
	r := &history{redis: redisKeeps, truth: record.NewHistory().Truth, marks: map[int64]string{}}
	for _, c := range r.truth.Changes {
		r.marks[c.TID] = fmt.Sprintf("mark%d", c.TID)
	}
	r.tell(r.truth, r.marks, 0, 0, len(r.truth.Changes), 100)
	r.heard = slices.Insert(r.heard, 0, note{Word: resyncWord, Result: string(tracbus.ResyncSubscribed)})
	r.read = slices.Insert(r.read, 0, note{Word: resyncWord, Result: string(tracbus.ResyncSubscribed)})
	r.cursors = []cursor{{"log", 0, 100, false}, {"log", 4, 100, false}, {"log", 7, 200, false}}
	return r
}

// newRestore is one in which the database was put back to a copy with the
// first five changes: what came behind them is another now.
func newRestore() *history {
	r := newHistory()
	gone := record.NewHistory().Truth
	r.gone, r.goneMarks, r.kept = &gone, maps.Clone(r.marks), 5
	r.truth.Changes = append(slices.Clone(r.truth.Changes[:5]),
		record.Change{Place: record.Place{TID: 6, Seq: 1}, Resource: "ticket 1", Kind: tracbus.KindChanged, By: "p2.1/1/1"},
		record.Change{Place: record.Place{TID: 7, Seq: 1}, Resource: "ticket 2", Kind: tracbus.KindCreated, By: "p2.1/1/2"},
		record.Change{Place: record.Place{TID: 7, Seq: 2}, Resource: "ticket 1", Kind: tracbus.KindDeleted, By: "p2.1/1/2"})
	r.marks[6], r.marks[7] = "another6", "another7"
	delete(r.truth.Commits, "p1.2/1/1")
	delete(r.truth.Commits, "p0.1/2/1")
	r.truth.Commits["p2.1/1/1"], r.truth.Commits["p2.1/1/2"] = 1, 2
	r.truth.Final = map[string]record.State{"ticket 1": {N: 4, Text: "p2.1/1/2"}, "ticket 2": {N: 3, Text: "p2.1/1/2"}, "wiki Start": {N: 1, Text: "p1.1/1/1"}, "ticket 3": {}}
	r.read = append(r.read, note{Word: resyncWord, Result: string(tracbus.ResyncStreamReset)})
	r.told = append(r.told, note{Word: resyncWord, Result: string(tracbus.ResyncRewound)})
	r.tell(r.truth, r.marks, 1, 4, 8, 300)
	r.survivors = true
	r.cursors = append(r.cursors, cursor{"log", 4, 300, true}, cursor{"log", 7, 300, false})
	return r
}

// tell writes changes of a history into all logs.
func (r *history) tell(truth record.Truth, marks map[int64]string, branch int64, from, to int, epoch int64) {
	tables := &record.Verdict{Truth: truth, Index: map[record.Place]int{}}
	tables.CheckTables()
	for i := from; i < to; i++ {
		c := truth.Changes[i]
		l := note{
			Word: toldWord, Run: "p0.1", Place: c.Place, Mark: marks[c.TID], Resource: c.Resource, Kind: c.Kind,
			Old: tables.Before[i], New: tables.After[i], By: c.By, Epoch: epoch,
		}
		r.told = append(r.told, l)
		l.Word, l.Run, l.Epoch = heardWord, "ear.1", 0
		r.heard = append(r.heard, l)
		l.Word, l.Run, l.ID = entryWord, "reader.1", fmt.Sprintf("%d-%d", branch<<48|c.TID, c.Seq)
		l.Channel, l.Payload = messageOf(l)
		r.read = append(r.read, l)
		l = note{Word: entryWord, Run: "redis", ID: l.ID, Channel: l.Channel, Payload: l.Payload, Mark: l.Mark}
		r.stream = append(r.stream, l)
	}
}

// messageOf writes the message of a change, as the plugin's README has it.
func messageOf(l note) (channel, payload string) {
	realm, id, _ := strings.Cut(l.Resource, " ")
	channel = "trac.crash." + realm + "." + string(l.Kind)
	if l.Kind == tracbus.KindChanged {
		channel += "." + id
	}
	fields := map[string]any{}
	if realm == "ticket" {
		fields["id"] = json.Number(id)
		switch l.Kind {
		case tracbus.KindCreated:
			fields["n"], fields["text"] = l.New.N, l.New.Text
		case tracbus.KindChanged:
			fields["new_values"] = map[string]any{"n": l.New.N, "text": l.New.Text}
			fields["old_values"] = map[string]any{"n": l.Old.N, "text": l.Old.Text}
		case tracbus.KindDeleted:
			fields["n"], fields["text"], fields["by"] = l.Old.N, l.Old.Text, l.By
		}
	} else {
		fields["name"], fields["version"], fields["text"] = id, l.New.N, l.New.Text
		if l.Old != nil {
			fields["old_text"] = l.Old.Text
		}
	}
	b, _ := json.Marshal(fields) // of maps with texts and numbers
	return channel, string(b)
}

// lineAt returns where the nth line of a place is.
func lineAt(lines []note, word word, tid int64, seq, nth int) int {
	for i, l := range lines {
		id, _ := readStreamID(l.ID)
		if l.Word == word && (l.Place == record.Place{TID: tid, Seq: seq} || l.Run == "redis" && id.tid == tid && id.seq == seq) {
			if nth--; nth == 0 {
				return i
			}
		}
	}
	panic(fmt.Sprintf("no line of %d.%d", tid, seq))
}

func loseLine(lines *[]note, word word, tid int64, seq, nth int) note {
	at := lineAt(*lines, word, tid, seq, nth)
	l := (*lines)[at]
	*lines = slices.Delete(slices.Clone(*lines), at, at+1)
	return l
}

// repeatLine has a line come again behind another.
func repeatLine(lines *[]note, word word, tid int64, seq int, behind int64, behindSeq int) {
	l := (*lines)[lineAt(*lines, word, tid, seq, 1)]
	*lines = slices.Insert(slices.Clone(*lines), lineAt(*lines, word, behind, behindSeq, 1)+1, l)
}

func reconnect(r *history, behind int64) {
	r.heard = slices.Insert(r.heard, lineAt(r.heard, heardWord, behind, 1, 1)+1, note{Word: resyncWord, Result: string(tracbus.ResyncReconnected)})
}

// TestCrashChecker hands the checker rounds that are wrong in one way each.
func TestCrashChecker(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(r *history)
		want  string // the first thing found; empty for nothing
	}{
		{"all is well", func(*history) {}, ""},
		{"a message missed while not connected", func(r *history) {
			reconnect(r, 4)
			loseLine(&r.heard, heardWord, 5, 1, 1)
		}, ""},
		{"a stream whose first branch had another number", func(r *history) {
			r.read[0].Result = string(tracbus.ResyncStreamReset)
		}, ""},
		{"a stream restarted without reason", func(r *history) {
			r.read = slices.Insert(r.read, 3, note{Word: resyncWord, Run: "reader.1", Result: string(tracbus.ResyncStreamReset)})
		}, "resync: reader.1 was told \"restarted\", although nothing went back"},
		{"told again under Durable", func(r *history) { r.told = slices.Insert(r.told, 5, r.told[3], r.told[4]) }, ""},
		{"a deposed process ends its call", func(r *history) {
			for i := range r.told[5:] {
				r.told[5+i].Epoch = 200
			}
			r.told = append(r.told, r.told[4])
		}, ""},

		{"not in the stream", func(r *history) { loseLine(&r.stream, entryWord, 4, 1, 1) },
			"lost: the stream has not 4.1, ticket 1 by p1.1/2/1"},
		{"the end not in the stream", func(r *history) { loseLine(&r.stream, entryWord, 7, 1, 1) },
			"lost: the stream has not 7.1, wiki Start by p0.1/2/1"},
		{"not received from the stream", func(r *history) { loseLine(&r.read, entryWord, 2, 2, 1) },
			"lost: its subscriber has not 2.2, wiki Start by p1.1/1/1"},
		{"twice in the stream", func(r *history) { repeatLine(&r.stream, entryWord, 4, 1, 4, 1) },
			"duplicated: the stream has 4.1, ticket 1, twice in branch 0"},
		{"twice from the stream", func(r *history) { repeatLine(&r.read, entryWord, 2, 1, 6, 1) },
			"duplicated: its subscriber has 2.1, ticket 2, twice in branch 0"},
		{"again in a new branch", func(r *history) {
			l := r.stream[2]
			l.ID = fmt.Sprintf("%d-2", 1<<48|2)
			r.stream = append(r.stream, l)
		}, "duplicated: the stream has 2.2, wiki Start, again in branch 1"},
		{"the stream out of order", func(r *history) {
			l := loseLine(&r.read, entryWord, 4, 1, 1)
			r.read = append(r.read, l)
		}, "reordered: its subscriber has 4.1, ticket 1, after 7.1"},
		{"another payload", func(r *history) { r.stream[3].Payload = strings.Replace(r.stream[3].Payload, `"n":2`, `"n":3`, 1) },
			"content: the stream has 4.1 as ticket 1 changed from version 1 by \"p0.1/1/1\" to version 3 by \"p1.1/2/1\""},
		{"another mark", func(r *history) { r.stream[3].Mark = "mark3" },
			"content: the stream has ticket 1 by p1.1/2/1 at 4.1 with mark \"mark3\""},
		{"another id", func(r *history) { r.stream[3].ID = "3-1" },
			"content: the stream has ticket 1 by p1.1/2/1 at 3.1 with mark"},
		{"a message on another's channel", func(r *history) { r.stream[0].Channel += "7" },
			"content: the stream has at 1-1 a message that is none"},
		{"an event that is not its message", func(r *history) { r.read[3].New = &record.State{N: 7, Text: "p1.1/1/1"} },
			"content: its subscriber has at 2-2 an event that is not its message"},
		{"what was rolled back", func(r *history) {
			r.heard[4].By, r.heard[4].New = "p0.1/2/3", &record.State{N: 2, Text: "p0.1/2/3"}
		}, "invented: the pub/sub subscriber has 4.1 ticket 1 changed by \"p0.1/2/3\""},

		{"a message missed while connected", func(r *history) { loseLine(&r.heard, heardWord, 4, 1, 1) },
			"lost: the pub/sub subscriber received 5.1, ticket 2, after 2.2, and nothing between"},
		{"a message twice", func(r *history) { repeatLine(&r.heard, heardWord, 4, 1, 4, 1) },
			"duplicated: the pub/sub subscriber received 4.1, ticket 1, twice"},
		{"a batch twice", func(r *history) {
			r.heard = append(r.heard[:6:6], r.heard[4:]...)
		}, "duplicated: the pub/sub subscriber received 4.1, ticket 1, twice"},
		{"a batch again in a new connection", func(r *history) {
			reconnect(r, 5)
			r.heard = append(r.heard[:7:7], r.heard[4:]...)
			r.heard = slices.Delete(r.heard, 9, 10)
		}, "duplicated: the pub/sub subscriber received 4.1, ticket 1, again after it was connected anew"},
		{"messages out of order", func(r *history) { r.heard[4], r.heard[5] = r.heard[5], r.heard[4] },
			"lost: the pub/sub subscriber received 5.1, ticket 2, after 2.2, and nothing between"},
		{"a message late", func(r *history) {
			reconnect(r, 6)
			l := loseLine(&r.heard, heardWord, 4, 1, 1)
			r.heard = append(r.heard, l)
		}, "lost: the pub/sub subscriber received 5.1"},

		{"not told under Durable", func(r *history) { loseLine(&r.told, toldWord, 7, 1, 1) },
			"lost: the listener was never told 7.1, wiki Start by p0.1/2/1"},
		{"skipped under Durable", func(r *history) {
			l := loseLine(&r.told, toldWord, 4, 1, 1)
			r.told = append(r.told, l)
		}, "lost: p0.1 told 5.1 after 2.2 in epoch 100, and nothing between"},
		{"a deposed process goes on", func(r *history) {
			for i := range r.told[3:] {
				r.told[3+i].Epoch = 200
			}
			r.told = append(r.told, r.told[1], r.told[2])
		}, "duplicated: p0.1 told 2.2 in epoch 100, long after epoch 200 had begun"},
		{"a place that moved back", func(r *history) { r.cursors = append(r.cursors, cursor{"log", 6, 200, false}, r.cursors[2]) },
			"cursor: log moved back from tid 7, epoch 200 to tid 6, epoch 200"},
		{"an epoch that fell", func(r *history) { r.cursors = append(r.cursors, cursor{"log", 7, 199, false}) },
			"cursor: log moved back from tid 7, epoch 200 to tid 7, epoch 199"},
		{"a place before the end", func(r *history) { r.cursors[2].tid = 6 },
			"cursor: log ends at tid 6, the journal at 7"},
		{"a Resync without reason", func(r *history) {
			r.told = append(r.told, note{Word: resyncWord, Run: "p0.1", Result: string(tracbus.ResyncRewound)})
		}, "resync: p0.1 was told \"rewound\", although nothing went back"},
		{"a commit that is in no journal", func(r *history) { r.truth.Commits["p0.1/9/9"] = 1 },
			"tables: tables: p0.1/9/9 committed 1 changes, the journal has 0 of it"},
		{"a process that complains", func(r *history) {
			r.read = append(r.read, note{Word: faultWord, Run: "reader.1", Result: "no event"})
		},
			"run: reader.1: no event"},
	} {
		t.Run(tc.name, func(t *testing.T) { checkSpoiled(t, newHistory(), tc.spoil, tc.want) })
	}
}

// TestCrashCheckerRedis hands it rounds in which Redis has forgotten something.
func TestCrashCheckerRedis(t *testing.T) {
	restarted := func(behind, upTo int64) note {
		return note{Word: resyncWord, Run: "reader.1", Result: string(tracbus.ResyncStreamReset), Behind: behind, UpTo: upTo}
	}
	// emptied has the stream begin anew behind the third change.
	emptied := func(r *history) {
		r.redis = redisEmptied
		r.stream = r.stream[3:]
		for _, lines := range [][]note{r.stream, r.read[4:]} {
			for i, l := range lines {
				id, _ := readStreamID(l.ID)
				lines[i].ID = fmt.Sprintf("%d-%d", 1<<48|id.tid, id.seq)
			}
		}
		r.read = slices.Insert(r.read, 4, restarted(2, 2))
	}
	for _, tc := range []struct {
		name  string
		spoil func(r *history)
		want  string
	}{
		{"a batch again in a new connection", func(r *history) {
			r.redis = redisGoesTo
			reconnect(r, 5)
			r.heard = append(r.heard[:7:7], r.heard[4:]...)
			r.heard = slices.Delete(r.heard, 9, 10)
		}, ""},
		{"a batch again in the same", func(r *history) {
			r.redis = redisGoesTo
			r.heard = append(r.heard[:6:6], r.heard[4:]...)
		}, "duplicated: the pub/sub subscriber received 4.1, ticket 1, twice"},
		{"a stream that begins anew", emptied, ""},
		{"a subscriber that missed some", func(r *history) {
			emptied(r)
			loseLine(&r.read, entryWord, 2, 2, 1)
		}, ""},
		{"a subscriber that missed more than it was told", func(r *history) {
			emptied(r)
			loseLine(&r.read, entryWord, 2, 2, 1)
			r.read[3] = restarted(4, 4)
		}, "resync: its subscriber was told of changes missed behind tid 4 up to 4, and missed 2.2"},
		{"a subscriber that missed some without a word", func(r *history) {
			emptied(r)
			loseLine(&r.read, entryWord, 2, 2, 1)
			r.read = slices.Delete(r.read, 3, 4)
		}, "lost: its subscriber has not 2.2, wiki Start by p1.1/1/1"},
		{"a gap in the new stream", func(r *history) {
			emptied(r)
			loseLine(&r.stream, entryWord, 5, 1, 1)
		}, "lost: the stream has not 5.1, ticket 2 by p0.1/1/2"},
	} {
		t.Run(tc.name, func(t *testing.T) { checkSpoiled(t, newHistory(), tc.spoil, tc.want) })
	}
}

// TestCrashCheckerRestore hands it rounds in which the database was put back.
func TestCrashCheckerRestore(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(r *history)
		want  string
	}{
		{"all is well", func(*history) {}, ""},
		{"some of the copy comes again", func(r *history) {
			r.told = append(r.told, r.told[3])
		}, ""},
		{"a new change is suppressed in the stream", func(r *history) { loseLine(&r.stream, entryWord, 6, 1, 2) },
			"lost: the stream has not 6.1, ticket 1 by p2.1/1/1"},
		{"a new change is suppressed on the channels", func(r *history) {
			loseLine(&r.heard, heardWord, 5, 1, 2)
			loseLine(&r.heard, heardWord, 6, 1, 2)
		}, "lost: the pub/sub subscriber received 7.1, ticket 2, after 7.1, and nothing between"},
		{"a new change is not told", func(r *history) { loseLine(&r.told, toldWord, 6, 1, 2) },
			"lost: p0.1 told 7.1 after 5.1 in epoch 300, and nothing between"},
		{"a new change twice", func(r *history) { repeatLine(&r.stream, entryWord, 7, 2, 7, 2) },
			"duplicated: the stream has 7.2, ticket 1, twice in branch 1"},
		{"what is no more in the new branch", func(r *history) {
			l := r.stream[5]
			l.ID = fmt.Sprintf("%d-1", 1<<48|6)
			r.stream[lineAt(r.stream, entryWord, 6, 1, 2)] = l
		}, "duplicated: the stream has 6.1, ticket 2, again in branch 1"},
		{"what is no more after what is new", func(r *history) { r.heard = append(r.heard, r.heard[7]) },
			"reordered: the pub/sub subscriber received 7.1, wiki Start, although it is no more"},
		{"the same told", func(r *history) {
			l := r.told[6]
			l.Epoch = 300
			r.told = append(r.told, l)
		}, "reordered: p0.1 told 7.1 in epoch 300 after 7.2, although it is no more"},
		{"the stream's subscriber not told", func(r *history) {
			r.read = slices.DeleteFunc(r.read, func(l note) bool { return l.Result == string(tracbus.ResyncStreamReset) })
		}, "resync: the stream's subscriber was not told that history went back"},
		{"the listener not told", func(r *history) {
			r.told = slices.DeleteFunc(r.told, func(l note) bool { return l.Word == resyncWord })
		}, "resync: the listener under Durable was not told that history went back"},
		{"Redis not ahead", func(r *history) { r.stream = slices.Delete(r.stream, 5, 7) },
			"run: Redis was not ahead when the database was put back"},
		{"a copy with another content", func(r *history) { r.marks[2] = "another" },
			"tables: 2.1 by p1.1/1/1 is in the copy, and was another before"},
	} {
		t.Run(tc.name, func(t *testing.T) { checkSpoiled(t, newRestore(), tc.spoil, tc.want) })
	}
}

func checkSpoiled(t *testing.T, r *history, spoil func(*history), want string) {
	t.Helper()
	spoil(r)
	v := check(*r)
	t.Log(v)
	if want == "" {
		assert.Empty(t, v.found)
		return
	}
	if len(v.found) == 0 || !strings.HasPrefix(v.found[0], want) {
		t.Errorf("first fault\n got %q\nwant %q", v.found, want)
	}
}
