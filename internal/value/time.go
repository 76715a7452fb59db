package value

import (
	"fmt"
	"time"
)

// ParseTime reads what [AppendTime] and Python's isoformat write: a date, a
// "T", a time of day with up to six digits of fraction, and an offset. A time
// without an offset is refused: it names no instant.
func ParseTime(s string) (time.Time, error) {
	bad := func() (time.Time, error) {
		return time.Time{}, fmt.Errorf("time %.60q: expected a form like 2006-01-02T15:04:05.000006+00:00", s)
	}
	if len(s) < len("2006-01-02T15:04:05+00:00") ||
		s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return bad()
	}
	century, ok0 := digits(s[0:2])
	rest, ok1 := digits(s[2:4])
	month, ok2 := digits(s[5:7])
	day, ok3 := digits(s[8:10])
	hour, ok4 := digits(s[11:13])
	minute, ok5 := digits(s[14:16])
	second, ok6 := digits(s[17:19])
	if !(ok0 && ok1 && ok2 && ok3 && ok4 && ok5 && ok6) {
		return bad()
	}
	year := century*100 + rest

	nanos, s2 := 0, s[19:]
	if s2[0] == '.' {
		n := 1
		for scale := 100_000_000; n < len(s2) && s2[n] >= '0' && s2[n] <= '9'; n++ {
			nanos += int(s2[n]-'0') * scale
			scale /= 10
		}
		if n == 1 || n > 7 {
			return bad()
		}
		s2 = s2[n:]
	}
	zone, ok := parseOffset(s2)
	if !ok {
		return bad()
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, zone)
	// time.Date carries February 30th over into March; a payload that names
	// such a day is wrong, not generous.
	if year < 1 || t.Day() != day || t.Hour() != hour || t.Minute() != minute || t.Second() != second || int(t.Month()) != month {
		return bad()
	}
	return t, nil
}

// parseOffset reads "+00:00", "-03:30" or "+00:09:21".
func parseOffset(s string) (*time.Location, bool) {
	if (len(s) != 6 && len(s) != 9) || (s[0] != '+' && s[0] != '-') || s[3] != ':' || (len(s) == 9 && s[6] != ':') {
		return nil, false
	}
	hours, ok1 := digits(s[1:3])
	minutes, ok2 := digits(s[4:6])
	seconds, ok3 := 0, true
	if len(s) == 9 {
		seconds, ok3 = digits(s[7:9])
	}
	if !(ok1 && ok2 && ok3) || hours > 23 || minutes > 59 || seconds > 59 {
		return nil, false
	}
	offset := hours*3600 + minutes*60 + seconds
	if offset == 0 {
		return time.UTC, true
	}
	if s[0] == '-' {
		offset = -offset
	}
	return time.FixedZone("", offset), true
}

// digits reads exactly two.
func digits(s string) (int, bool) {
	a, b := s[0]-'0', s[1]-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}
