package value

import (
	"fmt"
	"unicode/utf8"
)

// str reads a string. Without escapes, which is the usual case, it is a part
// of the payload and costs nothing.
func (p *parser) str() (string, error) {
	if !p.take('"') {
		return "", p.want("a string")
	}
	start := p.pos
	for p.pos < len(p.in) {
		switch c := p.in[p.pos]; {
		case c == '"':
			s := p.in[start:p.pos]
			p.pos++
			return s, nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", p.want("an escaped control character")
		case c < utf8.RuneSelf:
			p.pos++
		default:
			if err := p.rune(); err != nil {
				return "", err
			}
		}
	}
	return "", p.want(`'"'`)
}

func (p *parser) rune() error {
	r, n := utf8.DecodeRuneInString(p.in[p.pos:])
	if r == utf8.RuneError && n == 1 {
		return fmt.Errorf("byte %d: expected UTF-8, found 0x%02x", p.pos, p.in[p.pos])
	}
	p.pos += n
	return nil
}

// escaped reads on from the first backslash of a string that began at start.
func (p *parser) escaped(start int) (string, error) {
	out := make([]byte, 0, p.pos-start+64)
	for p.pos < len(p.in) {
		switch c := p.in[p.pos]; {
		case c == '"':
			out = append(out, p.in[start:p.pos]...)
			p.pos++
			return string(out), nil
		case c == '\\':
			out = append(out, p.in[start:p.pos]...)
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			start = p.pos
		case c < ' ':
			return "", p.want("an escaped control character")
		case c < utf8.RuneSelf:
			p.pos++
		default:
			if err := p.rune(); err != nil {
				return "", err
			}
		}
	}
	return "", p.want(`'"'`)
}

func (p *parser) escape() (rune, error) {
	p.pos++ // the backslash
	if p.pos >= len(p.in) {
		return 0, p.want("an escape")
	}
	c := p.in[p.pos]
	p.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return p.unicode()
	}
	p.pos--
	return 0, p.want("an escape")
}

func (p *parser) unicode() (rune, error) {
	r, err := p.hex4()
	if err != nil || r < 0xD800 || r > 0xDFFF {
		return r, err
	}
	if after := p.pos; r < 0xDC00 && p.take('\\') && p.take('u') {
		low, err := p.hex4()
		if err != nil {
			return 0, err
		}
		if low >= 0xDC00 && low <= 0xDFFF {
			return (r-0xD800)<<10 + (low - 0xDC00) + 0x10000, nil
		}
		p.pos = after // another character, to be read on its own
	} else {
		p.pos = after
	}
	return utf8.RuneError, nil
}

func (p *parser) hex4() (rune, error) {
	var r rune
	for range 4 {
		if p.pos >= len(p.in) {
			return 0, p.want("a hex digit")
		}
		c := p.in[p.pos]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, p.want("a hex digit")
		}
		r = r<<4 | rune(c)
		p.pos++
	}
	return r, nil
}
