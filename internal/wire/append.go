// Package wire knows how a message looks in Redis: JSON as the original plugin
// writes it (Trac's to_json over Python's datetime.isoformat), and the grammar
// of its channels. It knows nothing of tickets and pages.
package wire

import (
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
	done := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[done:i]...)
			dst = appendEscape(dst, c)
			i++
			done = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if bad := r == utf8.RuneError && n == 1; bad || r == '\u2028' || r == '\u2029' {
			dst = append(dst, s[done:i]...)
			dst = append(dst, '\\', 'u',
				hexDigits[r>>12&0xF], hexDigits[r>>8&0xF], hexDigits[r>>4&0xF], hexDigits[r&0xF])
			done = i + n
		}
		i += n
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
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
