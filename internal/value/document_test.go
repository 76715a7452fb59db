package value

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseDocument(t *testing.T) {
	const all = ` { "changed" : [ [ "a\n" , "text" , "x" , "null" , null ] , ["b",null,null,"number","1.50"] ] , "state" : { "c" : "}],{" , "d" : { "time" : 1 } } } `
	changed, state, trace, err := ParseDocument(nil, nil, all)
	require.NoError(t, err)
	assert.Empty(t, trace)
	assert.Equal(t, []Changed{{"a\n", "text", "x", "null", ""}, {"b", "", "", "number", "1.50"}}, changed)
	assert.Equal(t, []Member{{"c", String, "}],{"}, {"d", Composite, `{ "time" : 1 }`}}, state)
	for in, want := range map[string]string{
		``:                            "byte 0: expected an object, found the end",
		`[]`:                          "byte 0: expected an object, found '['",
		`{}`:                          `byte 1: expected "changed", found '}'`,
		`{"state":{}}`:                `byte 1: expected "changed", found '"'`,
		`{"changed":{},"state":{}}`:   "byte 11: expected a list, found '{'",
		`{"changed":[]}`:              "byte 13: expected ',', found '}'",
		`{"changed":[],"state":[]}`:   "byte 22: expected an object, found '['",
		`{"changed":[],"state":{}} x`: "byte 26: expected the end, found 'x'",
		`{"changed":[],"trace"}`:      "byte 21: expected ':', found '}'",
		`{"changed":[],"trace":}`:     "byte 22: expected a value, found '}'",
		`{"changed":[],"trace":"x"}`:  "byte 25: expected ',', found '}'",
		`{"changed":[["a","text","x","text"]],"state":{}}`:       "byte 34: expected ',', found ']'",
		`{"changed":[["a","text",1,"text","x"]],"state":{}}`:     "byte 25: expected a string before, found ','",
		`{"changed":[[null,"text","1","text","x"]],"state":{}}`:  "byte 17: expected a string before, found ','",
		`{"changed":[["a","text","1","text","x",1]],"state":{}}`: "byte 38: expected ']', found ','",
		`{"changed":[[],],"state":{}}`:                           "byte 13: expected a value, found ']'",
	} {
		_, _, _, err := ParseDocument(nil, nil, in)
		assert.EqualError(t, err, want, in)
	}
}

// TestParseDocumentTrace: a document can have a trace before the state, and what is no text is none.
func TestParseDocumentTrace(t *testing.T) {
	for in, want := range map[string]string{
		`{"changed":[],"trace":"00-1 a=1","state":{"trace":"b"}}`:          "00-1 a=1",
		` { "changed" : [ ] , "trace" : "\u0030\"" , "state" : { } } `:     `0"`,
		`{"changed":[["trace","text","x",null,null]],"state":{}}`:          "",
		`{"changed":[],"trace":{"a":["b"]},"state":{}}`:                    "",
		`{"changed":[],"trace":12,"state":{}}`:                             "",
		`{"changed":[],"trace":null,"state":{"c":"d"}}`:                    "",
		`{"changed":[],"trace":["00-1","a=1"],"state":{"c":"d","e":null}}`: "",
	} {
		_, _, got, err := ParseDocument(nil, nil, in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
}

// TestDropState: what is left says the same of what changed, and nothing else, whatever the
// texts are; a reader that is given it and one that is given all agree on that.
func TestDropState(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		var b strings.Builder
		for range random.IntN(6) {
			b.WriteString([]string{`"`, `\`, `],"state":{`, "}", "[", "\n", "é", "\u2028", "x", `\u0041`}[random.IntN(10)])
		}
		return string(AppendString(nil, b.String()))
	}
	for range 2000 {
		var changed, state []string
		for range random.IntN(4) {
			changed = append(changed, fmt.Sprintf(`[%s,"text",%s,null,null]`, text(), text()))
		}
		for i := range random.IntN(4) {
			state = append(state, fmt.Sprintf(`"f%d":%s`, i, text()))
		}
		var trace string
		if random.IntN(2) == 0 {
			trace = `, "trace" : ` + text()
		}
		all := `{"changed":[` + strings.Join(changed, ", ") + `]` + trace + `,"state":{` + strings.Join(state, ",") + "}}"
		want, _, wantTrace, err := ParseDocument(nil, nil, all)
		require.NoError(t, err, all)
		dropped := DropState(all)
		got, none, gotTrace, err := ParseDocument(nil, nil, dropped)
		require.NoError(t, err, dropped)
		assert.Equal(t, want, got, all)
		assert.Equal(t, wantTrace, gotTrace, all)
		assert.Empty(t, none, all)
		assert.Equal(t, dropped, DropState(dropped))
	}
	for _, no := range []string{"", "null", "{", `{"changed"`, `{"changed":`, `{"changed":[`, `{"changed":[}`, `{"changed":{},"state":{}}`, `{"state":{"a":"b"}}`, "not JSON"} {
		assert.Equal(t, no, DropState(no), "so that whoever reads it says what is wrong")
	}
}
