package tracbus

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tracbus/tracbus/internal/value"
)

// StreamEntry is one step of [Subscriber.Stream].
type StreamEntry struct {
	// ID is the place up to which the stream is done when this step is: where
	// to go on later. Of a change it is the entry's id in the stream, of all
	// else the place where the loop stands. It is empty only of an error while
	// the place to begin at is not known yet.
	ID string

	// Event is the change, or a [Resync]; nil beside an error.
	Event Event

	// Channel and Payload are the message that was published with the entry.
	// They are empty of all that is no entry.
	Channel, Payload string
}

// ErrStreamEntry is wrapped by the [DecodeError] for an entry of a stream that no
// [Publisher] has appended.
var ErrStreamEntry = errors.New("not an entry of a publisher's stream")

// entryFields are the fields of an entry, of which it keeps the first error.
type entryFields struct {
	fields map[string]any
	err    error
}

func (f *entryFields) fail(name, expected, found string) {
	if f.err == nil {
		f.err = fmt.Errorf("%w: field %q: expected %s, found %.60q", ErrStreamEntry, name, expected, found)
	}
}

func (f *entryFields) text(name string) string {
	s, ok := f.fields[name].(string)
	switch {
	case !ok && f.err == nil:
		f.err = fmt.Errorf("%w: field %q is missing", ErrStreamEntry, name)
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

// time reads microseconds since 1970. Empty is a time that nobody knows.
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

// types reads which fields of a ticket have a type that JSON has not.
func (f *entryFields) types(name string) []string {
	s, _ := f.fields[name].(string)
	if s == "" {
		return nil
	}
	members, err := value.ParseObject(nil, s)
	if err != nil {
		f.fail(name, "a JSON object", s)
	}
	var times []string
	for _, m := range members {
		if m.Kind != value.String || m.Text != timeType {
			f.fail(name, fmt.Sprintf("the type %q of each field", timeType), m.Text)
		}
		times = append(times, m.Name)
	}
	return times
}

// make gives fields of a ticket their types. A field that a message does not
// have, as a ticket's own field "id", is passed over.
func (f *entryFields) make(times []string, values Fields) {
	for _, name := range times {
		s, ok := values[name].(string)
		if v, has := values[name]; !ok && (!has || v == nil) {
			continue
		}
		t, err := value.ParseTime(s)
		if err != nil {
			f.fail(name, "a time", fmt.Sprint(values[name]))
			return
		}
		values[name] = t
	}
}

// before returns the id of the entry before, as the publisher knew it. Without
// it an entry says nothing of what is missing.
func (f *entryFields) before() (streamID, bool) {
	s, ok := f.fields["before"].(string)
	id, err := parseStreamID(s)
	return id, ok && err == nil
}

// decodeEntry returns the event of an entry: that of its message, completed by
// what the entry says beside it.
func decodeEntry(prefix string, id streamID, fields map[string]any) (Event, error) {
	f := entryFields{fields: fields}
	channel, payload := f.text("channel"), f.text("payload")
	e, err := f.event(prefix, id, channel, payload)
	if err != nil {
		return nil, &DecodeError{channel, payload, fmt.Errorf("entry %s: %w", id, err)}
	}
	return e, nil
}

func (f *entryFields) event(prefix string, id streamID, channel, payload string) (Event, error) {
	if _, ok := f.before(); !ok {
		f.fail("before", "the id of the entry before", f.text("before"))
	}
	if id.tid() == 0 || id.second > math.MaxInt32 {
		f.fail("id", "a tid and a place in the transaction", id.String())
	}
	told := Change{
		TID: id.tid(), Seq: int(id.second), CommitID: f.text("mark"), Time: f.time("time"),
		Author: f.text("author"), IPNR: f.text("ipnr"), Authenticated: f.flag("authenticated"), Comment: f.text("comment"),
	}
	types, oldTypes := f.types("types"), f.types("old_types")
	if f.err != nil {
		return nil, f.err
	}
	e, err := decode(prefix, channel, payload)
	if err != nil {
		return nil, err
	}
	told.Env, told.Null, told.Absent = e.About().Env, e.About().Null, e.About().Absent
	told.Absent &^= AttrOrigin
	switch e := e.(type) {
	case TicketCreated:
		f.make(types, e.Values)
		told = told.ofTicket(AttrAuthor | AttrComment)
	case TicketDeleted:
		f.make(types, e.Values)
		told = told.ofTicket(AttrAuthor | AttrComment)
	case TicketChanged:
		f.make(types, e.Values)
		f.make(types, e.New)
		f.make(oldTypes, e.Old)
		told = told.ofTicket(0)
	case TicketChangeDeleted:
		f.make(types, e.New)
		f.make(oldTypes, e.Old)
		told = told.ofTicket(0)
	case TicketCommentEdited:
		told = told.ofTicket(0)
	}
	return e.WithChange(told), f.err
}

// ofTicket returns c with parts that a ticket's message does not have, but its
// entry has. Of a page such parts are the version's, of which the message tells.
func (c Change) ofTicket(has Attrs) Change {
	c.Absent &^= has | AttrTime
	if c.Time.IsZero() {
		c.Null |= AttrTime
	}
	return c
}
