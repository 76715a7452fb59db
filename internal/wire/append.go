// Package wire knows how a message looks in Redis: JSON as the original plugin
// writes it (Trac's to_json over Python's datetime.isoformat), and the grammar
// of its channels. It knows nothing of tickets and pages.
package wire

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. A byte that is not part of valid
// UTF-8 becomes U+FFFD, for JSON has no way to say it. U+2028 and U+2029 are
// escaped, so that a payload can stand in JavaScript, as the plugin's can.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		dst = slices.Grow(dst, 8+6) // the most that one turn writes
		if len(s)-i >= 8 {
			x := load(s[i : i+8])
			n := plain(x)
			// All eight are written, and those that must not stand are
			// written over: that is cheaper than to copy some.
			binary.LittleEndian.PutUint64(dst[len(dst):len(dst)+8], x)
			dst = dst[:len(dst)+n]
			if i += n; n == 8 {
				continue
			}
		}
		if c := s[i]; c < utf8.RuneSelf {
			dst = appendASCII(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if bad := r == utf8.RuneError && n == 1; bad || r == '\u2028' || r == '\u2029' {
			dst = append(dst, '\\', 'u',
				hexDigits[r>>12&0xF], hexDigits[r>>8&0xF], hexDigits[r>>4&0xF], hexDigits[r&0xF])
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return append(dst, '"')
}

func load(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// plain returns how many of x's eight bytes, from the lowest, are ASCII and
// stand for themselves. Each term has the high bit of a byte set where that
// byte is, in turn: not ASCII, below a space, a quote, a backslash. A borrow can
// set a bit above the first byte that is found, never below it.
func plain(x uint64) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, backslash := x^'"'*ones, x^'\\'*ones
	found := (x | (x-' '*ones)&^x | (quote-ones)&^quote | (backslash-ones)&^backslash) & highs
	return bits.TrailingZeros64(found) / 8
}

func appendASCII(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c >= ' ':
		return append(dst, c)
	case c == '\n':
		return append(dst, '\\', 'n')
	case c == '\r':
		return append(dst, '\\', 'r')
	case c == '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
}

// AppendKey appends s as an object key with its colon, after a comma unless
// the object has just been opened.
func AppendKey(dst []byte, s string) []byte {
	if n := len(dst); n > 0 && dst[n-1] != '{' {
		dst = append(dst, ',')
	}
	dst = AppendString(dst, s)
	return append(dst, ':')
}

// AppendFloat appends f, a finite float of so many bits, in the fewest digits
// that read back as the same number and, as in Python, still as a float.
func AppendFloat(dst []byte, f float64, bits int) []byte {
	format := byte('f')
	if a := max(f, -f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	for _, c := range dst[start:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, '.', '0')
}

// AppendTime appends t as a JSON string in the form of Python's isoformat:
// offset always, microseconds as six digits and only where there are any.
// The year must lie between 1 and 9999.
func AppendTime(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = append(dst, '"')
	dst = append2(dst, year/100)
	dst = append2(dst, year%100)
	dst = append(dst, '-')
	dst = append2(dst, int(month))
	dst = append(dst, '-')
	dst = append2(dst, day)
	dst = append(dst, 'T')
	dst = appendClock(dst, hour, minute)
	dst = append(dst, ':')
	dst = append2(dst, second)
	if micros := t.Nanosecond() / 1000; micros != 0 {
		dst = append(dst, '.')
		dst = append2(dst, micros/10000)
		dst = append2(dst, micros/100%100)
		dst = append2(dst, micros%100)
	}
	_, offset := t.Zone()
	sign := byte('+')
	if offset < 0 {
		sign, offset = '-', -offset
	}
	dst = append(dst, sign)
	dst = appendClock(dst, offset/3600, offset/60%60)
	if s := offset % 60; s != 0 {
		dst = append(dst, ':')
		dst = append2(dst, s)
	}
	return append(dst, '"')
}

func appendClock(dst []byte, hour, minute int) []byte {
	dst = append2(dst, hour)
	dst = append(dst, ':')
	return append2(dst, minute)
}

func append2(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}
