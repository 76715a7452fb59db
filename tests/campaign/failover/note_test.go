package failover_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
)

// word says what a note tells of.
type word string

const (
	heardWord  word = "heard"  // a message came on a channel
	entryWord  word = "entry"  // an entry came in the stream
	resyncWord word = "resync" // Text says why
	lossWord   word = "loss"   // the connection was lost, or cannot be made: Text
	errorWord  word = "error"  // any other error of a loop: Text
	faultWord  word = "fault"  // what must not happen did: Text
	statsWord  word = "stats"  // of a publisher, when all is over
)

// note is one line of a process's log, as JSON.
type note struct {
	Word   word
	At     int64  // microseconds since 1970
	Writer string `json:",omitempty"` // which made the change
	N      int    `json:",omitempty"` // of the change
	ID     string `json:",omitempty"` // of an entry
	Text   string `json:",omitempty"`

	Stats *tracbus.PublisherStats `json:",omitempty"`
}

func (n note) time() time.Time { return time.UnixMicro(n.At) }

// notebook reads the log of a process while that writes it.
type notebook struct {
	path  string
	read  int64
	notes []note
}

// look reads what is new, up to the last whole line, and returns all.
func (b *notebook) look(t testing.TB) []note {
	t.Helper()
	f, err := os.Open(b.path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, info.Size()-b.read)
	if _, err := f.ReadAt(text, b.read); err != nil && len(text) > 0 {
		t.Fatal(err)
	}
	for {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		if !whole {
			return b.notes
		}
		var n note
		if err := json.Unmarshal(line, &n); err != nil {
			t.Fatalf("%s: %v: %q", b.path, err, line)
		}
		b.notes = append(b.notes, n)
		b.read += int64(len(line)) + 1
		text = rest
	}
}
