package crash_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// redisState says what Redis kept of what it knew over a round.
type redisState string

const (
	redisKeeps   redisState = "keeps all"   // appendfsync always
	redisGoesTo  redisState = "goes back"   // it was killed, and came back as it had been some time before
	redisEmptied redisState = "was emptied" // it was killed, and came back empty
)

// history is what the tables and the logs tell of a round.
type history struct {
	redis redisState
	truth record.Truth
	marks map[int64]string // of the tids

	// Of a round in which the database was put back: the tables just before,
	// and how many of their changes are still there.
	gone      *record.Truth
	goneMarks map[int64]string
	kept      int
	survivors bool // all relays lived through it, and knew of what is gone

	stream  []note // as Redis has it in the end
	read    []note // of the stream's subscriber, through all its runs
	heard   []note // of the pub/sub subscriber
	told    []note // of the listener under Durable, in all processes
	cursors []cursor
}

// cursor is a name's row, as it was seen again and again.
type cursor struct {
	name       string
	tid, epoch int64
	restored   bool // the first after the database was put back
}

// change is what the checker knows of a change.
type change struct {
	record.Change
	mark          string
	before, after *record.State
	at            int  // its place in its history
	side          side // of the restore
}

// side says which histories have a change. Those that the copy had are in both.
type side int

const (
	both side = iota
	dead      // committed after the copy, before the database was put back to it
	live      // committed after that
)

// The ways in which a round can be wrong.
const (
	isLost = iota
	isTwice
	isLate
	crashInvented
	isContent
	isCursor
	isResync
	crashTables
	crashRuns
)

var faults = [...]string{"lost", "duplicated", "reordered", "invented", "content", "cursor", "resync", "tables", "run"}

// verdict is what the checker finds.
type verdict struct {
	history
	known    map[string]*change // by transaction and resource
	now      []*change          // the history that survived
	repeated int                // because Redis lost what it knew
	again    int                // told again under Durable, as may be
	ahead    bool               // the stream has what is no more
	late     int                // told by a deposed process, at the end of its call

	counts [len(faults)]int
	found  testkit.Findings
}

func (v *verdict) add(kind int, format string, args ...any) {
	if v.counts[kind]++; v.counts[kind] <= 5 {
		v.found.Add(faults[kind]+": "+format, args...)
	}
}

func (v *verdict) String() string {
	var b strings.Builder
	for kind, n := range v.counts {
		fmt.Fprintf(&b, "%s %d, ", faults[kind], n)
	}
	fmt.Fprintf(&b, "repeated by redis loss %d, told again %d, told late %d", v.repeated, v.again, v.late)
	for _, sentence := range v.found {
		b.WriteString("\n  " + sentence)
	}
	return b.String()
}

// check finds everything in a round that contradicts the guarantees. It
// reads the tables and the logs, and uses nothing of the library.
func check(r history) *verdict {
	v := &verdict{history: r, known: map[string]*change{}}
	if r.gone != nil {
		v.learn(*r.gone, r.goneMarks, dead)
	}
	v.now = v.learn(r.truth, r.marks, live)
	v.checkStream("the stream", r.stream, false)
	v.checkStream("its subscriber", r.read, true)
	v.checkHeard()
	v.checkTold()
	v.checkCursors()
	v.checkRestore()
	return v
}

// learn takes in a history, whose changes behind those that are kept are new.
func (v *verdict) learn(truth record.Truth, marks map[int64]string, new side) (history []*change) {
	tables := &record.Verdict{Truth: truth, Index: map[record.Place]int{}}
	tables.CheckTables()
	for _, sentence := range tables.Told {
		v.add(crashTables, "%s", sentence)
	}
	for i, c := range truth.Changes {
		known := &change{Change: c, mark: marks[c.TID], before: tables.Before[i], after: tables.After[i], at: i, side: new}
		if v.gone == nil {
			known.side = both
		} else if i < v.kept {
			known.side = both
			if other := v.known[known.key()]; new == live && (other == nil || other.Place != c.Place || other.mark != known.mark) {
				v.add(crashTables, "%v by %s is in the copy, and was another before", c.Place, c.By)
			}
		}
		v.known[known.key()] = known
		history = append(history, known)
	}
	return history
}

func (c *change) key() string { return c.By + " " + c.Resource }

// find returns the change that a line tells of, whose content it checks.
func (v *verdict) find(who string, l note) *change {
	c := v.known[l.By+" "+l.Resource]
	switch {
	case c == nil:
		v.add(crashInvented, "%s has %v %s %s by %q, which the tables do not have", who, l.Place, l.Resource, l.Kind, l.By)
		return nil
	case l.Word != heardWord && (l.Place != c.Place || l.Mark != c.mark):
		v.add(isContent, "%s has %s by %s at %v with mark %q, the tables at %v with mark %q", who, c.Resource, c.By, l.Place, l.Mark, c.Place, c.mark)
	case l.Kind != c.Kind || !record.SameState(l.Old, c.before) || !record.SameState(l.New, c.after):
		v.add(isContent, "%s has %v as %s %s from %v to %v, the tables have %s from %v to %v",
			who, c.Place, c.Resource, l.Kind, l.Old, l.New, c.Kind, c.before, c.after)
	}
	return c
}

