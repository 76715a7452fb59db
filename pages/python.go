package pages

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// translation makes of an expression, as Python's module re reads it, one that Go
// reads alike. What Python refuses and Go knows, such as \pL, is left as it is.
type translation struct {
	in  string // what is to be read
	cut bool   // of the text, a last newline is cut off

	out     []byte
	flags   string // that Python applies to the whole expression, wherever they stand
	verbose []bool // of the whole and of each group that is open: spaces do not count
	opened  int    // length of out after the last parenthesis that opens a group
	dollar  bool   // there is a $
	folded  int    // characters in the ranges of classes
}

// noCharacter matches nothing.
const noCharacter = `[^\x00-\x{10FFFF}]`

// translate returns Go's expression. An error says what Go does not have.
func (t *translation) translate() (string, error) {
	in := t.in
	t.verbose, t.opened = []bool{false}, -1
	err := t.read()
	if err == errVerbose {
		*t = translation{in: in, cut: t.cut, verbose: []bool{true}, opened: -1}
		err = t.read()
	}
	if t.flags != "" {
		return "(?" + t.flags + ")" + string(t.out), err
	}
	return string(t.out), err
}

// errVerbose says that there is a flag x for the whole expression, of which a part
// was read without it. Python, too, then starts over.
var errVerbose = errors.New("the expression is verbose")

func (t *translation) read() (err error) {
	for t.in != "" && err == nil {
		switch c, verbose := t.in[0], t.verbose[len(t.verbose)-1]; {
		case verbose && strings.IndexByte(" \t\n\r\v\f", c) >= 0:
			t.in = t.in[1:]
		case verbose && c == '#':
			_, t.in, _ = strings.Cut(t.in, "\n")
		case c == '\\':
			err = t.escape(false)
		case c == '[':
			err = t.class()
		case c == '(':
			err = t.group()
		case c == ')':
			t.verbose = t.verbose[:max(len(t.verbose)-1, 1)]
			t.take(1)
		case c == '{':
			t.repeat()
		case c == '?' && len(t.out) == t.opened: // after a comment
			return errors.New("nothing to repeat before ?")
		default:
			t.dollar = t.dollar || c == '$'
			t.take(1)
		}
	}
	return err
}

// take takes n bytes over as they are.
func (t *translation) take(n int) { t.put(t.in[:n], n) }

// put takes something else in the place of n bytes.
func (t *translation) put(text string, n int) {
	t.out = append(t.out, text...)
	t.in = t.in[n:]
}

// octal is a character by its number, as opposed to a reference to a group.
var octal = regexp.MustCompile(`^\\(0[0-7]{0,2}|[0-3][0-7]{2})`)

// octalInClass is the same where there are no references.
var octalInClass = regexp.MustCompile(`^\\([0-3]?[0-7]{1,2})`)

// escape reads a backslash and what belongs to it, in a class or outside.
func (t *translation) escape(inClass bool) error {
	r, size := utf8.DecodeRuneInString(t.in[1:])
	number := octal
	if inClass {
		number = octalInClass
	}
	switch {
	case size == 0:
		return errors.New("a backslash at the end")
	case r == 'N':
		return errors.New(`a character by its name, \N, which Go's regular expressions do not have: expected \u and its number`)
	case r == 'u':
		return t.hexadecimal(4)
	case r == 'U':
		return t.hexadecimal(8)
	case '0' <= r && r <= '9':
		found := number.FindString(t.in)
		if found == "" {
			return errors.New("back-reference, which Go's regular expressions do not have")
		}
		n, _ := strconv.ParseUint(found[1:], 8, 16)
		t.put(fmt.Sprintf(`\x{%x}`, n), len(found))
	case inClass && r == 'b':
		t.put(`\x08`, 2)
	case inClass && r == 's': // Go's has no \v
		t.put(`\s\v`, 2)
	case inClass && r == 'S':
		t.put(`\x00-\x08\x0e-\x1f!-\x{10FFFF}`, 2)
	case r == 's':
		t.put(`[\s\v]`, 2)
	case r == 'S':
		t.put(`[^\s\v]`, 2)
	case r == 'Q' && !inClass: // Go's own
		end := strings.Index(t.in, `\E`)
		if end < 0 {
			end = len(t.in) - 2
		}
		t.take(end + 2)
	case (r == 'Z' || r == 'z') && !inClass && t.cut:
		t.put(noCharacter, 2)
	case r == 'Z' && !inClass:
		t.put(`\z`, 2)
	case r >= utf8.RuneSelf:
		t.put(string(r), 1+size)
	case r == 'p' || r == 'P': // Go's own
		t.folded += namedClass
		t.take(2)
	default:
		t.take(1 + size)
	}
	return nil
}

