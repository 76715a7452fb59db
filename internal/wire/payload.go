package wire

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tracbus/tracbus/internal/value"
)

// Attrs is a set of the attributes of an event that can be null or absent in a
// payload.
type Attrs uint16

// The attributes.
const (
	Author Attrs = 1 << iota
	Comment
	Time
	Version
	Text
	OldText
	Readonly
	Values
	Origin
	Actor
	Address
	Old
)

// Has says whether a holds all of b.
func (a Attrs) Has(b Attrs) bool { return a&b == b }

// Said is what the payload of a changed ticket says beside its fields: who made
// the change, and with what comment.
type Said struct {
	Author, Comment string
	Null, Absent    Attrs
}

// AppendTicket appends the payload of a ticket that was created or deleted: all
// fields flat. A field called "id" gives way to the ticket's number, as in the
// plugin.
func AppendTicket(dst []byte, id int64, values map[string]any, orders *value.Orders) ([]byte, error) {
	dst, err := orders.AppendFields(append(dst, '{'), values, "id")
	dst = appendInt(dst, "id", id)
	return append(dst, '}'), err
}

// AppendChange appends the payload of a changed ticket.
func AppendChange(dst []byte, said Said, id int64, values, old map[string]any, orders *value.Orders) ([]byte, error) {
	dst, err := appendChange(dst, said, id, values, old, orders)
	if err != nil {
		return dst, err
	}
	return append(dst, '}'), nil
}

// AppendChangeDeleted appends the payload of a change that was taken out of a
// ticket's history, in which it had been made at a time.
func AppendChangeDeleted(dst []byte, said Said, id int64, values, old map[string]any, made time.Time, orders *value.Orders) ([]byte, error) {
	dst, err := appendChange(dst, said, id, values, old, orders)
	if err != nil {
		return dst, err
	}
	return append(appendTime(dst, "time", made), '}'), nil
}

// appendChange leaves out the closing brace.
func appendChange(dst []byte, said Said, id int64, values, old map[string]any, orders *value.Orders) ([]byte, error) {
	dst = append(dst, `{"new_values":{`...)
	dst, err := orders.AppendFields(dst, values, "")
	if err != nil {
		return dst, fmt.Errorf("new value of %w", err)
	}
	dst = append(dst, `},"old_values":{`...)
	if dst, err = orders.AppendFields(dst, old, ""); err != nil {
		return dst, fmt.Errorf("old value of %w", err)
	}
	dst = append(dst, '}')
	dst = said.append(dst)
	return appendInt(dst, "id", id), nil
}

// AppendCommentEdited appends the payload of an edited comment, which had been
// made at a time.
func AppendCommentEdited(dst []byte, said Said, id int64, oldComment string, made time.Time) []byte {
	dst = append(dst, '{')
	dst = said.append(dst)
	dst = appendText(dst, "old_comment", oldComment, said.Null, said.Absent, OldText)
	dst = appendTime(dst, "time", made)
	return append(appendInt(dst, "id", id), '}')
}

func (s Said) append(dst []byte) []byte {
	dst = appendText(dst, "author", s.Author, s.Null, s.Absent, Author)
	return appendText(dst, "comment", s.Comment, s.Null, s.Absent, Comment)
}

// Page is a version of a page as a payload has it, and which of it is null or
// absent.
type Page struct {
	Name            string
	Version         int64
	Time            time.Time
	Author, Comment string
	Text            string
	Readonly        bool
	Null, Absent    Attrs
}

// AppendPage appends the payload of a page.
func AppendPage(dst []byte, p Page) []byte { return append(p.open(dst), '}') }

// AppendPageChanged appends the payload of a page with the text before.
func AppendPageChanged(dst []byte, p Page, oldText string) []byte {
	return append(appendText(p.open(dst), "old_text", oldText, p.Null, p.Absent, OldText), '}')
}

// AppendPageRenamed appends the payload of a page with the name before.
func AppendPageRenamed(dst []byte, p Page, oldName string) []byte {
	return append(appendText(p.open(dst), "old_name", oldName, 0, 0, 0), '}')
}

// AppendPageCommentEdited appends the payload of a page with the comment before.
func AppendPageCommentEdited(dst []byte, p Page, oldComment string) []byte {
	return append(appendText(p.open(dst), "old_comment", oldComment, p.Null, p.Absent, OldText), '}')
}

// open appends the payload without its closing brace.
func (p Page) open(dst []byte) []byte {
	dst = append(dst, `{"name":`...)
	dst = value.AppendString(dst, p.Name)
	dst = p.appendNumber(dst, "version", p.Version, Version)
	if !p.Absent.Has(Time) {
		dst = appendTime(dst, "time", p.Time)
	}
	dst = appendText(dst, "author", p.Author, p.Null, p.Absent, Author)
	dst = appendText(dst, "text", p.Text, p.Null, p.Absent, Text)
	dst = appendText(dst, "comment", p.Comment, p.Null, p.Absent, Comment)
	readonly := int64(0)
	if p.Readonly {
		readonly = 1
	}
	return p.appendNumber(dst, "readonly", readonly, Readonly)
}

// appendNumber writes a number that can be null or absent.
func (p Page) appendNumber(dst []byte, name string, n int64, attr Attrs) []byte {
	switch {
	case p.Absent.Has(attr):
		return dst
	case n == 0 && p.Null.Has(attr):
		return append(value.AppendKey(dst, name), "null"...)
	}
	return appendInt(dst, name, n)
}

func appendInt(dst []byte, name string, n int64) []byte {
	return strconv.AppendInt(value.AppendKey(dst, name), n, 10)
}

// appendTime writes the zero time, which no commit has, as null.
func appendTime(dst []byte, name string, t time.Time) []byte {
	dst = value.AppendKey(dst, name)
	if t.IsZero() {
		return append(dst, "null"...)
	}
	return value.AppendTime(dst, t)
}

// appendText writes a text that can be null or absent.
func appendText(dst []byte, name, s string, null, absent, attr Attrs) []byte {
	if attr != 0 && absent.Has(attr) {
		return dst
	}
	dst = value.AppendKey(dst, name)
	if attr != 0 && s == "" && null.Has(attr) {
		return append(dst, "null"...)
	}
	return value.AppendString(dst, s)
}
