package crash_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"testing"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// word says what a line of a crash campaign's log tells of.
type word string

const (
	heardWord  word = "heard"  // the pub/sub subscriber received a message
	entryWord  word = "entry"  // the stream has it, or its subscriber received it
	toldWord   word = "told"   // the listener under Durable was told
	resyncWord word = "resync" // one of them was told that changes were missed: Result is the reason
	lossWord   word = "loss"   // a subscriber has lost its connection
	faultWord  word = "fault"  // what must not happen did: Result says what
)

// note is one line of such a log, as JSON. By is the transaction, as
// "run/writer/number": with the resource it names a change, also where tids come
// again after the database was put back.
type note struct {
	Word word
	Run  string
	record.Place
	Mark string `json:",omitempty"`

	Resource string        `json:",omitempty"`
	Kind     tracbus.Kind  `json:",omitempty"`
	Old, New *record.State `json:",omitempty"`
	By       string        `json:",omitempty"`
	Result   string        `json:",omitempty"`

	// Of an entry of the stream.
	ID, Channel, Payload string `json:",omitempty"`

	Epoch        int64 `json:",omitempty"` // of a turn under Durable
	Behind, UpTo int64 `json:",omitempty"` // of a Resync of the stream
}

// noteOf returns what is noted of an event.
func noteOf(word word, run string, e tracbus.Event) note {
	if e == nil {
		return note{}
	}
	if e, ok := e.(tracbus.Resync); ok {
		return note{Word: resyncWord, Run: run, Result: string(e.Reason), Behind: e.After, UpTo: e.Through}
	}
	l := record.LineOf("", e)
	if l.Word == record.Fault {
		return note{Word: faultWord, Run: run, Result: l.Result}
	}
	line := note{
		Word: word, Run: run, Place: l.Place, Mark: e.About().CommitID,
		Resource: l.Resource, Kind: l.Kind, Old: l.Old, New: l.New,
	}
	switch e := e.(type) { // not the author, who is not in all messages
	case tracbus.TicketDeleted:
		line.By = e.Values.Text("by")
	default:
		if l.New != nil {
			line.By = l.New.Text
		}
	}
	return line
}

// toldNote returns what the listener under Durable notes.
func toldNote(ctx context.Context, run string, e tracbus.Event) note {
	l := noteOf(toldWord, run, e)
	turn, ok := tracbus.LeaseFrom(ctx)
	if !ok {
		return note{Word: faultWord, Run: run, Result: "a listener under Durable was told without a turn"}
	}
	l.Epoch = turn.Token
	return l
}

// readLog reads a log that others may be writing. A last line that is not
// whole is left out.
func readLog(t testing.TB, path string) (lines []note) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		if !whole {
			return lines
		}
		var l note
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%s: %v: %.200q", path, err, line)
		}
		lines, b = append(lines, l), rest
	}
}

// wholeLines cuts a last line off a log that is not whole: whoever wrote it was
// killed before it counts.
func wholeLines(path string) error {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Truncate(path, int64(bytes.LastIndexByte(b, '\n')+1))
}