// hexadecimal reads a character by its number of n digits.
func (t *translation) hexadecimal(n int) error {
	if len(t.in) < 2+n {
		return fmt.Errorf("%.10q: expected %d hexadecimal digits", t.in, n)
	}
	if c, err := strconv.ParseUint(t.in[2:2+n], 16, 32); err != nil || c > utf8.MaxRune {
		return fmt.Errorf("%.10q: expected %d hexadecimal digits", t.in, n)
	}
	t.put(`\x{`+t.in[2:2+n]+`}`, 2+n)
	return nil
}

// class reads a class of characters. Python knows no classes by name in it.
func (t *translation) class() error {
	begin := len(t.out)
	t.take(1)
	if strings.HasPrefix(t.in, "^") {
		t.take(1)
	}
	for first := true; t.in != ""; first = false {
		switch c := t.in[0]; {
		case c == ']' && !first:
			t.take(1)
			t.folded += folded(string(t.out[begin:]))
			return nil
		case c == ']', c == '[':
			t.put(`\`+string(c), 1)
		case c == '\\':
			if err := t.escape(true); err != nil {
				return err
			}
		default:
			t.take(1)
		}
	}
	return errors.New("missing closing ]")
}

// missing are the groups that Go does not have.
var missing = []struct{ begin, what string }{
	{"(?=", "look-around"}, {"(?!", "look-around"}, {"(?<=", "look-around"}, {"(?<!", "look-around"},
	{"(?P=", "back-reference"}, {"(?>", "atomic group"}, {"(?(", "conditional"},
}

var (
	flagged = regexp.MustCompile(`^\(\?([aiLmsux]*)(?:-([imsx]+))?([:)])`)
	named   = regexp.MustCompile(`^\(\?P<([^>)]*)>`)
	counted = regexp.MustCompile(`^\{(\d*)(,?)(\d*)\}`)
)

// group reads what begins with a parenthesis.
func (t *translation) group() error {
	for _, m := range missing {
		if strings.HasPrefix(t.in, m.begin) {
			return fmt.Errorf("%s, which Go's regular expressions do not have", m.what)
		}
	}
	if strings.HasPrefix(t.in, "(?#") {
		end := strings.IndexByte(t.in, ')')
		if end < 0 {
			return errors.New("missing ) after a comment")
		}
		t.in = t.in[end+1:]
		return nil
	}
	verbose := t.verbose[len(t.verbose)-1]
	if f := flagged.FindStringSubmatch(t.in); f != nil && (f[1] != "" || f[2] != "" || f[3] == ":") {
		on, off := goFlags(f[1]), goFlags(f[2])
		switch {
		case strings.Contains(f[1], "L"):
			return errors.New("the flag L, which neither Python has for texts nor Go")
		case f[3] == ")" && f[2] == "" && strings.Contains(f[1], "x") && !t.verbose[0]:
			return errVerbose
		case f[3] == ")" && f[2] == "":
			t.flags, t.in = t.flags+on, t.in[len(f[0]):]
			return nil
		case f[3] == ")": // Go's own
			t.take(len(f[0]))
			return nil
		}
		if off != "" {
			off = "-" + off
		}
		t.open("(?"+on+off+":", len(f[0]))
		verbose = (verbose || strings.Contains(f[1], "x")) && !strings.Contains(f[2], "x")
		t.verbose = append(t.verbose, verbose)
		return nil
	}
	switch name := named.FindStringSubmatch(t.in); {
	case name != nil: // Go allows fewer characters in a name, and nothing needs it
		t.open("(", len(name[0]))
	case strings.HasPrefix(t.in, "(?"): // Go's own, or wrong
		t.take(2)
	default:
		t.open("(", 1)
	}
	t.verbose = append(t.verbose, verbose)
	return nil
}

// open opens a group in the place of n bytes.
func (t *translation) open(text string, n int) {
	t.put(text, n)
	t.opened = len(t.out)
}

// goFlags returns those flags that Go has.
func goFlags(python string) (flags string) {
	for _, f := range "ims" {
		if strings.ContainsRune(python, f) {
			flags += string(f)
		}
	}
	return flags
}

// repeat reads a brace: a count if it can be one, else itself.
func (t *translation) repeat() {
	c := counted.FindStringSubmatch(t.in)
	if c == nil || c[1] == "" && c[2] == "" {
		t.put(`\{`, 1)
		return
	}
	from, to := strings.TrimLeft(c[1], "0"), strings.TrimLeft(c[3], "0")
	if from == "" {
		from = "0"
	}
	if to == "" && c[3] != "" {
		to = "0"
	}
	t.put("{"+from+c[2]+to+"}", len(c[0]))
}
