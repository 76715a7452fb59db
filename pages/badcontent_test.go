package pages_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/pages"
)

// badContentOf returns what versions of a page forbid, one after the other.
func badContentOf(t testing.TB, texts ...string) *pages.BadContent {
	b := pages.NewBadContent(pages.Config{Logger: slog.New(slog.DiscardHandler)})
	for i, text := range texts {
		page := tracbus.WikiPage{Name: "BadContent", Version: int64(i + 1), Text: text}
		require.NoError(t, b.WikiPageChanged(t.Context(), tracbus.WikiPageChanged{Page: page}))
	}
	return b
}

// match looks for what a page forbids.
func match(t testing.TB, b *pages.BadContent, text string) (pattern string, bad bool) {
	t.Helper()
	pattern, bad, err := b.Match(t.Context(), text)
	require.NoError(t, err)
	return pattern, bad
}

// TestBadContentKeepsWhatCompiles is the page's life: it forbids, somebody writes what
// cannot be compiled, everybody learns where, and the rest of it forbids on.
func TestBadContentKeepsWhatCompiles(t *testing.T) {
	logger, l := newLogs()
	b := pages.NewBadContent(pages.Config{Logger: logger})
	told := func(version int64, text string) {
		t.Helper()
		page := tracbus.WikiPage{Name: "BadContent", Version: version, Text: text}
		require.NoError(t, b.WikiPageChanged(t.Context(), tracbus.WikiPageChanged{Page: page}))
	}

	const first = "= Bad content =\n{{{\ncasino\n(?i)cheap\\s+pills\n}}}\n"
	require.NoError(t, pages.CheckBadContent(first))
	told(1, first)
	pattern, bad := match(t, b, "buy CHEAP   pills")
	assert.True(t, bad)
	assert.Equal(t, `(?i)cheap\s+pills`, pattern)
	_, bad = match(t, b, "buy books")
	assert.False(t, bad)

	const second = "= Bad content =\n{{{\ncasino\n  poker(  \nbooks\n(?<=free )money\n}}}\n"
	for range 2 {
		told(2, second)
	}
	_, bad = match(t, b, "casino")
	assert.True(t, bad, "before it")
	_, bad = match(t, b, "buy books")
	assert.True(t, bad, "between two")
	_, bad = match(t, b, "buy cheap pills")
	assert.False(t, bad, "no longer on the page")
	var broken pages.PatternErrors
	require.ErrorAs(t, b.Err(), &broken)
	assert.Equal(t, broken, pages.CheckBadContent(second))
	require.Len(t, broken, 2)
	assert.Equal(t, 4, broken[0].Line)
	assert.Equal(t, "poker(", broken[0].Pattern)
	assert.Equal(t, 6, broken[1].Line)
	assert.EqualError(t, b.Err(), `page "BadContent", version 2: `+
		`line 4: pattern "poker(": error parsing regexp: missing closing ): `+"`poker(`; "+
		`line 6: pattern "(?<=free )money": look-around, which Go's regular expressions do not have`)
	assert.Equal(t, []string{"wiki page can be used only in part: the lines that err names are left out" +
		" page=BadContent version=2 err=" + b.Err().Error()}, l.lines("page", "version", "err"))

	told(3, "{{{\npoker\n}}}")
	assert.NoError(t, b.Err())
	_, bad = match(t, b, "play poker")
	assert.True(t, bad)

	require.NoError(t, b.WikiPageDeleted(t.Context(), deleted("BadContent")))
	_, bad = match(t, b, "play poker")
	assert.False(t, bad)
}

