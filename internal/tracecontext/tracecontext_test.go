package tracecontext

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestValid: what is no trace becomes none, and a state that is none leaves its parent.
func TestValid(t *testing.T) {
	for name, tc := range map[string]struct{ in, want Context }{
		"none":                  {},
		"a parent":              {Context{Parent: parent}, Context{Parent: parent}},
		"with a state":          {Context{parent, "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE"}, Context{parent, "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE"}},
		"not sampled":           {Context{Parent: parent[:53] + "00"}, Context{Parent: parent[:53] + "00"}},
		"a later version":       {Context{Parent: "cc" + parent[2:]}, Context{Parent: "cc" + parent[2:]}},
		"version ff":            {in: Context{Parent: "ff" + parent[2:]}},
		"a state alone":         {in: Context{State: "rojo=1"}},
		"upper case":            {in: Context{Parent: strings.ToUpper(parent)}},
		"no trace id":           {in: Context{Parent: "00-" + strings.Repeat("0", 32) + parent[35:]}},
		"no span id":            {in: Context{Parent: parent[:36] + strings.Repeat("0", 16) + "-01"}},
		"other separators":      {in: Context{Parent: strings.ReplaceAll(parent, "-", "_")}},
		"a separator too few":   {in: Context{Parent: parent[:35] + "0" + parent[36:]}},
		"flags that are none":   {in: Context{Parent: parent[:53] + "0g"}},
		"too short":             {in: Context{Parent: parent[:54]}},
		"too long":              {in: Context{Parent: parent + "-00"}},
		"very long":             {in: Context{Parent: strings.Repeat("0", 1<<20)}},
		"a state at the bound":  {Context{parent, strings.Repeat("a", 512)}, Context{parent, strings.Repeat("a", 512)}},
		"a state over it":       {Context{parent, strings.Repeat("a", 513)}, Context{Parent: parent}},
		"a state of two lines":  {Context{parent, "a=1\r\nX-Admin: 1"}, Context{Parent: parent}},
		"a state that is UTF-8": {Context{parent, "a=é"}, Context{Parent: parent}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.in.Valid()
			assert.Equal(t, tc.want, got)
			assert.Equal(t, got, Parse(got.Text()), "as one text and back")
		})
	}
}

// FuzzParse: whatever is read, what comes of it is valid, short, and its own text.
func FuzzParse(f *testing.F) {
	f.Add(parent)
	f.Add(parent + " a=1, b=2")
	f.Add(parent + " ")
	f.Fuzz(func(t *testing.T, text string) {
		c := Parse(text)
		assert.Equal(t, c, c.Valid())
		assert.Equal(t, c, Parse(c.Text()))
		assert.LessOrEqual(t, len(c.Text()), parentLen+1+maxState)
		if c != (Context{}) {
			assert.True(t, strings.HasPrefix(text, c.Text()))
		}
	})
}
