package pages

import (
	"regexp/syntax"
	"testing"
)

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
