package value

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kind is the JSON type of a [Member].
type Kind uint8

// The JSON types. Composite is a list or an object; its Text is the raw JSON.
const (
	Null Kind = iota
	String
	Number
	Bool
	Composite
)

// Member is one name of an object and its value, whose text is: of a string,
// the string; of a number, its digits as written; of a bool, "true" or "false".
type Member struct {
	Name string
	Kind Kind
	Text string
}

// maxDepth bounds lists within lists, so that a hostile payload cannot
// exhaust the stack.
const maxDepth = 100

// ParseObject reads a JSON object, appending its members to dst in their order.
// It is strict, because what it let pass would be delivered as something that was
// never sent: duplicate names, bytes that are not UTF-8, NaN and Infinity (which
// Python writes) are errors. Only the escape of half a surrogate pair, which
// Python can write too and Go's strings cannot hold, becomes U+FFFD.
func ParseObject(dst []Member, s string) ([]Member, error) {
	p := parser{in: s}
	p.space()
	dst, err := p.object(dst)
	if err == nil {
		if p.space(); p.pos < len(p.in) {
			err = p.want("the end")
		}
	}
	return dst, err
}

type parser struct {
	in    string
	pos   int
	depth int
}

func (p *parser) want(what string) error {
	if p.pos >= len(p.in) {
		return fmt.Errorf("byte %d: expected %s, found the end", p.pos, what)
	}
	r, _ := utf8.DecodeRuneInString(p.in[p.pos:])
	return fmt.Errorf("byte %d: expected %s, found %q", p.pos, what, r)
}

func (p *parser) space() {
	for p.pos < len(p.in) {
		switch p.in[p.pos] {
		case ' ', '\n', '\t', '\r':
			p.pos++
		default:
			return
		}
	}
}

// take consumes c, if it is next.
func (p *parser) take(c byte) bool {
	if p.pos < len(p.in) && p.in[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) object(dst []Member) ([]Member, error) {
	if !p.take('{') {
		return dst, p.want("an object")
	}
	first := len(dst)
	var names nameSet
	p.space()
	if p.take('}') {
		return dst, nil
	}
	for {
		p.space()
		at := p.pos
		name, err := p.str()
		if err != nil {
			return dst, err
		}
		if names.has(dst[first:], name) {
			return dst, fmt.Errorf("byte %d: name %.60q appears twice", at, name)
		}
		p.space()
		if !p.take(':') {
			return dst, p.want("':'")
		}
		p.space()
		kind, text, err := p.value()
		if err != nil {
			return dst, err
		}
		dst = append(dst, Member{name, kind, text})
		p.space()
		if p.take('}') {
			return dst, nil
		}
		if !p.take(',') {
			return dst, p.want("',' or '}'")
		}
	}
}

// nameSet finds a name that appears twice: by looking through the few members
// of a usual message, and by a map if there are many.
type nameSet map[string]struct{}

func (n *nameSet) has(before []Member, name string) bool {
	if len(before) < 32 {
		for i := range before {
			if before[i].Name == name {
				return true
			}
		}
		return false
	}
	if *n == nil {
		*n = make(nameSet, 2*len(before))
		for i := range before {
			(*n)[before[i].Name] = struct{}{}
		}
	}
	_, twice := (*n)[name]
	(*n)[name] = struct{}{}
	return twice
}

func (p *parser) value() (Kind, string, error) {
	if p.pos >= len(p.in) {
		return 0, "", p.want("a value")
	}
	switch c := p.in[p.pos]; {
	case c == '"':
		s, err := p.str()
		return String, s, err
	case c == '-' || (c >= '0' && c <= '9'):
		s, err := p.number()
		return Number, s, err
	case c == '{' || c == '[':
		start := p.pos
		err := p.composite()
		return Composite, p.in[start:p.pos], err
	}
	for _, word := range [...]string{"null", "true", "false"} {
		if strings.HasPrefix(p.in[p.pos:], word) {
			p.pos += len(word)
			if word == "null" {
				return Null, "", nil
			}
			return Bool, word, nil
		}
	}
	return 0, "", p.want("a value")
}

// composite checks a list or an object without keeping it.
func (p *parser) composite() error {
	if p.depth++; p.depth > maxDepth {
		return fmt.Errorf("byte %d: more than %d levels of lists and objects", p.pos, maxDepth)
	}
	defer func() { p.depth-- }()
	if p.in[p.pos] == '{' {
		_, err := p.object(nil)
		return err
	}
	p.pos++
	p.space()
	if p.take(']') {
		return nil
	}
	for {
		p.space()
		if _, _, err := p.value(); err != nil {
			return err
		}
		p.space()
		if p.take(']') {
			return nil
		}
		if !p.take(',') {
			return p.want("',' or ']'")
		}
	}
}

// number reads RFC 8259's grammar: no leading zero, no plus, no bare point.
func (p *parser) number() (string, error) {
	start := p.pos
	p.take('-')
	if !p.take('0') && !p.digits() {
		return "", p.want("a digit")
	}
	if p.take('.') && !p.digits() {
		return "", p.want("a digit")
	}
	if p.take('e') || p.take('E') {
		if !p.take('+') {
			p.take('-')
		}
		if !p.digits() {
			return "", p.want("a digit")
		}
	}
	return p.in[start:p.pos], nil
}

func (p *parser) digits() bool {
	start := p.pos
	for p.pos < len(p.in) && p.in[p.pos] >= '0' && p.in[p.pos] <= '9' {
		p.pos++
	}
	return p.pos > start
}

// IsNumber says whether s is a number as JSON writes it.
func IsNumber(s string) bool {
	p := parser{in: s}
	_, err := p.number()
	return err == nil && p.pos == len(s)
}
