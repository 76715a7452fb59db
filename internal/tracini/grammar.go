// Package tracini reads trac.ini as Trac does: the grammar of Python's
// configparser without interpolation and inline comments, files that inherit
// others, and the loose reading of switches and numbers. A [Section] has options
// of each type, and [Findings] what is wrong with them. What the package accepts
// and refuses is recorded from Trac itself, in testdata/config_cases.json of the
// root package; the general ini libraries differ from it in what they do with
// duplicates, continuation lines, quotes and encodings.
package tracini

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// defaultSection holds options that every section of the same file has.
const defaultSection = "DEFAULT"

// A Value is an option's text and the place it was read from.
type Value struct {
	Text    string // continuation lines are joined by newlines
	File    string
	Line    int    // of the option's name, from 1
	Section string // also "DEFAULT", which lends its options to every section
}

// An Error is a file that Trac refuses, or an option that cannot work. Of a file
// that Trac refuses it holds no text but names, because the line at fault may be
// half a password.
type Error struct {
	File    string
	Line    int // from 1; 0 if no line is to blame
	Section string
	Option  string
	Value   string // of the option, if it is [Printable]
	Want    string // what was expected, or "" if Err says it all
	Err     error  // cause, or nil
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d: [%s] %s = %q: %s: %v", e.File, e.Line, e.Section, e.Option, e.Value, e.Want, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// section holds options in the order of the file.
type section struct {
	names  []string // lower case
	values map[string]Value
}

// document is one parsed file, without what it inherits.
type document struct {
	path     string
	sections map[string]*section // DEFAULT included
}

// options adds the options of a section, and then those of DEFAULT if the section
// exists, to those that are known of it.
func (d *document) options(sectionName string, known *section) {
	s := d.sections[sectionName]
	if s == nil {
		return
	}
	known.add(s)
	known.add(d.sections[defaultSection])
}

// add adds the options that are not known yet.
func (s *section) add(others *section) {
	for _, name := range others.names {
		if _, known := s.values[name]; !known {
			s.names = append(s.names, name)
			s.values[name] = others.values[name]
		}
	}
}

// parser holds what the grammar needs from one line to the next.
type parser struct {
	doc     *document
	name    string   // of the current section
	section *section // nil before the first header
	option  string   // the option that a deeper line would continue, or ""
	more    []byte   // lines that continue its value
	indent  int      // of the last line that was no continuation
	line    int
}

// parse reads one file. path is for messages.
func parse(path string, data []byte) (*document, error) {
	p := &parser{doc: &document{path: path, sections: map[string]*section{defaultSection: newSection()}}}
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		p.line++
		if err := p.read(line); err != nil {
			return nil, err
		}
	}
	p.end()
	for _, s := range p.doc.sections {
		for name, v := range s.values {
			v.Text = strings.TrimRightFunc(v.Text, isSpace)
			s.values[name] = v
		}
	}
	return p.doc, nil
}

func (p *parser) read(line string) error {
	if !utf8.ValidString(line) {
		return p.fail("UTF-8 text, found other bytes")
	}
	value := strip(line)
	switch {
	case strings.HasPrefix(value, "#"), strings.HasPrefix(value, ";"):
		return nil
	case value == "":
		p.continueWith("")
		return nil
	}
	indent := utf8.RuneCountInString(line[:strings.Index(line, value)])
	if p.option != "" && indent > p.indent {
		p.continueWith(value)
		return nil
	}
	p.indent = indent
	if end := strings.LastIndexByte(value, ']'); value[0] == '[' && end > 1 {
		return p.header(value[1:end])
	}
	if p.section == nil {
		if strings.HasPrefix(value, "\ufeff") {
			return p.fail("text without a byte-order mark (Trac refuses one; save the file as plain UTF-8)")
		}
		return p.fail("a [section] before anything else")
	}
	return p.assignment(value)
}

func (p *parser) header(name string) error {
	p.end()
	p.name = name
	p.section = p.doc.sections[name]
	switch {
	case p.section == nil:
		p.section = newSection()
		p.doc.sections[name] = p.section
	case name != defaultSection:
		return p.fail("each section once in a file")
	}
	return nil
}

func (p *parser) assignment(value string) error {
	p.end()
	at := strings.IndexAny(value, "=:")
	if at < 0 {
		return p.fail("\"option = value\", a [section], or an indented line that continues a value")
	}
	name := lower(strings.TrimRightFunc(value[:at], isSpace))
	if name == "" {
		return p.fail("the name of an option before the %q", value[at])
	}
	p.option = name
	if _, twice := p.section.values[name]; twice {
		return p.fail("each option once in a section (upper and lower case are the same)")
	}
	p.section.names = append(p.section.names, name)
	p.section.values[name] = Value{Text: strip(value[at+1:]), File: p.doc.path, Line: p.line, Section: p.name}
	return nil
}

// continueWith adds a line to the current option's value, if there is one.
func (p *parser) continueWith(line string) {
	if p.option != "" {
		p.more = append(append(p.more, '\n'), line...)
	}
}

// end ends the current option: its value has all lines now.
func (p *parser) end() {
	if len(p.more) > 0 {
		v := p.section.values[p.option]
		v.Text += string(p.more)
		p.section.values[p.option] = v
	}
	p.option, p.more = "", p.more[:0]
}

func (p *parser) fail(format string, args ...any) error {
	return &Error{File: p.doc.path, Line: p.line, Section: p.name, Option: p.option, Want: fmt.Sprintf(format, args...)}
}

func newSection() *section { return &section{values: map[string]Value{}} }

// isSpace is Python's str.isspace, which counts four control characters that
// Go does not.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

func strip(s string) string { return strings.TrimFunc(s, isSpace) }

// lower is Python's str.lower for the one letter where Go's differs and
// component names could be taken for others.
func lower(s string) string { return strings.ToLower(strings.ReplaceAll(s, "İ", "i̇")) }
