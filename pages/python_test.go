package pages_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testserver"
)

// pythonTexts are what each of pythonPatterns is looked for in.
var pythonTexts = []string{
	"", "a", "b", "ab", "aab", "aaaaa", "a b", "a\n", "a\n\n", "\na", "b\na", "A", "AB", "a\nb", "a,b", "a{,}b", "a{,2", "a{2}", "a{}", "aa{",
	"é", "É", "e\u0301", "\u2022", "\U0001F4B0", "\v", "\x1f", "\b", "\x01", "8", "\n1", "1", "[", "]", "-", ":", "[:", "x:]", "#", "a#b", "_", "-]", "\\", "^", "$", "a$", "(?", "QE", "(.)",
	"cheap pills", "cheap  PILLS", "http://x.example/y", "viagra", "v1agra",
}

// pythonPatterns are what people write for Python, as far as Go has it.
var pythonPatterns = []string{
	`(?u)a`, `(?u)É`, `(?iu)é`, `(?a)a`, `(?i)ab`, `(?s)a.b`, `(?m)^a$`, `(?ms)^b.a`, `(?is)A.B`, `(?i:a)B`, `(?i:a)b`, `(?s-i:a.b)`, `(?a:a)b`, `(?u-i:ab)`,
	`a\Z`, `^a\Z`, `a$`, `a$|b\Z`, `b\Z|a$`, `\Aa$`, `\Ab`, `[$]`, `\$`, `a[$]`,
	`a(?#why)b`, `(?#why)a`, `a(?#why)+b`, `((?#why)a)`, `a{2(?#why)}`, `(?#)`, `a(?#a(b)b`,
	`a{,2}b`, `^a{,2}$`, `^a{,2}b`, `a{,}b`, `^a{,}$`, `a{}`, `a{`, `a{,2`, `a{2}`, `a{02}`, `a{2,}`, `^a{2,3}$`, `^a{0,2}?b`, `a\{,}b`, `[{,2}]`, `a{x}`, `^a{,0}b`,
	`\u00e9`, `[\u00e8-\u00ea]`, `\u2022`, `\U0001F4B0`, `[\U0001f4b0]`, `\xe9`, `[\xe8-\xea]`, `\é`, `[\é]`, `é`, `(?i)é`,
	`\s`, `\S`, `[\s]`, `[^\s]`, `[\S]`, `[^\S]`, `^\S$`, `^[^\Sa]$`, `\v`, `[\v]`, `[\b]`, `\x08`, `\d`, `\D`, `[\d_]`, `\w`, `\bab\b`, `a\B`,
	`\0`, `\01`, `\101`, `[\1]`, `[\01]`, `[\101]`, `\1411`, `[\18]`,
	`[[]`, `[]]`, `[^]]`, `[]a]`, `[[:]`, `[[:alpha:]]`, `[\]]`, `[-a]`, `[a-]`, `[a-c-e]`, `[\-]`, `[^-a]`, `[#]`, `[\\]`, `[\^]`, `[^^]`, `[a^]`,
	`(?P<word>a)b`, `(?P<wört>a)b`, `(?P<x>a|(?P<y>b))`, `(?:a|b)b`, `()`, `(a)(b)?`,
	`(?x) a b`, `(?x)a\ b`, `(?x) a [ ] b # an end`, `(?x)a #b`, `(?x: a )b`, `(?x: a (b) )`, `(?x)(?-x:a b)`, `(?x)a\#b`, `(?x)a {2}`, `(?ix) A B`, `(?x)[#]`, `a[b(?x) #c]`, `(?x)(?s)a#[`,
	`a*?b`, `a+?`, `a??b`, `a|`, `|`, `^`, `$`, `.`, `^.$`, `^..$`, `a.b`,
	`(?i)v[i1]agra`, `(?i)cheap\s+pills`, `https?://[^/]+\.example/\w`, `\(\?`, `\(\.\)`, `a\-b`, `\,`, `\:`, `\_`, `\#`, `a\ b`,
}

// pythonSearch prints for each pattern what each text has of it: null if Python
// refuses the pattern.
const pythonSearch = `
import json, re, sys, warnings
warnings.simplefilter("ignore")
patterns, texts = json.load(sys.stdin)
found = []
for p in patterns:
    try:
        r = re.compile(p)
        found.append([r.search(t) is not None for t in texts])
    except re.error as e:
        found.append(None)
json.dump(found, sys.stdout)
`

// searchInPython asks Python's re.
func searchInPython(t testing.TB, patterns, texts []string) (found [][]bool) {
	t.Helper()
	in, err := json.Marshal([][]string{patterns, texts})
	require.NoError(t, err)
	cmd := exec.Command(testserver.Python(t), "-c", pythonSearch)
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &found))
	return found
}

// TestBadContentFindsWhatPythonFinds: an expression that is written for Python means
// the same here, or is named.
func TestBadContentFindsWhatPythonFinds(t *testing.T) {
	found := searchInPython(t, pythonPatterns, pythonTexts)
	for i, pattern := range pythonPatterns {
		if !assert.NotNil(t, found[i], "Python compiles %s", pattern) {
			continue
		}
		if strings.TrimSpace(pattern) != pattern {
			t.Errorf("%q: spaces around it do not count", pattern)
		}
		b := badContentOf(t, "{{{\n"+pattern+"\n}}}")
		if !assert.NoError(t, b.Err(), pattern) {
			continue
		}
		for k, text := range pythonTexts {
			if text == "é" || text == "É" || text == "e\u0301" {
				if strings.ContainsAny(pattern, "wbBdDW") && strings.Contains(pattern, `\`) {
					continue // \w and \b are ASCII
				}
			}
			if text == "\x1f" && strings.Contains(strings.ToLower(pattern), `\s`) {
				continue // and so is \s
			}
			written, bad := match(t, b, text)
			assert.Equal(t, found[i][k], bad, "%s in %q", pattern, text)
			if bad {
				assert.Equal(t, pattern, written)
			}
		}
	}
}
