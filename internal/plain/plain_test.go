package plain_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/plain"
)

// dangerous are characters that a terminal obeys, or that deceive who reads.
var dangerous = []string{
	"\x00", "\a", "\b", "\r", "\t", "\x1b[2J", "\x7f", "\u0080", "\u009b31m", "\u009f", // control characters
	"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069", "\u200e", "\u200f", "\u061c", // direction
	"\u200b", "\ufeff", "\u00ad", "\u2028", "\u2029", "\u00a0", "\U000e0041", // what nobody sees
	"\u034f", "\u115f", "\u1160", "\u17b4", "\u180b", "\u2800", "\u3164", "\ufe00", "\ufe0f", "\uffa0", "\U000e0100", "\U000e01ef", // and Go takes for letters and the like
	"\xff", "\xc2", "\xed\xa0\x80", // no UTF-8
}

func TestDangerousCharactersAreEscaped(t *testing.T) {
	for _, s := range dangerous {
		for name, got := range map[string]string{
			"Word": plain.Word("a" + s + "b"), "Quote": plain.Quote("a" + s + "b"), "Lines": plain.Lines("a" + s + "b"), "Line": plain.Line("a" + s + "b"),
		} {
			assertHarmless(t, got, "%s of %q", name, s)
			assert.True(t, strings.Contains(got, "a") && strings.Contains(got, `\`) && strings.Contains(got, "b"), "%s of %q: %s", name, s, got)
		}
		text, err := json.Marshal("a" + s + "b")
		assert.NoError(t, err)
		var before, after string
		assert.NoError(t, json.Unmarshal(text, &before))
		escaped := plain.JSON(text)
		assert.NoError(t, json.Unmarshal(escaped, &after))
		assert.Equal(t, before, after, "%q", s)
		assertHarmless(t, string(escaped), "JSON of %q", s)
	}
}

func assertHarmless(t *testing.T, got string, message string, args ...any) {
	t.Helper()
	unseen := []rune("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
	assert.True(t, utf8.ValidString(got), message, args)
	for _, r := range got {
		assert.True(t, unicode.IsPrint(r) || r == '\n', message, args)
		assert.False(t, slices.Contains(unseen, r) || '\ufe00' <= r && r <= '\ufe0f' || '\U000e0100' <= r && r <= '\U000e01ef', message, args)
	}
}

func TestHarmlessTextStays(t *testing.T) {
	for _, s := range []string{"", "WikiStart", "naïve Ünicode", "日本語", "a b", `back\slash "quoted"`, "😀", "\ufffd"} {
		assert.Equal(t, s, plain.Word(s))
		assert.Equal(t, s+"\n"+s, plain.Lines(s+"\n"+s))
		assert.Equal(t, s+`\n`+s, plain.Line(s+"\n"+s))
		text, _ := json.Marshal(s)
		assert.Equal(t, string(text), string(plain.JSON(text)))
	}
}

// A text that is cut is cut between characters.
func TestQuoteShortens(t *testing.T) {
	assert.Equal(t, `"`+strings.Repeat("x", 200)+`"`, plain.Quote(strings.Repeat("x", 200)))
	assert.Equal(t, `"`+strings.Repeat("x", 199)+`"… (202 bytes)`, plain.Quote(strings.Repeat("x", 199)+"日"))
	assert.Equal(t, `"`+strings.Repeat("x", 200)+`"… (203 bytes)`, plain.Quote(strings.Repeat("x", 200)+"日"))
}

// What was published is printed in JSON that means the same.
func FuzzJSON(f *testing.F) {
	for _, s := range dangerous {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := json.Marshal(map[string]string{s: s})
		if err != nil {
			t.Fatal(err)
		}
		var before, after map[string]string
		_ = json.Unmarshal(text, &before)
		escaped := plain.JSON(text)
		if err := json.Unmarshal(escaped, &after); err != nil {
			t.Fatalf("%q became %q: %v", text, escaped, err)
		}
		assert.Equal(t, before, after)
		assertHarmless(t, string(escaped), "%q", s)
		assertHarmless(t, plain.Word(s)+plain.Lines(s)+plain.Quote(s), "%q", s)
	})
}
