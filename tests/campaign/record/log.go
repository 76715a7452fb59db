package tracbus_test

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

// attackPlace is where a change stands in the order.
type attackPlace struct {
	TID int64
	Seq int
}

func (p attackPlace) String() string { return fmt.Sprintf("%d.%d", p.TID, p.Seq) }

func (p attackPlace) after(q attackPlace) bool {
	return p.TID > q.TID || p.TID == q.TID && p.Seq > q.Seq
}

// attackState is what a change says of a resource: N is how many changes it has
// had, Text the transaction that made the last of them.
type attackState struct {
	N    int64
	Text string
}

func (s *attackState) String() string {
	if s == nil {
		return "nothing"
	}
	return fmt.Sprintf("version %d by %q", s.N, s.Text)
}

// attackWord says what a line of a log tells of.
type attackWord string

const (
	attackStart      attackWord = "start"       // the journal was opened, and is followed from TID on
	attackEverywhere attackWord = "everywhere"  // the listener Everywhere was told
	attackPrimary    attackWord = "primary"     // the listener Primary was told
	attackOutcome    attackWord = "outcome"     // Update returned: By, Result, TID
	attackHeld       attackWord = "held"        // a transaction was held open with its tid: By, Result says how long
	attackFault      attackWord = "fault"       // what must not happen did: Result says what
	attackEnd        attackWord = "end"         // the run ended in order
	plainStart       attackWord = "plain start" // the plain reader begins after TID
	plainRead        attackWord = "plain"       // the plain reader has read TID
)

// attackLine is one line of a run's log, as JSON.
type attackLine struct {
	Word attackWord
	attackPlace

	// Of a change that a listener was told of.
	Resource string       `json:",omitempty"`
	Kind     tracbus.Kind `json:",omitempty"`
	Primary  bool         `json:",omitempty"`
	Old, New *attackState `json:",omitempty"`
	Digest   uint64       `json:",omitempty"` // of the whole event, but for Primary

	By     string `json:",omitempty"` // the transaction, as "run/writer/number"
	Result string `json:",omitempty"`
}

// What Update can return, as an outcome's Result begins.
const (
	attackCommitted    = "committed"
	attackNotCommitted = "not committed"
	attackUnknown      = "unknown"
)

// attackLineOf returns what a listener notes of an event.
func attackLineOf(word attackWord, e tracbus.Event) attackLine {
	c := e.About()
	l := attackLine{
		Word: word, attackPlace: attackPlace{c.TID, c.Seq}, By: c.Author,
		Resource: e.Resource().String(), Kind: e.Kind(), Primary: c.Primary,
	}
	c.Primary = false
	digest := fnv.New64a()
	fmt.Fprintf(digest, "%#v", e.WithChange(c))
	l.Digest = digest.Sum64()

	switch e := e.(type) {
	case tracbus.TicketCreated:
		l.New = attackItemState(e.Values)
	case tracbus.TicketChanged:
		l.Old, l.New = attackItemState(e.Old), attackItemState(e.New)
	case tracbus.TicketDeleted:
		l.Old = attackItemState(e.Values)
	case tracbus.WikiPageCreated:
		l.New = &attackState{e.Page.Version, e.Page.Text}
	case tracbus.WikiPageChanged:
		l.Old = &attackState{e.Page.Version - 1, e.OldText}
		l.New = &attackState{e.Page.Version, e.Page.Text}
	case tracbus.Resync:
		return attackLine{Word: attackFault, Result: fmt.Sprintf("a listener was told that it missed %d changes: %s, %v", e.Missed, e.Reason, e.Err)}
	default:
		return attackLine{Word: attackFault, Result: fmt.Sprintf("a listener was told %T", e)}
	}
	return l
}

func attackItemState(f tracbus.Fields) *attackState {
	number, _ := f["n"].(json.Number)
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		n = -1 // which no change has
	}
	return &attackState{n, f.Text("text")}
}

// attackLog is the log that a run writes. Each line is one write, so that what
// a killed run wrote is whole but for its last line.
type attackLog struct{ file *os.File }

func openAttackLog(path string) (*attackLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &attackLog{f}, err
}

func (l *attackLog) write(line any) error {
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = l.file.Write(append(b, '\n'))
	return err
}

// attackRun is one run of a process, as its log tells.
type attackRun struct {
	name   string
	killed bool // by the attack: it may end anywhere
	lines  []attackLine
}

// readAttackRun reads the log of a run that is over.
func readAttackRun(t testing.TB, name, path string, killed bool) attackRun {
	t.Helper()
	r := attackRun{name: name, killed: killed}
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
		var l attackLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("log of %s: %v: %.200q", name, err, line)
		}
		r.lines = append(r.lines, l)
		b = rest
	}
	return r
}

// with returns a run's lines of one word.
func (r attackRun) with(word attackWord) (found []attackLine) {
	for _, l := range r.lines {
		if l.Word == word {
			found = append(found, l)
		}
	}
	return found
}