// TestBadContentReadsAsTracSpamFilter: which lines of a page are patterns, and
// what of a text they find.
func TestBadContentReadsAsTracSpamFilter(t *testing.T) {
	for _, c := range []struct {
		what, page, text, pattern string
	}{
		{"no page", "", "foobar", ""},
		{"no block", "foobar", "foobar", ""},
		{"an open block", "{{{\nfoobar", "foobar", ""},
		{"one pattern", "{{{\nfoobar\n}}}", "foobar", "foobar"},
		{"the first that is found", "{{{\nfoobar\n^foo\nbar$\n}}}", "\nfoobar", "foobar"},
		{"^ is the start of the text", "{{{\n^foo\n}}}", "\nfoobar", ""},
		{"$ is the end of the text", "{{{\nbar$\n}}}", "bar\nfoo", ""},
		{"$ is before a last newline too", "{{{\nbar$\n}}}", "foobar\n", "bar$"},
		{"but not before two", "{{{\nbar$\n}}}", "foobar\n\n", ""},
		{"\\A and no $", "{{{\n\\Abar\n}}}", "foo\n", ""},
		{"on the line of the braces", "{{{foobar}}}", "a foobar", "foobar"},
		{"spaces and empty lines", "{{{\n\n  foo bar\t\r\n\n}}}", "a foo bar", "foo bar"},
		{"the first block only", "{{{\nfoo\n}}}\n{{{\nbar\n}}}", "bar", ""},
		{"a closing brace before it", "}}}{{{\nfoo", "foo", "foo"},
		{"only a closing brace", "foo }}}", "foo", ""},
		{"no comments", "{{{\n# foo\n}}}", "a # foo", "# foo"},
		{"lower case is not upper case", "{{{\nfoo\n}}}", "FOO", ""},
		{"{,n} as text", "{{{\na\\{,3\\}|[{,3}]\n}}}", "a,b", `a\{,3\}|[{,3}]`},
	} {
		b := badContentOf(t, c.page)
		require.NoError(t, b.Err(), c.what)
		pattern, bad := match(t, b, c.text)
		assert.Equal(t, c.pattern, pattern, c.what)
		assert.Equal(t, c.pattern != "", bad, c.what)
	}
}

// TestBadContentNamesWhatGoHasNot of Python's expressions, and uses the others.
func TestBadContentNamesWhatGoHasNot(t *testing.T) {
	for pattern, why := range map[string]string{
		`a(?=b)`:         "look-around, which Go's regular expressions do not have",
		`a(?!b)`:         "look-around, which Go's regular expressions do not have",
		`(?<=a)b`:        "look-around, which Go's regular expressions do not have",
		`(?<!a)b`:        "look-around, which Go's regular expressions do not have",
		`(a)\1`:          "back-reference, which Go's regular expressions do not have",
		`(a)\12`:         "back-reference, which Go's regular expressions do not have",
		`(?P<n>a)(?P=n)`: "back-reference, which Go's regular expressions do not have",
		`(?>a)`:          "atomic group, which Go's regular expressions do not have",
		`(a)?(?(1)b|c)`:  "conditional, which Go's regular expressions do not have",
		`\N{BULLET}`:     `a character by its name, \N, which Go's regular expressions do not have: expected \u and its number`,
		`(?L)a`:          "the flag L, which neither Python has for texts nor Go",
		`a++`:            "error parsing regexp: invalid nested repetition operator",
		`a{1,2000}`:      "error parsing regexp: invalid repeat count",
		`\u12`:           `expected 4 hexadecimal digits`,
		`[\U00110000]`:   `expected 8 hexadecimal digits`,
		`[a`:             "missing closing ]",
		`(?#a`:           "missing ) after a comment",
		`((?#a)?b)`:      "nothing to repeat before ?",
		"a\\":            "a backslash at the end",
		`{,3}`:           "error parsing regexp: missing argument to repetition operator",
	} {
		b := badContentOf(t, "{{{\nbefore\n"+pattern+"\nafter\n}}}")
		var broken pages.PatternErrors
		if assert.ErrorAs(t, b.Err(), &broken, pattern) {
			assert.Len(t, broken, 1)
			assert.Equal(t, pattern, broken[0].Pattern)
			assert.ErrorContains(t, broken[0].Err, why, pattern)
			assert.NotContains(t, broken[0].Err.Error(), "\n", pattern)
		}
		for _, text := range []string{"before", "after"} {
			_, bad := match(t, b, text)
			assert.True(t, bad, "%s is used beside %s", text, pattern)
		}
	}
}

