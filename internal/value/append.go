package value

import (
	"math/bits"
	"strconv"
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. A byte that is not part of valid
// UTF-8 becomes U+FFFD, for JSON has no way to say it. U+2028 and U+2029 are
// escaped, so that a payload can be put into JavaScript, as the plugin's can.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for {
		n := plainPrefix(s)
		dst = append(dst, s[:n]...)
		if s = s[n:]; s == "" {
			return append(dst, '"')
		}
		if s[0] < utf8.RuneSelf {
			dst = appendEscape(dst, s[0])
			if s = s[1:]; s != "" && s[0] == '\n' { // the other half of a line's end
				dst = append(dst, '\\', 'n')
				s = s[1:]
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		if bad := r == utf8.RuneError && n == 1; bad || r == '\u2028' || r == '\u2029' {
			dst = append(dst, '\\', 'u',
				hexDigits[r>>12&0xF], hexDigits[r>>8&0xF], hexDigits[r>>4&0xF], hexDigits[r&0xF])
		} else {
			dst = append(dst, s[:n]...)
		}
		s = s[n:]
	}
}

// plainPrefix returns how many bytes of s, from the first, are ASCII and stand
// for themselves.
func plainPrefix(s string) int {
	i := 0
	if n := len(s); n >= 4 && n < 8 && marks(uint64(load4(s))|uint64(load4(s[n-4:]))<<32) == 0 {
		return n
	}
	for ; len(s)-i >= 16; i += 16 { // two at a time keep the processor busy
		if marks(load(s[i:i+8]))|marks(load(s[i+8:i+16])) != 0 {
			break
		}
	}
	for ; len(s)-i >= 8; i += 8 {
		if m := marks(load(s[i : i+8])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	if rest := len(s) - i; rest > 0 && rest < 8 && len(s) >= 8 && marks(load(s[len(s)-8:])) == 0 {
		return len(s) // the last eight bytes, of which some are known
	}
	for i < len(s) && s[i] >= ' ' && s[i] < utf8.RuneSelf && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}

func load(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func load4(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// marks sets the high bit of the first byte of x, from the lowest, that is not
// ASCII or does not stand for itself. Its terms find what is, in turn: not
// ASCII, below a space, a quote, a backslash. A borrow can set bits above that
// byte, never below it.
func marks(x uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, backslash := x^'"'*ones, x^'\\'*ones
	return (x | (x-' '*ones)&^x | (quote-ones)&^quote | (backslash-ones)&^backslash) & highs
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
// offset always, microseconds as six digits and only if there are any.
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
