// Package record is what the campaigns share: the processes that they start, what
// these write into a database and into their logs, and the checker that compares
// the logs with the tables when all is over.
package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"testing"

	"github.com/tracbus/tracbus"
)

// Place is the position of a change in the order.
type Place struct {
	TID int64
	Seq int
}

// String shows a place as "tid.seq".
func (p Place) String() string { return fmt.Sprintf("%d.%d", p.TID, p.Seq) }

// After compares two places.
func (p Place) After(q Place) bool {
	return p.TID > q.TID || p.TID == q.TID && p.Seq > q.Seq
}

// State is what a change says of a resource: N is how many changes it has
// had, Text the transaction that made the last of them.
type State struct {
	N    int64
	Text string
}

// String shows a state, which may be nil.
func (s *State) String() string {
	if s == nil {
		return "nothing"
	}
	return fmt.Sprintf("version %d by %q", s.N, s.Text)
}

// Word says what a line of a log tells of.
type Word string

const (
	Start      Word = "start"       // the journal was opened, and is followed from TID on
	Everywhere Word = "everywhere"  // the listener Everywhere was told
	Primary    Word = "primary"     // the listener Primary was told
	Outcome    Word = "outcome"     // Update returned: By, Result, TID
	Held       Word = "held"        // a transaction was held open with its tid: By, Result says how long
	Fault      Word = "fault"       // what must not happen did: Result says what
	End        Word = "end"         // the run ended in order
	PlainStart Word = "plain start" // the plain reader begins after TID
	PlainRead  Word = "plain"       // the plain reader has read TID
)

// Line is one line of a run's log, as JSON.
type Line struct {
	Word Word
	Place

	// Of a change that a listener was told of.
	Resource string       `json:",omitempty"`
	Kind     tracbus.Kind `json:",omitempty"`
	Primary  bool         `json:",omitempty"`
	Old, New *State       `json:",omitempty"`
	Digest   uint64       `json:",omitempty"` // of the whole event, but for Primary

	By     string `json:",omitempty"` // the transaction, as "run/writer/number"
	Result string `json:",omitempty"`
}

// What Update can return, as an outcome's Result begins.
const (
	Committed    = "committed"
	NotCommitted = "not committed"
	Unknown      = "unknown"
)

// LineOf returns what a listener notes of an event.
func LineOf(word Word, e tracbus.Event) Line {
	c := e.About()
	l := Line{
		Word: word, Place: Place{c.TID, c.Seq}, By: c.Author,
		Resource: e.Resource().String(), Kind: e.Kind(), Primary: c.Primary,
	}
	c.Primary = false
	digest := fnv.New64a()
	fmt.Fprintf(digest, "%#v", e.WithChange(c))
	l.Digest = digest.Sum64()

	switch e := e.(type) {
	case tracbus.TicketCreated:
		l.New = itemState(e.Values)
	case tracbus.TicketChanged:
		l.Old, l.New = itemState(e.Old), itemState(e.New)
	case tracbus.TicketDeleted:
		l.Old = itemState(e.Values)
	case tracbus.WikiPageCreated:
		l.New = &State{e.Page.Version, e.Page.Text}
	case tracbus.WikiPageChanged:
		l.Old = &State{e.Page.Version - 1, e.OldText}
		l.New = &State{e.Page.Version, e.Page.Text}
	case tracbus.Resync:
		return Line{Word: Fault, Result: fmt.Sprintf("a listener was told that it missed %d changes: %s, %v", e.Missed, e.Reason, e.Err)}
	default:
		return Line{Word: Fault, Result: fmt.Sprintf("a listener was told %T", e)}
	}
	return l
}

func itemState(f tracbus.Fields) *State {
	number, _ := f["n"].(json.Number)
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		n = -1 // which no change has
	}
	return &State{n, f.Text("text")}
}

// Log is the log that a run writes. Each line is one write, so that what
// a killed run wrote is whole but for its last line.
type Log struct{ file *os.File }

// OpenLog opens a log to append to it.
func OpenLog(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &Log{f}, err
}

// Write appends a line.
func (l *Log) Write(line any) error {
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(b, '\n'))
	return err
}

// Run is one run of a process, as its log tells.
type Run struct {
	Name   string
	killed bool // by the attack: it may end anywhere
	lines  []Line
}

// ReadRun reads the log of a run that is over.
func ReadRun(t testing.TB, name, path string, killed bool) Run {
	t.Helper()
	r := Run{Name: name, killed: killed}
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) && killed {
		return r // before it began
	}
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		if !whole && killed {
			break
		}
		var l Line
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("log of %s: %v: %.200q", name, err, line)
		}
		r.lines = append(r.lines, l)
		b = rest
	}
	return r
}

// With returns a run's lines of one word.
func (r Run) With(word Word) (found []Line) {
	for _, l := range r.lines {
		if l.Word == word {
			found = append(found, l)
		}
	}
	return found
}
