package pages

import (
	"fmt"
	"os"
	"regexp"
	"regexp/syntax"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// SECURITY.md has the limits that there are.
func TestSecurityNamesTheLimits(t *testing.T) {
	text, err := os.ReadFile("../SECURITY.md")
	require.NoError(t, err)
	for _, limit := range []string{
		say("prefix %d bytes; URL and title %d bytes and %d places each", mostPrefix, mostAddress, mostPlaces),
		say("entries of InterMapTxt | %d |", mostEntries),
		say("target, URL and title %d KiB each", mostExpanded>>10),
		say("%d bytes; %d instructions; %d characters in ranges |", mostPattern, mostProgram, mostFolded),
		say("%d in %d KiB; %d instructions, of which each costs 10 beside its own; %d characters in ranges |", mostPatterns, mostBadContent>>10, mostPrograms, mostFoldedAll),
	} {
		assert.Contains(t, string(text), limit)
	}
}

// say writes numbers as people do, with a comma before each three digits.
func say(format string, numbers ...any) string {
	thousands := regexp.MustCompile(`(\d)(\d{3})\b`)
	text := fmt.Sprintf(format, numbers...)
	for range 2 {
		text = thousands.ReplaceAllString(text, "$1,$2")
	}
	return text
}

// FuzzProgramSize: what is known of a program before it is made is no less than what it
// has.
func FuzzProgramSize(f *testing.F) {
	for _, pattern := range []string{
		"", "a", "abc|abd", "(a|b)*c+d?", "a{3}", "a{0}", "(ab){0,5}", "(?:a{2}){3,}", "a{0,}", "[a-z]{2,7}$", `(?i)k\d+\pL`, "^$", "(?i)abc", "a**", "(|a){2,3}", "x{0,1}", "()", `[^\x00-\x{10FFFF}]`,
	} {
		f.Add(pattern)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		re, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil || len(pattern) > mostPattern {
			return
		}
		size := programSize(re)
		if size > 100_000 {
			return
		}
		program, err := syntax.Compile(re.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		if made := len(program.Inst) - 2; made > size+1 { // each has one that matches and one that fails
			t.Errorf("%q: %d instructions, expected %d at most", pattern, made, size+1)
		}
	})
}
