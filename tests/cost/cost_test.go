// Package cost_test measures what each public function of the library that takes a text
// costs at most: memory is counted, not time.
package cost_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/pages"
	"github.com/tracbus/tracbus/trac/realms"
)

// library are the packages that users import.
var library = map[string]string{"tracbus": "../..", "trac": "../../trac", "realms": "../../trac/realms", "pages": "../../pages"}

// trusted are the functions whose texts no user writes, each with the reason.
var trusted = map[string]string{
	"tracbus.JournalSchema": "the name of a schema, which the program has", "tracbus.JournalUpgrade": "the name of a schema, which the program has",
	"trac.CaptureSchema": "the name of a schema, which the program has", "trac.UninstallCapture": "the name of a schema, which the program has",
	"trac.LoadPage": "a page's name, a parameter of one statement", "trac.LoadPageVersions": "a page's name, a parameter of one statement",
	"tracbus.NewBus": "the env, which the operator sets", "tracbus.BusConfig.NewBus": "the env, which the operator sets",
	"tracbus.Durable": "a consumer's name, which the program has", "tracbus.DurableConfig.Durable": "a consumer's name, which the program has",
	"tracbus.Journal.DeadLetters": "a consumer's name, a parameter of one statement", "tracbus.Journal.DropConsumer": "a consumer's name, a parameter of one statement",
	"tracbus.Journal.DropDeadLetters": "a consumer's name, a parameter of one statement", "tracbus.Journal.Redeliver": "a consumer's name, a parameter of one statement",
	"tracbus.Fields.Text": "a field's name, looked up in a map", "tracbus.Fields.Time": "a field's name, looked up in a map",
	"tracbus.Subscriber.Events": "patterns of channels, which the operator sets", "tracbus.Subscriber.Stream": "a key and an id, which the operator sets",
	"tracbus.RedisWaker.Call": "the name of the channel, which the journal makes", "tracbus.RedisWaker.Hear": "the name of the channel, which the journal makes",
	"pages.NewValue": "a page's name, which the program has",
}

