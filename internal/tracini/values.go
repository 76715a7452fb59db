package tracini

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// ErrDigits is what Python reads as a number and people hardly see in a file:
// digits of other scripts.
var ErrDigits = errors.New("digits other than 0 to 9")

// Bool reads a switch as Trac's as_bool does: yes, true, enabled, on and every
// number but zero are true; known is false for text that Trac takes for false
// without a word. The error is [ErrDigits].
func Bool(text string) (value, known bool, err error) {
	switch text = lower(strip(text)); text {
	case "yes", "true", "enabled", "on":
		return true, true, nil
	case "no", "false", "disabled", "off":
		return false, true, nil
	}
	if ascii := asciiDigits(text); ascii != text {
		if _, number := parseFloat(ascii); number {
			return false, false, ErrDigits
		}
	}
	n, number := parseFloat(text)
	return number && n != 0, number, nil
}

// parseFloat is Python's float(), but for the digits it takes. The text is in
// lower case.
func parseFloat(text string) (n float64, ok bool) {
	unsigned := text
	if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
		unsigned = text[1:]
	}
	switch {
	case unsigned == "nan", unsigned == "inf", unsigned == "infinity":
		return math.Inf(1), true // any number but zero does
	case !strings.HasPrefix(unsigned, ".") && !digitAt(unsigned, 0), strings.Contains(unsigned, "x"):
		return 0, false // Go would take a second sign, and hexadecimal
	}
	for i := range len(unsigned) {
		if unsigned[i] == '_' && !(digitAt(unsigned, i-1) && digitAt(unsigned, i+1)) {
			return 0, false
		}
	}
	n, err := strconv.ParseFloat(strings.ReplaceAll(unsigned, "_", ""), 64)
	return n, err == nil || errors.Is(err, strconv.ErrRange)
}

func digitAt(s string, i int) bool { return 0 <= i && i < len(s) && '0' <= s[i] && s[i] <= '9' }

// asciiDigits puts a digit of ASCII in the place of every other one.
func asciiDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x80 && unicode.Is(unicode.Nd, r) {
			return '1'
		}
		return r
	}, text)
}

// List splits a value as Trac's ListOption does. Empty parts stay.
func List(text, separator string) []string {
	if text == "" {
		return nil
	}
	parts := strings.Split(text, separator)
	for i, part := range parts {
		parts[i] = strip(part)
	}
	return parts
}
