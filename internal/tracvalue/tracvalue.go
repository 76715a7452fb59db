// Package tracvalue reads texts as Trac does: times, lists of addresses, spaces.
package tracvalue

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tracbus/tracbus/internal/value"
)

// Time reads the time of a custom field (_db_str_to_datetime): microseconds,
// or what people wrote before the field was a time. It returns nil if the text is
// no time.
func Time(s string) any {
	s = strings.TrimFunc(s, IsSpace)
	t, err := time.Time{}, error(nil)
	if us, notNumber := strconv.ParseInt(s, 10, 64); notNumber == nil {
		t = time.UnixMicro(us).UTC()
	} else {
		for _, form := range []string{
			time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
		} {
			if t, err = time.Parse(form, s); err == nil {
				break
			}
		}
	}
	if err != nil || value.CheckTime(t) != nil {
		return nil
	}
	return t.UTC().Truncate(time.Microsecond)
}

// CC separates the addresses of a cc with commas and drops duplicates
// (_fixup_cc_list).
func CC(s string) string {
	var list []string
	for _, cc := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || IsSpace(r) }) {
		if !slices.Contains(list, cc) {
			list = append(list, cc)
		}
	}
	return strings.Join(list, ", ")
}

// IsSpace says whether Python strips a character: Unicode's spaces and four
// separators.
func IsSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1C && r <= 0x1F }