// TestCostOfAPatternIsBounded: what would take long to search for, or much memory, is
// left out and said before it is compiled, and the others are used.
func TestCostOfAPatternIsBounded(t *testing.T) {
	testkit.MeasuresMemory(t)
	for pattern, why := range map[string]string{
		`[^z]{0,1000}z`:                            "a search for it would take 2003 instructions for each character: expected 500 at most",
		`.{1000}`:                                  "a search for it would take 2002 instructions for each character: expected 500 at most",
		`(a{0,30}){0,30}b`:                         "a search for it would take",
		strings.Repeat(`.{900}`, 160):              "a search for it would take",
		strings.Repeat("ab", 251) + "+":            "a search for it would take 503 instructions",
		strings.Repeat("a", 1001):                  "it has 1001 bytes: expected 1000 at most",
		`(?i)[b-\U0001e942]`:                       "", // 125,152 characters
		`(?i)[b-\U0001e942][^b-𞥂]`:                 "its ranges have 250304 characters: expected 200000 at most",
		`(?i)[b-𞥂b-𞥂]`:                             "its ranges have 250304 characters",
		`(?i)[--𞥂][^^b-𞥂]`:                         "its ranges have 250",
		`(?i)[\d--𞥂a-bb-𞥂]`:                        "its ranges have 250",
		`(?i)[\x00-@B-\U0001e943][b-\U0010ffff]`:   "its ranges have",
		`(?i)[` + strings.Repeat(`\S`, 100) + `]z`: "",
		`(?i)[一-龥][а-яё][\]-a][a-]`:                "",
		strings.Repeat(`\pL`, 6):                   "",
		strings.Repeat(`\PL`, 11):                  "its ranges have 220000 characters: expected 200000 at most",
		`[` + strings.Repeat(`\pL`, 11):            "missing closing ]",
		`[[` + strings.Repeat(`\pL]`, 5):           "",
	} {
		text := "{{{\nbefore\n" + pattern + "\nafter\n}}}"
		var b *pages.BadContent
		bytes := allocated(func() { b = badContentOf(t, text) })
		assert.Less(t, bytes, uint64(1<<20), pattern)
		var broken pages.PatternErrors
		if why == "" {
			assert.NoError(t, b.Err(), pattern)
		} else if assert.ErrorAs(t, b.Err(), &broken, pattern) {
			assert.Len(t, broken, 1)
			assert.ErrorContains(t, broken[0].Err, why, pattern)
		}
		for _, text := range []string{"before", "after"} {
			_, bad := match(t, b, text)
			assert.True(t, bad, "%s is used beside %s", text, pattern)
		}
	}
}

// TestCostOfAPageIsBounded: 250 kB of .{1000} were 1.4 GB in each process.
func TestCostOfAPageIsBounded(t *testing.T) {
	testkit.MeasuresMemory(t)
	const programs = "a search for it, and for the lines before it, would take more than 20000 instructions for each character"
	for line, why := range map[string]string{
		`.{1000}`:                 "a search for it would take 2002 instructions for each character: expected 500 at most",
		`.{200}`:                  programs,
		`x.`:                      programs,
		`x`:                       "expected 5000 expressions and 256 KiB of them at most: it and those after it are left out",
		strings.Repeat("x", 1000): "expected 5000 expressions and 256 KiB of them at most: it and those after it are left out",
		`(`:                       "expected 5000 expressions and 256 KiB of them at most: it and those after it are left out",
		`(?i)[b-𞥂]`:               "its ranges, with those of the lines before it, have more than 2000000 characters",
	} {
		text := "{{{\n" + strings.Repeat(line+"\n", 1<<20/(len(line)+1)) + "}}}"
		var b *pages.BadContent
		bytes := allocated(func() { b = badContentOf(t, text) })
		t.Logf("%.20s: %d KiB for %d KiB, %d patterns", line, bytes>>10, len(text)>>10, len(b.Get()))
		assert.Less(t, bytes, uint64(32<<20), line)
		var broken pages.PatternErrors
		if assert.ErrorAs(t, b.Err(), &broken, line) {
			assert.True(t, slices.ContainsFunc(broken, func(e pages.PatternError) bool { return e.Err.Error() == why }), "%s: %v", line, b.Err())
			assert.Less(t, len(b.Err().Error()), 6000, "the log has one line for all")
		}
	}
}

// endsAfter is a context that ends when it was looked at a number of times.
type endsAfter struct {
	context.Context
	looks int
}

