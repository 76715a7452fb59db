package tracini

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the grammar makes of the lines where it differs from other ini dialects;
// each was checked with Python's configparser.
func TestParse(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"[a]\nk = v ; no comment\nl = # neither":          {"k": "v ; no comment", "l": "# neither"},
		"[a]\nk = \"quoted\"":                             {"k": `"quoted"`},
		"[a]\nk = one \\\nl = two":                        {"k": `one \`, "l": "two"},
		"[a]\nk: x = y\nl = x : y":                        {"k": "x = y", "l": "x : y"},
		"[a]\nk = 1\n  l = 2\n  [b]":                      {"k": "1\nl = 2\n[b]"},
		"[a]\nk = 1\n# comment\n\n  ; another\n  2\n\n\n": {"k": "1\n\n2"},
		"[a]\n  k = 1\n  l = 2":                           {"k": "1", "l": "2"},
		"[a]\n  k = 1\n    more\n l = 2\n  more":          {"k": "1\nmore", "l": "2\nmore"},
		"[a]\nk =\n  first":                               {"k": "\nfirst"},
		"[a] trailing text\nKEY with Spaces = v":          {"key with spaces": "v"},
		"[a]\r\nk = 1\r\nl = 2\rm = 3\n":                  {"k": "1", "l": "2", "m": "3"},
		"[a]\nk = 1\v2\f3\u00854\u20285":                  {"k": "1\v2\f3\u00854\u20285"},
		"[a]\nk = \u00a0v\u2003\x1c":                      {"k": "v"},
		"[a]\nk = %(home)s $HOME ${x}":                    {"k": "%(home)s $HOME ${x}"},
		"[DEFAULT]\nd = 1\nk = 2\n[a]\nk = 3":             {"k": "3", "d": "1"},
		"[a]\nk = 1\n[DEFAULT]\nd = 2\n[DEFAULT]":         {"k": "1", "d": "2"},
		"[a]\n[b=c\n":                                     {"[b": "c"},
		"[a]\nTRACEXT.REDİSPUB = 1":                       {"tracext.redi̇spub": "1"},
		"[[a]]\nk = 1\n[ a ]\nk = 2\n[a]\nk = 3\n":        {"k": "3"},
	} {
		d, err := parse("trac.ini", []byte(text))
		if assert.NoError(t, err, "%q", text) {
			assert.Equal(t, want, texts(d, "a"), "%q", text)
		}
	}
}

// A section that is not there has nothing, also not from DEFAULT.
func TestDefaultsNeedTheSection(t *testing.T) {
	d, err := parse("trac.ini", []byte("[DEFAULT]\nk = 1\n[a]"))
	require.NoError(t, err)
	_, ok := optionsOf(d, "b").values["k"]
	assert.False(t, ok)
	assert.Equal(t, map[string]string{"k": "1"}, texts(d, "a"))
	assert.Empty(t, texts(d, "b"))
}

func TestBool(t *testing.T) {
	for text, want := range map[string]struct{ value, known bool }{
		"yes": {true, true}, "TRUE": {true, true}, " Enabled\u00a0": {true, true}, "on": {true, true}, "1": {true, true},
		"no": {false, true}, "false": {false, true}, "disabled": {false, true}, "off": {false, true}, "0": {false, true},
		".5": {true, true}, "5.": {true, true}, "+1": {true, true}, "-1": {true, true}, "1e3": {true, true}, "1_000": {true, true}, "1e999": {true, true},
		"inf": {true, true}, "-Infinity": {true, true}, "nan": {true, true}, "+NaN": {true, true},
		"0.0": {false, true}, "-0": {false, true}, "00": {false, true}, "0e5": {false, true}, "1e-999": {false, true},
		"": {}, "enable": {}, "t": {}, "ok": {}, "on on": {}, `"on"`: {}, "on ; c": {},
		"0x1": {}, "0x1p3": {}, "1__0": {}, "_1": {}, "1_": {}, "1_.5": {}, "++1": {}, "--1": {}, "in_f": {}, "infin": {}, ".": {}, "e5": {}, "1e": {}, "½": {},
	} {
		value, known, err := Bool(text)
		assert.NoError(t, err, "%q", text)
		assert.Equal(t, want, struct{ value, known bool }{value, known}, "%q", text)
	}
	for _, text := range []string{"١", "１", "1.５", "-٠"} {
		_, _, err := Bool(text)
		assert.ErrorIs(t, err, ErrDigits, "%q", text)
	}
}

// Any text is parsed or refused at one of its lines; what was parsed and is
// written again reads the same.
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("../../testdata/config_cases.json")
	require.NoError(f, err)
	var cases []struct {
		TracIni string `json:"trac_ini"`
		Files   map[string]string
	}
	require.NoError(f, json.Unmarshal(data, &cases))
	for _, c := range cases {
		f.Add(c.TracIni)
		for _, text := range c.Files {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parse("trac.ini", []byte(text))
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) || bad.File != "trac.ini" || bad.Want == "" {
				t.Fatalf("error without file and reason: %#v", err)
			}
			if lines := 1 + strings.Count(text, "\n") + strings.Count(text, "\r"); bad.Line < 1 || bad.Line > lines {
				t.Fatalf("line %d of %d", bad.Line, lines)
			}
			return
		}
		again, err := parse("again", []byte(write(d)))
		if err != nil {
			t.Fatalf("written again, it is refused: %#v\n%s", err, write(d))
		}
		for name := range d.sections {
			assert.Equal(t, optionsOf(d, name).names, optionsOf(again, name).names, "options of [%s]", name)
			assert.Equal(t, texts(d, name), texts(again, name), "values of [%s]", name)
		}
		assert.Len(t, again.sections, len(d.sections))
	})
}

// texts are a section's options as lookup answers.
func texts(d *document, section string) map[string]string {
	found := map[string]string{}
	for _, name := range optionsOf(d, section).names {
		v := optionsOf(d, section).values[name]
		found[name] = v.Text
	}
	return found
}

// write is the text of a file that says the same.
func write(d *document) string {
	var b strings.Builder
	names := []string{}
	for name := range d.sections {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b.WriteString("[" + name + "]\n")
		for _, option := range d.sections[name].names {
			lines := strings.Split(d.sections[name].values[option].Text, "\n")
			b.WriteString(option + " = " + lines[0] + "\n")
			for _, line := range lines[1:] {
				b.WriteString("\t" + line + "\n")
			}
		}
	}
	return b.String()
}

// optionsOf returns the options of a section, with those of DEFAULT.
func optionsOf(d *document, name string) *section {
	s := newSection()
	d.options(name, s)
	return s
}
