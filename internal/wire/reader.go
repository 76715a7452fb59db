package wire

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tracbus/tracbus/internal/value"
)

// ErrPayload says that a payload is not one of its channel.
var ErrPayload = errors.New("not a payload of this channel")

// Reader reads the members of a payload that are no fields, one by one, and
// keeps the first error. An attribute of zero says that a member must be there.
type Reader struct {
	Members      []value.Member
	Null, Absent Attrs // of the attributes read so far
	Err          error
}

func (r *Reader) find(name string, want value.Kind, what string, attr Attrs) (value.Member, bool) {
	for _, m := range r.Members {
		if m.Name != name {
			continue
		}
		switch {
		case m.Kind == want:
			return m, true
		case m.Kind == value.Null && attr != 0:
			r.Null |= attr
		default:
			r.Fail("member %q: expected %s, found %.60q", name, what, m.Text)
		}
		return m, false
	}
	if attr == 0 {
		r.Fail("member %q is missing", name)
	}
	r.Absent |= attr
	return value.Member{}, false
}

// Fail notes an error, unless there is one already. It wraps [ErrPayload].
func (r *Reader) Fail(format string, args ...any) {
	if r.Err == nil {
		r.Err = fmt.Errorf("%w: "+format, append([]any{ErrPayload}, args...)...)
	}
}

// Text reads a string.
func (r *Reader) Text(name string, attr Attrs) string {
	m, _ := r.find(name, value.String, "a string", attr)
	if m.Kind != value.String {
		return ""
	}
	return m.Text
}

// Int reads an integer.
func (r *Reader) Int(name string, attr Attrs) int64 {
	m, ok := r.find(name, value.Number, "an integer", attr)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(m.Text, 10, 64)
	if err != nil {
		r.Fail("member %q: expected an integer of 64 bits, found %.60q", name, m.Text)
	}
	return n
}

// Bool reads a number as Python does, and what Python sends for a True that was
// put in as such.
func (r *Reader) Bool(name string, attr Attrs) bool {
	for _, m := range r.Members {
		if m.Name == name && m.Kind == value.Bool {
			return m.Text == "true"
		}
	}
	return r.Int(name, attr) != 0
}

// Time reads a time.
func (r *Reader) Time(name string, attr Attrs) time.Time {
	m, ok := r.find(name, value.String, "a time", attr)
	if !ok {
		return time.Time{}
	}
	t, err := value.ParseTime(m.Text)
	if err != nil {
		r.Fail("member %q: %v", name, err)
	} else if t.IsZero() { // Go's word for no time
		r.Null |= attr
	}
	return t
}

// Made reads when something had been made that is edited or deleted now. Null is
// a time that nobody knows.
func (r *Reader) Made(name string) time.Time {
	for _, m := range r.Members {
		if m.Name == name && m.Kind == value.Null {
			return time.Time{}
		}
	}
	return r.Time(name, 0)
}

// Object reads the fields in an object within the payload.
func (r *Reader) Object(name string) map[string]any {
	m, ok := r.find(name, value.Composite, "an object", 0)
	if !ok {
		return nil
	}
	members, err := value.ParseObject(nil, m.Text)
	if err != nil {
		r.Fail("member %q: %v", name, err)
		return nil
	}
	return r.fields(members, "")
}

// Fields reads all members as fields, but for the one called except.
func (r *Reader) Fields(except string) map[string]any { return r.fields(r.Members, except) }

func (r *Reader) fields(members []value.Member, except string) map[string]any {
	f, err := value.FieldsOf(members, except)
	if err != nil {
		r.Fail("%v", err)
	}
	return f
}