// worst are the worst texts that were found for the others, by fuzzing and by reading. Each
// makes a text of about a size, and returns what is to be measured.
var worst = map[string]map[string]func(t *testing.T, size int) func(){
	"tracbus.ValidatePageName": {
		"slashes": func(_ *testing.T, n int) func() {
			return func() { _ = tracbus.ValidatePageName(strings.Repeat("a/", n/2)) }
		},
		"no UTF-8": func(_ *testing.T, n int) func() {
			return func() { _ = tracbus.ValidatePageName(strings.Repeat("\xff", n)) }
		},
	},
	"tracbus.ParseRedisURL": {
		"a path":  func(_ *testing.T, n int) func() { return url("redis://h/" + strings.Repeat("1", n)) },
		"escapes": func(_ *testing.T, n int) func() { return url("redis://" + strings.Repeat("%41", n/3) + "@h") },
		"query":   func(_ *testing.T, n int) func() { return url("redis://h?" + strings.Repeat("a&", n/2)) },
		"hosts":   func(_ *testing.T, n int) func() { return url("redis://" + strings.Repeat("h:1,", n/4)) },
	},
	"tracbus.PageResource": {"a name": func(_ *testing.T, n int) func() {
		name := strings.Repeat("\xff", n)
		return func() { _ = tracbus.PageResource(name).String() }
	}},
	"tracbus.Resources.Of": {"a name": func(_ *testing.T, n int) func() {
		name := strings.Repeat("\xff", n)
		return func() { _ = tracbus.Resources("sprint").Of(name).String() }
	}},
	"tracbus.NewSecret": {"a text": func(_ *testing.T, n int) func() {
		text := strings.Repeat("x", n)
		return func() { _ = tracbus.NewSecret(text).String() }
	}},
	"tracbus.Secret.UnmarshalText": {"a text": func(_ *testing.T, n int) func() {
		text := []byte(strings.Repeat("x", n))
		return func() { _ = new(tracbus.Secret).UnmarshalText(text) }
	}},
	"tracbus.LoadConfig": {
		"lines of a value": func(t *testing.T, n int) func() {
			return config(t, "[redispub]\nchannel_prefix = a\n"+strings.Repeat(" x\n", n/3))
		},
		"DEFAULT": func(t *testing.T, n int) func() {
			return config(t, "[redispub]\na=\n[DEFAULT]\n"+numbered(n, "o%d=\n"))
		},
		"fields": func(t *testing.T, n int) func() { return config(t, "[ticket-custom]\n"+numbered(n, "o%d=text\n")) },
		"inherits": func(t *testing.T, n int) func() {
			return config(t, "[inherit]\nfile = "+strings.Repeat("x/../", n/5))
		},
	},
	"tracbus.Decode": decoding(tracbus.Decode),
	"realms.Decode":  decoding(realms.Decode),
	"realms.ParseAttachmentID": {"quotes": func(_ *testing.T, n int) func() {
		id := strings.Repeat(`"\\`, n/3)
		return func() { _, _, _ = realms.ParseAttachmentID(id) }
	}},
	"realms.AttachmentResource": {"a name": func(_ *testing.T, n int) func() {
		name := strings.Repeat("\xff", n)
		return func() { _ = realms.AttachmentResource(tracbus.PageResource(name), name).String() }
	}},
	"realms.MilestoneResource": {"a name": named(realms.MilestoneResource)},
	"realms.ComponentResource": {"a name": named(realms.ComponentResource)},
	"realms.VersionResource":   {"a name": named(realms.VersionResource)},
	"pages.Set.Has": {"slashes": func(_ *testing.T, n int) func() {
		name, set := strings.Repeat("/", n), pages.NewIndex(pages.Config{}).Get()
		return func() { _ = set.Has(name) }
	}},
	"pages.CheckInterMap": {
		"entries": func(_ *testing.T, n int) func() {
			return checkInterMap("----\n" + numbered(n, "a%d b\n"))
		},
		"no entries": func(_ *testing.T, n int) func() { return checkInterMap("----\n" + strings.Repeat("a b\n", n/4)) },
		"one line":   func(_ *testing.T, n int) func() { return checkInterMap("----\na " + strings.Repeat("$1", n/2)) },
		"too long": func(_ *testing.T, n int) func() {
			return checkInterMap("----\n" + strings.Repeat("a "+strings.Repeat("$", 21)+"\n", n/24))
		},
		"empty lines": func(_ *testing.T, n int) func() { return checkInterMap("----\n" + strings.Repeat("\n", n)) },
	},
	"pages.InterMap.Expand": {
		"a long link": func(t *testing.T, n int) func() { return expand(t, "http://h/$1", strings.Repeat("x", n)) },
		"colons": func(t *testing.T, n int) func() {
			return expand(t, "http://h/"+strings.Repeat("$9", 20), strings.Repeat(":", n))
		},
		"many links": func(t *testing.T, n int) func() {
			one := expand(t, "http://h/"+strings.Repeat("$1", 20), strings.Repeat("x", 190))
			return func() {
				for range n / 194 {
					one()
				}
			}
		},
	},
	"pages.CheckBadContent": {
		"short":        badContent("a\n"),
		"wrong":        badContent("(\n"),
		"dots":         badContent("x.\n"),
		"counts":       badContent(".{1000}\n"),
		"counts of it": badContent("(a{0,30}){0,16}\n"),
		"large":        badContent(".{200}\n"),
		"folded":       badContent("(?i)[b-𞥂]\n"),
		"names":        badContent(`\pL` + "\n"),
		"groups":       badContent(strings.Repeat("(", 499) + strings.Repeat(")", 499) + "\n"),
		"alternatives": badContent(strings.Repeat("a|b.|", 190) + "\n"),
		"numbers":      badContent(strings.Repeat(`\0`, 400) + "\n"),
		"classes":      badContent(strings.Repeat(`[\W\S]`, 160) + "\n"),
		"one line":     badContent("x"),
		"dollars":      badContent(strings.Repeat("$", 900) + "\n"),
		"verbose":      badContent(strings.Repeat("(?x)", 240) + "\n"),
	},
	"pages.BadContent.Match": {"no literals": matching("{{{\na.b\n(?i)c.d\n^x\n[ab]*c$\n}}}"), "a large one": matching("{{{\n[^z]{0,50}z\n}}}")},
	"pages.Pattern.Match": {"a large one": func(t *testing.T, n int) func() {
		text, p := strings.Repeat("y", n), bad(t, "{{{\n[^z]{0,50}z$\n}}}").Get()[0]
		return func() { _, _ = p.Match(t.Context(), text) }
	}},
}

