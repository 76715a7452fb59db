// Package plain makes a text harmless to a terminal. Its secret is which characters
// can command one, or deceive who reads: anybody may write a page's name.
package plain

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// harmless says whether a terminal shows a character as what it is. Control
// characters (also U+007F to U+009F), those that turn the direction of writing,
// those that nobody sees, and separators other than the space are not. Some of them
// count as letters or marks: fillers, variation selectors, an empty pattern of Braille.
func harmless(r rune) bool {
	return unicode.IsPrint(r) && r != '\u2800' && !unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// Word returns a text as it is if all of it is harmless, and else in quotes, with
// escapes as in Go's.
func Word(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !harmless(r) }) < 0 {
		return s
	}
	return quoted(s)
}

// quoted is as Go's, which takes more characters for harmless.
func quoted(s string) string { return Line(strconv.Quote(s)) }

// most is how many bytes of a text Quote shows.
const most = 200

// Quote returns a text in quotes on one line, with escapes as in Go's. Of a long one
// it returns the beginning and the length.
func Quote(s string) string {
	if len(s) <= most {
		return quoted(s)
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return quoted(s[:end]) + fmt.Sprintf("… (%d bytes)", len(s))
}

// Line returns a text on one line whose characters are harmless: each other one, also a
// newline, is escaped as in Go's quotes.
func Line(s string) string { return strings.ReplaceAll(Lines(s), "\n", `\n`) }

// Lines returns a text of several lines whose characters are harmless: each other one
// is escaped as in Go's quotes.
func Lines(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == '\n' || harmless(r) && (r != utf8.RuneError || size > 1) {
			b.WriteString(s[:size])
		} else {
			escaped := strconv.QuoteToASCII(s[:size])
			b.WriteString(escaped[1 : len(escaped)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// JSON returns the same JSON, in which each character that is not harmless is escaped.
// Such a character is in a string: JSON has none elsewhere but white space of ASCII.
func JSON(text []byte) []byte {
	var out []byte
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, `\ufffd`...)
		case r < utf8.RuneSelf && r != 0x7f || harmless(r): // ASCII's control characters are escaped, or between values
			out = append(out, text[i:i+size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += size
	}
	return out
}