func (c *endsAfter) Err() error {
	if c.looks--; c.looks < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// TestCostOfMatchEndsWithItsContext between two expressions, and within one that takes
// long.
func TestCostOfMatchEndsWithItsContext(t *testing.T) {
	b := badContentOf(t, "{{{\na.*b.*c\n[^z]{0,200}z\nx.x\n}}}")
	require.NoError(t, b.Err())
	long := strings.Repeat("y", 64<<10) // 403 instructions for each
	for _, c := range []struct {
		text    string
		looks   int
		pattern string
	}{
		{"ayy", 0, ""}, {"ayy", 1, ""}, {"ayy", 2, ""}, {"ayy", 3, "none"}, {"x-x", 3, "x.x"}, {"a b c", 1, "a.*b.*c"},
		{long, 2, ""}, {long + "xyx", 4, "x.x"}, {long + "z", 3, "[^z]{0,200}z"}, {long, 4, "none"},
	} {
		ctx := &endsAfter{t.Context(), c.looks}
		pattern, bad, err := b.Match(ctx, c.text)
		what := fmt.Sprintf("%.10s, after %d looks", c.text, c.looks)
		if c.pattern == "" {
			assert.ErrorIs(t, err, context.DeadlineExceeded, what)
			assert.False(t, bad, what)
			assert.Equal(t, -1, ctx.looks, "%s: nothing looks further", what)
			continue
		}
		assert.NoError(t, err, what)
		assert.Equal(t, c.pattern != "none", bad, what)
		if bad {
			assert.Equal(t, c.pattern, pattern, what)
		}
	}
}

// TestCostOfTheLastPatternEndsWithItsContext, after which nobody looks at the context.
func TestCostOfTheLastPatternEndsWithItsContext(t *testing.T) {
	b := badContentOf(t, "{{{\n[^z]{0,200}z$\n}}}")
	require.NoError(t, b.Err())
	text := strings.Repeat("y", 64<<10) + "z" // and where it seems to end, there is no z
	_, bad, err := b.Match(&endsAfter{t.Context(), 1}, text)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.False(t, bad)
	_, bad, err = b.Match(&endsAfter{t.Context(), 2}, text)
	assert.NoError(t, err)
	assert.True(t, bad)
}

// TestBadContentFindsTextsAsExpressions: a text needs no program, and means the same.
func TestBadContentFindsTextsAsExpressions(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		bad           bool
	}{
		{`example\.com`, "see EXAMPLE.com example.com", true}, {`example\.com`, "example-com", false},
		{`(?i)a`, "A", true}, {`a`, "A", false}, {"a\ufffd", "a\xff", true}, {"a\ufffd", "a\ufffd", true},
	} {
		_, bad := match(t, badContentOf(t, "{{{\n"+c.pattern+"\n}}}"), c.text)
		assert.Equal(t, c.bad, bad, "%q in %q", c.pattern, c.text)
	}
}

// FuzzBadContent: no page and no text makes it panic, and a page is whole or
// says which lines are not.
func FuzzBadContent(f *testing.F) {
	f.Add("{{{\n(?i)cheap\\s+pills$\n}}}", "cheap pills\n")
	f.Add("}}}\n{{{a(?=\n\\1", "a")
	f.Add("{{{\n{,3}\n[\\{,1}]\n(?P=\n\\", "")
	f.Fuzz(func(t *testing.T, page, text string) {
		b := badContentOf(t, page)
		if err := b.Err(); err != nil {
			var broken pages.PatternErrors
			if !errors.As(err, &broken) || len(broken) == 0 || broken[0].Line < 1 {
				t.Errorf("%q: %v", page, err)
			}
			if checked := pages.CheckBadContent(page); checked == nil || !strings.HasSuffix(err.Error(), checked.Error()) {
				t.Errorf("%q: %v, but checked %v", page, err, checked)
			}
		}
		match(t, b, text)
	})
}

// BenchmarkBadContentMatch looks for 50 patterns in a page of 4 kB.
func BenchmarkBadContentMatch(b *testing.B) {
	page, text := "{{{\n", ""
	for range 50 {
		page += "(?i)cheap\\s+pills|casino\\d+\n"
	}
	for range 100 {
		text += "The quick brown fox jumps over a lazy dog. "
	}
	content := badContentOf(b, page+"}}}")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, bad, _ := content.Match(b.Context(), text); bad {
			b.Fatal("there is none")
		}
	}
}

// An expression is whatever somebody wrote, also in what is wrong with it: what tells it
// commands no terminal.
func TestPatternErrorsAreHarmless(t *testing.T) {
	err := pages.CheckBadContent("{{{\n(\x1b]0;x\x07\u202e\n[\u200b\n}}}")
	require.Error(t, err)
	assert.Contains(t, err.Error(), `\x1b]0;x\a\u202e`)
	assert.NotRegexp(t, "[\x1b\x07\u202e\u200b]", err.Error())
}