// checkTold: the listener under Durable was told every change, within each epoch in
// order and without a gap, and by a deposed process nothing but the end of the
// call that it was in. Changes may be told again.
func (v *verdict) checkTold() {
	told := map[*change]bool{}
	newest := map[int64]*change{} // of each epoch
	late := map[int64]int{}
	var top int64
	for _, l := range v.told {
		if l.Word != toldWord {
			v.checkAside(l)
			continue
		}
		c := v.find("the listener", l)
		if c == nil {
			continue
		}
		if l.Epoch < top {
			v.late++
			if late[l.Epoch]++; late[l.Epoch] > 1 {
				v.add(isTwice, "%s told %v in epoch %d, long after epoch %d had begun", l.Run, c.Place, l.Epoch, top)
			}
		}
		if last := newest[l.Epoch]; last != nil && !v.follows(c, last) && c.at > last.at {
			v.add(isLost, "%s told %v after %v in epoch %d, and nothing between", l.Run, c.Place, last.Place, l.Epoch)
		} else if last != nil && last.side == live && c.side == dead {
			v.add(isLate, "%s told %v in epoch %d after %v, although it is no more", l.Run, c.Place, l.Epoch, last.Place)
		}
		if told[c] {
			v.again++
		}
		told[c] = true
		newest[l.Epoch] = c
		top = max(top, l.Epoch)
	}
	for _, c := range v.now {
		if !told[c] && v.told != nil {
			v.add(isLost, "the listener was never told %v, %s by %s", c.Place, c.Resource, c.By)
		}
	}
}

// follows says whether c is the change after last, in one of the histories.
func (v *verdict) follows(c, last *change) bool {
	return c.at == last.at+1 && !(c.side == live && last.side == dead) || // the histories part at kept
		last.side == dead && c.side != dead && c.at <= v.kept
}

// checkAside: what is not a change is a Resync, where one has a reason.
func (v *verdict) checkAside(l note) {
	switch {
	case l.Word == lossWord:
	case l.Word != resyncWord:
		v.add(crashRuns, "%s: %s", l.Run, l.Result)
	case v.gone == nil && v.redis == redisKeeps && l.Result != string(tracbus.ResyncSubscribed) && l.Result != string(tracbus.ResyncReconnected):
		v.add(isResync, "%s was told %q, although nothing went back", l.Run, l.Result)
	}
}

// checkCursors: no name's place ever moves back, nor its epoch, and each ends at
// the end.
func (v *verdict) checkCursors() {
	last := map[string]cursor{}
	for _, c := range v.cursors {
		l, ok := last[c.name]
		if ok && !c.restored && (c.tid < l.tid || c.epoch < l.epoch) {
			v.add(isCursor, "%s moved back from tid %d, epoch %d to tid %d, epoch %d", c.name, l.tid, l.epoch, c.tid, c.epoch)
		}
		last[c.name] = c
	}
	if len(v.now) == 0 {
		return
	}
	for name, c := range last {
		if end := v.now[len(v.now)-1].TID; c.tid != end {
			v.add(isCursor, "%s ends at tid %d, the journal at %d", name, c.tid, end)
		}
	}
}

// checkRestore: after the database was put back, whoever remembered what is no
// more was told so.
func (v *verdict) checkRestore() {
	if v.gone == nil {
		return
	}
	has := func(lines []note, reasons ...tracbus.ResyncReason) bool {
		for _, l := range lines {
			for _, reason := range reasons {
				if l.Word == resyncWord && l.Result == string(reason) {
					return true
				}
			}
		}
		return false
	}
	if !v.ahead {
		v.add(crashRuns, "Redis was not ahead when the database was put back, which proves nothing")
	} else if !has(v.read, tracbus.ResyncStreamReset) {
		v.add(isResync, "the stream's subscriber was not told that history went back")
	}
	if v.survivors && !has(v.told, tracbus.ResyncRewound, tracbus.ResyncStreamReset) {
		v.add(isResync, "the listener under Durable was not told that history went back")
	}
}

// streamID is the id of an entry of the stream.
type streamID struct {
	branch, tid int64
	seq         int
}

func readStreamID(text string) (id streamID, err error) {
	first, second, _ := strings.Cut(text, "-")
	n, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return id, err
	}
	id.branch, id.tid = int64(n>>48), int64(n&(1<<48-1))
	id.seq, err = strconv.Atoi(second)
	return id, err
}

func (id streamID) after(other streamID) bool {
	if id.branch != other.branch {
		return id.branch > other.branch
	}
	return record.Place{TID: id.tid, Seq: id.seq}.After(record.Place{TID: other.tid, Seq: other.seq})
}
