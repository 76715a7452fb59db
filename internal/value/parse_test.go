package value

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseObject(t *testing.T) {
	got, err := ParseObject(nil, ` { "a" : "x\u00e9\n\/\ud83d\ude00" , "b":-0.5e+10,"c":true,"d":null,"e":[1,{"f":[]}],"":"" } `)
	require.NoError(t, err)
	assert.Equal(t, []Member{
		{"a", String, "xé\n/😀"}, {"b", Number, "-0.5e+10"}, {"c", Bool, "true"},
		{"d", Null, ""}, {"e", Composite, `[1,{"f":[]}]`}, {"", String, ""},
	}, got)
}

func TestHalfAPairIsNoCharacter(t *testing.T) {
	for in, want := range map[string]string{
		`\ud800`: "\uFFFD", `\ude00\ud83d`: "\uFFFD\uFFFD", `\ud83d\u0041`: "\uFFFDA",
		`\ud83d\ud83d\ude00`: "\uFFFD😀", `\ud83d\n`: "\uFFFD\n", `\ud83dx`: "\uFFFDx",
	} {
		got, err := ParseObject(nil, `{"a":"`+in+`"}`)
		require.NoError(t, err)
		assert.Equal(t, []Member{{"a", String, want}}, got, in)
	}
}

// TestParseObjectRefuses what would be told as something that was never sent.
func TestParseObjectRefuses(t *testing.T) {
	for in, want := range map[string]string{
		``:                       "byte 0: expected an object, found the end",
		`[]`:                     "byte 0: expected an object, found '['",
		`{"a":1} x`:              "byte 8: expected the end, found 'x'",
		`{"a":1,"a":2}`:          `byte 7: name "a" appears twice`,
		`{"a":1,}`:               "byte 7: expected a string, found '}'",
		`{"a" 1}`:                "byte 5: expected ':', found '1'",
		`{"a":1 "b":2}`:          "byte 7: expected ',' or '}', found '\"'",
		`{a:1}`:                  "byte 1: expected a string, found 'a'",
		`{"a":NaN}`:              "byte 5: expected a value, found 'N'",
		`{"a":-Infinity}`:        "byte 6: expected a digit, found 'I'",
		`{"a":01}`:               "byte 6: expected ',' or '}', found '1'",
		`{"a":1.}`:               "byte 7: expected a digit, found '}'",
		`{"a":1e}`:               "byte 7: expected a digit, found '}'",
		`{"a":.5}`:               "byte 5: expected a value, found '.'",
		`{"a":"` + "\xff" + `"}`: "byte 6: expected UTF-8, found 0xff",
		"{\"a\":\"\n\"}":         "byte 6: expected an escaped control character, found '\\n'",
		`{"a":"\x"}`:             "byte 7: expected an escape, found 'x'",
		`{"a":"\u12g4"}`:         "byte 10: expected a hex digit, found 'g'",
		`{"a":"`:                 "byte 6: expected '\"', found the end",
		`{"a":"\`:                "byte 7: expected an escape, found the end",
		`{"a":[1 2]}`:            "byte 8: expected ',' or ']', found '2'",
		`{"a":tru}`:              "byte 5: expected a value, found 't'",
		`{"a":`:                  "byte 5: expected a value, found the end",
	} {
		_, err := ParseObject(nil, in)
		assert.EqualError(t, err, want, "%s", in)
	}
	_, err := ParseObject(nil, `{"a":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`}`)
	assert.ErrorContains(t, err, "more than 100 levels of lists and objects")

	var many strings.Builder
	for i := range 100 {
		many.WriteString(`"` + strings.Repeat("x", i) + `":0,`)
	}
	_, err = ParseObject(nil, "{"+many.String()+`"xxx":0}`)
	assert.ErrorContains(t, err, `name "xxx" appears twice`)
	members, err := ParseObject(nil, "{"+many.String()+`"y":0}`)
	require.NoError(t, err)
	assert.Len(t, members, 101)
}

// FuzzParseObject holds the parser against encoding/json, which is lenient
// where ours is strict: what ours takes, encoding/json takes and reads alike.
func FuzzParseObject(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":"x\u00e9\ud83d\ude00","b":-0.5e+10,"c":[true,null,{"d":{}}]}`, `{"a":1,"a":2}`,
		"{\"a\":\"\u2028\xff\"}", `{"a":"\ud800"}`, ` { "" : [ ] , "b" : 1E-5 } `, `{"a":NaN}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		members, err := ParseObject(nil, s)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(s), &want), "ours took it")
		require.Len(t, members, len(want))
		for _, m := range members {
			raw, ok := want[m.Name]
			require.True(t, ok, "name %q", m.Name)
			switch m.Kind {
			case String:
				var text string
				require.NoError(t, json.Unmarshal(raw, &text))
				require.Equal(t, text, m.Text)
				var again string
				require.NoError(t, json.Unmarshal(AppendString(nil, m.Text), &again))
				require.Equal(t, m.Text, again, "what is written reads the same")
			case Null:
				require.Equal(t, "null", string(raw))
			default:
				require.Equal(t, string(raw), m.Text)
			}
		}
	})
}

// FuzzParseTime writes what it could read.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{
		"2020-01-02T03:04:05+00:00", "2020-01-02T03:04:05.000006-03:30", "0001-01-01T00:00:00+00:09:21",
		"2020-02-30T00:00:00+00:00", "2020-01-02T03:04:05", "2020-01-02T03:04:05.1+00:00", "2020-01-02T03:04:60+00:00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := ParseTime(s)
		if err != nil {
			return
		}
		written := AppendTime(nil, at)
		again, err := ParseTime(string(written[1 : len(written)-1]))
		require.NoError(t, err, "%s", written)
		require.True(t, at.Equal(again), "%s became %s", s, written)
		oracle, err := time.Parse("2006-01-02T15:04:05.999999999Z07:00", s)
		if err == nil { // Go's layouts have no offsets with seconds
			require.True(t, at.Equal(oracle), "%s is %s, not %s", s, oracle, at)
		}
	})
}

func TestAppendString(t *testing.T) {
	for in, want := range map[string]string{
		"":                          `""`,
		"a\"b\\c/d":                 `"a\"b\\c/d"`,
		"\x00\x1f\n\r\t\b\x7f":      `"\u0000\u001f\n\r\t\u0008` + "\x7f" + `"`,
		"é😀":                        `"é😀"`,
		"a\u2028b\u2029c":           `"a\u2028b\u2029c"`,
		"a\xffb\xc3":                `"a\ufffdb\ufffd"`,
		"\uFFFD stays as it was":    "\"\uFFFD stays as it was\"",
		"<script>&amp;</script>":    `"<script>&amp;</script>"`,
		strings.Repeat("x", 1<<20):  `"` + strings.Repeat("x", 1<<20) + `"`,
		strings.Repeat("\n", 1<<10): `"` + strings.Repeat(`\n`, 1<<10) + `"`,
	} {
		got := string(AppendString(nil, in))
		assert.Equal(t, want, got)
		assert.True(t, json.Valid([]byte(got)) && utf8.ValidString(got))
	}
}

// TestAppendStringAnywhere puts every byte at every place of words of all
// lengths, for text is scanned some bytes at a time.
func TestAppendStringAnywhere(t *testing.T) {
	for length := 1; length <= 40; length++ {
		for at := range length {
			for c := range 256 {
				s := []byte(strings.Repeat("x", length))
				s[at] = byte(c)
				want := strings.ToValidUTF8(string(s), "\uFFFD")
				var got string
				require.NoError(t, json.Unmarshal(AppendString(nil, string(s)), &got), "%q", s)
				require.Equal(t, want, got)
			}
		}
	}
}

func TestAppendFloat(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0.0", 1.5: "1.5", 100: "100.0", -7: "-7.0", 1e16: "10000000000000000.0", 1e21: "1e+21", 1e-7: "1e-07", 5e-324: "5e-324", 0.1: "0.1",
	} {
		got := string(AppendFloat(nil, f, 64))
		assert.Equal(t, want, got)
		assert.True(t, IsNumber(got))
	}
	assert.Equal(t, "0.1", string(AppendFloat(nil, float64(float32(0.1)), 32)))
}

func TestTimes(t *testing.T) {
	for s, want := range map[string]time.Time{
		"2020-01-02T03:04:05+00:00":        time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC),
		"2020-01-02T03:04:05.000006-03:30": time.Date(2020, 1, 2, 6, 34, 5, 6000, time.UTC),
		"0999-07-02T03:04:05+00:09:21":     time.Date(999, 7, 2, 2, 54, 44, 0, time.UTC),
		"9999-12-31T23:59:59.999999+00:00": time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
	} {
		got, err := ParseTime(s)
		require.NoError(t, err)
		assert.True(t, want.Equal(got), "%s is %s", s, got)
		assert.Equal(t, `"`+s+`"`, string(AppendTime(nil, got)))
	}
	for _, s := range []string{
		"", "2020-01-02", "2020-01-02T03:04:05", "2020-01-02 03:04:05+00:00", "2020-02-30T03:04:05+00:00", "2020-01-02T24:04:05+00:00",
		"2020-01-02T03:04:05.+00:00", "2020-01-02T03:04:05.1234567+00:00", "2020-01-02T03:04:05+24:00", "2020-01-02T03:04:05+00:60",
		"2020-01-02T03:04:05Z", "x020-01-02T03:04:05+00:00", "0000-01-02T03:04:05+00:00", "2020-13-02T03:04:05+00:00",
	} {
		_, err := ParseTime(s)
		assert.ErrorContains(t, err, "expected a form like 2006-01-02T15:04:05.000006+00:00", "%q", s)
	}
}

// TestValid compares with what it is faster than, for texts of all lengths with every
// byte anywhere.
func TestValid(t *testing.T) {
	for length := range 26 {
		assert.True(t, valid(strings.Repeat("x", length)))
		for at := range length {
			for c := range 256 {
				s := []byte(strings.Repeat("x", length))
				s[at] = byte(c)
				require.Equal(t, utf8.Valid(s), valid(string(s)), "%q", s)
			}
		}
	}
	assert.True(t, valid("é") && valid("€€€") && valid("milestoné"))
}

// TestYears: the first and the last time that there is, in UTC and elsewhere.
func TestYears(t *testing.T) {
	first, after := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, in := range []*time.Location{time.UTC, time.FixedZone("", 0)} {
		assert.NoError(t, CheckTime(first.In(in)))
		assert.Error(t, CheckTime(first.Add(-1).In(in)))
		assert.NoError(t, CheckTime(after.Add(-1).In(in)))
		assert.Error(t, CheckTime(after.In(in)))
	}
	east := time.FixedZone("", 3600)
	assert.NoError(t, CheckTime(first.Add(-time.Second).In(east)), "it is 00:59:59 there")
	assert.Error(t, CheckTime(after.Add(-time.Second).In(east)))
}