// most is how many bytes a function may allocate for each byte of its text, 64 unless
// there is a reason.
var most = map[string]uint64{
	"tracbus.LoadConfig":    512, // for lines of 4 bytes, each an option and a warning
	"pages.CheckBadContent": 512, // a program is made of each expression, up to what they may cost together
}

// TestCostIsLinear: 64 KiB and 1 MiB of the worst texts take memory in proportion to their
// length. -v prints the table.
func TestCostIsLinear(t *testing.T) {
	testkit.MeasuresMemory(t)
	deadline := time.AfterFunc(8*time.Minute, func() { panic("a function does not end: expected each to end in a moment, see the stacks") })
	defer deadline.Stop()
	for _, function := range slices.Sorted(maps.Keys(worst)) {
		for _, name := range slices.Sorted(maps.Keys(worst[function])) {
			make := worst[function][name]
			small, large := measure(make(t, 64<<10)), measure(make(t, 1<<20))
			t.Logf("| `%s` | %s | %d KiB | %d KiB |", function, name, small>>10, large>>10)
			factor := max(64, most[function])
			assert.LessOrEqual(t, small, factor*64<<10, "%s: %s, 64 KiB", function, name)
			assert.LessOrEqual(t, large, factor<<20, "%s: %s, 1 MiB", function, name)
			assert.LessOrEqual(t, large, 24*small+64<<10, "%s: %s: 16 times the text", function, name)
		}
	}
}

// TestCostOfEveryFunctionIsKnown: a new function that takes a text is measured, or it is
// said why not.
func TestCostOfEveryFunctionIsKnown(t *testing.T) {
	found := map[string]bool{}
	for name, folder := range library {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		require.NoError(t, err)
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			require.NoError(t, err)
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && takesText(f) {
					found[name+"."+receiver(f)+f.Name.Name] = true
				}
			}
		}
	}
	require.Greater(t, len(found), 30)
	for function := range found {
		assert.True(t, worst[function] != nil || trusted[function] != "", "%s takes a text: expected its worst texts, or why nobody writes them", function)
	}
	for _, known := range slices.Concat(slices.Collect(maps.Keys(worst)), slices.Collect(maps.Keys(trusted))) {
		assert.True(t, found[known], "%s: there is no such function that takes a text", known)
	}
}

// receiver returns "Type." of an exported method, or "".
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(types.ExprString(f.Recv.List[0].Type), "*"), "[")
	return name + "."
}

// takesText says whether a function that users can call has a parameter that is a text.
func takesText(f *ast.FuncDecl) bool {
	if r := receiver(f); !f.Name.IsExported() || r != "" && !ast.IsExported(r) {
		return false
	}
	return slices.ContainsFunc(f.Type.Params.List, func(p *ast.Field) bool {
		return slices.Contains([]string{"string", "...string", "[]string", "[]byte", "io.Reader"}, types.ExprString(p.Type))
	})
}

