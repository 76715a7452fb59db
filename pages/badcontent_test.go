package pages_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
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
	pattern, bad := b.Match("buy CHEAP   pills")
	assert.True(t, bad)
	assert.Equal(t, `(?i)cheap\s+pills`, pattern)
	_, bad = b.Match("buy books")
	assert.False(t, bad)

	const second = "= Bad content =\n{{{\ncasino\n  poker(  \nbooks\n(?<=free )money\n}}}\n"
	for range 2 {
		told(2, second)
	}
	_, bad = b.Match("casino")
	assert.True(t, bad, "before it")
	_, bad = b.Match("buy books")
	assert.True(t, bad, "between two")
	_, bad = b.Match("buy cheap pills")
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
	_, bad = b.Match("play poker")
	assert.True(t, bad)

	require.NoError(t, b.WikiPageDeleted(t.Context(), deleted("BadContent")))
	_, bad = b.Match("play poker")
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
		pattern, bad := b.Match(c.text)
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
			_, bad := b.Match(text)
			assert.True(t, bad, "%s is used beside %s", text, pattern)
		}
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
		b.Match(text)
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
		if _, bad := content.Match(text); bad {
			b.Fatal("there is none")
		}
	}
}
