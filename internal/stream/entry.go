package stream

import (
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tracbus/tracbus/internal/tracecontext"
	"github.com/tracbus/tracbus/internal/value"
)

// An Entry is what a publisher appends for one change: the message that it
// publishes, and what the message does not carry.
type Entry struct {
	Channel, Payload string

	TID           int64
	Seq           int       // place in the transaction, from 0
	CommitID      string    // of the transaction
	Time          time.Time // zero if it is not known
	Author        string
	IPNR          string
	Authenticated bool
	Comment       string
	Trace         tracecontext.Context // what is malformed in it is left out

	// Times and OldTimes name the fields of a ticket that are times, which JSON
	// does not distinguish from texts; among the new or all values, and among the old
	// ones.
	Times, OldTimes []string
}

// timeType is the only type of a field that JSON does not have.
const timeType = "time"

// ParseEntry reads the fields of an entry. If they are not a publisher's, it
// returns an error, and of the Entry the Channel and Payload that there are.
func ParseEntry(id string, fields map[string]any) (Entry, error) {
	f := entryFields{fields: fields}
	e := Entry{Channel: f.text("channel"), Payload: f.text("payload")}
	if _, ok := previousOf(fields); !ok {
		f.fail("before", "the id of the entry before", f.text("before"))
	}
	at, err := ParseID(id)
	if err != nil || at.tid() == 0 || at.second > math.MaxInt32 {
		f.fail("id", "a tid and a place in the transaction", id)
	}
	e.TID, e.Seq = at.tid(), int(at.second)
	e.CommitID, e.Time = f.text("mark"), f.time("time")
	e.Author, e.IPNR, e.Authenticated, e.Comment = f.text("author"), f.text("ipnr"), f.flag("authenticated"), f.text("comment")
	e.Trace = traceOf(fields)
	e.Times, e.OldTimes = f.times("types"), f.times("old_types")
	return e, f.err
}

// RestoreTimes makes the named fields of a ticket times again, which a payload
// holds as texts. It ignores a name that the payload does not have, such as a
// ticket's own field "id".
func RestoreTimes(values map[string]any, names []string) error {
	for _, name := range names {
		s, ok := values[name].(string)
		if v, has := values[name]; !ok && (!has || v == nil) {
			continue
		}
		t, err := value.ParseTime(s)
		if err != nil {
			return wrongField(name, "a time", fmt.Sprint(values[name]))
		}
		values[name] = t
	}
	return nil
}

// previousOf returns the id of the entry before, as the publisher knew it. An
// entry that does not have it says nothing about what is missing.
func previousOf(fields map[string]any) (ID, bool) {
	s, ok := fields["before"].(string)
	id, err := ParseID(s)
	return id, ok && err == nil
}

// commitOf returns the id of the transaction, or "" if the entry has none.
func commitOf(fields map[string]any) string {
	s, _ := fields["mark"].(string)
	return s
}

// traceOf returns the trace of an entry, which most do not have.
func traceOf(fields map[string]any) tracecontext.Context {
	parent, _ := fields["traceparent"].(string)
	state, _ := fields["tracestate"].(string)
	return tracecontext.Context{Parent: parent, State: state}.Valid()
}

// entryFields reads the fields of an entry and keeps the first error.
type entryFields struct {
	fields map[string]any
	err    error
}

func wrongField(name, expected, found string) error {
	return fmt.Errorf("field %q: expected %s, found %.60q", name, expected, found)
}

func (f *entryFields) fail(name, expected, found string) {
	if f.err == nil {
		f.err = wrongField(name, expected, found)
	}
}

func (f *entryFields) text(name string) string {
	s, ok := f.fields[name].(string)
	switch {
	case !ok && f.err == nil:
		f.err = fmt.Errorf("field %q is missing", name)
	case !utf8.ValidString(s):
		f.fail(name, "UTF-8", s)
	}
	return s
}

func (f *entryFields) flag(name string) bool {
	s := f.text(name)
	if s != "0" && s != "1" {
		f.fail(name, "0 or 1", s)
	}
	return s == "1"
}

// time reads microseconds since 1970. Empty means that the time is not known.
func (f *entryFields) time(name string) time.Time {
	s := f.text(name)
	if s == "" {
		return time.Time{}
	}
	micros, err := strconv.ParseInt(s, 10, 64)
	t := time.UnixMicro(micros).UTC()
	if err != nil || value.CheckTime(t) != nil {
		f.fail(name, "microseconds since 1970", s)
	}
	return t
}

// times reads the names of the fields that are times. The field may be missing.
func (f *entryFields) times(name string) []string {
	s, _ := f.fields[name].(string)
	if s == "" {
		return nil
	}
	members, err := value.ParseObject(nil, s)
	if err != nil {
		f.fail(name, "a JSON object", s)
	}
	var names []string
	for _, m := range members {
		if m.Kind != value.String || m.Text != timeType {
			f.fail(name, fmt.Sprintf("the type %q of each field", timeType), m.Text)
		}
		names = append(names, m.Name)
	}
	return names
}