// measure returns how many bytes f allocates.
func measure(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func numbered(size int, format string) string {
	var s strings.Builder
	for i := 0; s.Len() < size-64; i++ {
		fmt.Fprintf(&s, format, i)
	}
	return s.String()
}

func url(text string) func() {
	return func() {
		if _, err := tracbus.ParseRedisURL(text); err != nil {
			_ = err.Error()
		}
	}
}

func config(t *testing.T, text string) func() {
	file := filepath.Join(t.TempDir(), "trac.ini")
	require.NoError(t, os.WriteFile(file, []byte(text[:min(len(text), 1<<20)]), 0o600))
	return func() {
		if _, err := tracbus.LoadConfig(file); err != nil {
			_ = err.Error()
		}
	}
}

// decoding are messages that anybody who reaches Redis can publish.
func decoding(decode func(prefix, channel, payload string) (tracbus.Event, error)) map[string]func(*testing.T, int) func() {
	of := func(channel, payload func(n int) string) func(*testing.T, int) func() {
		return func(_ *testing.T, n int) func() {
			c, p := channel(n), payload(n)
			return func() {
				if _, err := decode("trac", c, p); err != nil {
					_ = err.Error()
				}
			}
		}
	}
	fixed := func(text string) func(int) string { return func(int) string { return text } }
	changed := fixed("trac.e.ticket.changed")
	return map[string]func(*testing.T, int) func(){
		"dots":    of(func(n int) string { return "trac." + strings.Repeat(".", n) }, fixed("{}")),
		"nested":  of(changed, func(n int) string { return `{"id": ` + strings.Repeat("[", n) }),
		"closed":  of(changed, func(n int) string { return `{"id": ` + strings.Repeat("[", n/2) + strings.Repeat("]", n/2) + "}" }),
		"escapes": of(fixed("trac.e.wiki.created"), func(n int) string { return `{"pagename": "` + strings.Repeat(`\u001b`, n/6) + `"}` }),
		"members": of(changed, func(n int) string { return "{" + numbered(n, `"a%d":1,`) + `"z":1}` }),
		"fields":  of(changed, func(n int) string { return `{"id": 1, "values": {` + numbered(n, `"a%d":"",`) + `"z":""}}` }),
		"number":  of(changed, func(n int) string { return `{"id": ` + strings.Repeat("1", n) + `}` }),
	}
}

func named(resource func(name string) tracbus.Resource) func(*testing.T, int) func() {
	return func(_ *testing.T, n int) func() {
		name := strings.Repeat("\xff", n)
		return func() { _ = resource(name).String() }
	}
}

func checkInterMap(text string) func() {
	return func() {
		if err := pages.CheckInterMap(text); err != nil {
			_ = err.Error()
		}
	}
}

func expand(t *testing.T, address, target string) func() {
	m := pages.NewInterMap(pages.InterMapConfig{})
	page := tracbus.WikiPage{Name: "InterMapTxt", Version: 1, Text: "----\na " + address + "\n"}
	require.NoError(t, m.WikiPageCreated(t.Context(), tracbus.WikiPageCreated{Page: page}))
	require.NoError(t, m.Err())
	return func() { _, _, _ = m.Expand("a", target) }
}

func badContent(line string) func(*testing.T, int) func() {
	return func(_ *testing.T, n int) func() {
		text := "{{{\n" + strings.Repeat(line, n/len(line)) + "\n}}}"
		return func() {
			var wrong pages.PatternErrors
			if errors.As(pages.CheckBadContent(text), &wrong) {
				_ = wrong.Error()
			}
		}
	}
}

func bad(t *testing.T, text string) *pages.BadContent {
	b := pages.NewBadContent(pages.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, b.WikiPageCreated(context.Background(), tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "BadContent", Version: 1, Text: text}}))
	require.NoError(t, b.Err())
	return b
}

func matching(page string) func(*testing.T, int) func() {
	return func(t *testing.T, n int) func() {
		b, text := bad(t, page), strings.Repeat("a", n)
		return func() { _, _, _ = b.Match(t.Context(), text) }
	}
}
