package tracbus_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// house is what the rules of the architecture are about: the packages of the
// root module by their paths within it ("" is the root), and the files.
type house struct {
	imports  map[string][]string // of library code, by package
	deps     map[string][]string // the same, with what the imports import
	files    map[string][]source // of library code, by package
	tests    int                 // test files in the root
	types    []string            // exported by the root
	requires []string            // directly, by the root module
	readme   int                 // lines
}

// source is one file.
type source struct {
	name  string
	lines int
	words []string // identifiers, texts and comments
}

// floors says which packages may import which: only those on lower floors.
var floors = [][]string{
	{"internal/redisconn/guard", "internal/redisconn/words", "internal/redisconn/setting", "internal/redisconn/quorum", "internal/sqltext", "internal/limit", "tracbustest/internal/compare", "internal/tracecontext", "internal/plain"},
	{"internal/value", "internal/store/schema", "internal/store/insert", "internal/store/turns", "internal/delivery", "internal/tracini", "internal/redisconn", "internal/persistent", "internal/question"},
	{"internal/session", "internal/tombstone", "internal/mark", "internal/lazyconn", "internal/chain", "internal/capture", "internal/tracvalue", "internal/tracfile", "internal/pool"},
	{"internal/borrow", "internal/namedrow", "internal/store", "internal/wire", "internal/stream", "internal/publish/pipeline", "internal/publish/script"},
	{"internal/checkpoint", "internal/retention", "internal/recent", "internal/probe", "internal/tracsql", "internal/batch"},
	{"internal/entry", "internal/follow", "internal/progress"},
	{"internal/consumer"},
	{"internal/publish"},
	{""},
	{"internal/foreign", "trac/internal/nameedit", "trac/realms", "tracbustest/internal/hostile", "tracbustest/internal/redistrial", "figures"},
	{"trac/internal/intake", "tracbustest"},
	{"trac"},
	{"pages"},
}

// forTests are packages that only tests import.
var forTests = []string{"internal/testserver", "internal/testkit", "internal/stream/streamtest", "internal/docprogram"}

// Every rule of the house returns what breaks it.
var houseRules = map[string]func(house) []string{
	"nothing under internal imports what is above it": func(h house) (wrong []string) {
		floor := map[string]int{}
		for i, packages := range floors {
			for _, p := range packages {
				floor[p] = i
			}
		}
		for p, imports := range h.imports {
			if slices.Contains(forTests, p) {
				continue
			}
			own, known := floor[p]
			if !known {
				wrong = append(wrong, fmt.Sprintf("package %q has no floor", p))
			}
			for _, other := range imports {
				if in, ours := strings.CutPrefix(other, modulePath); ours && floor[strings.TrimPrefix(in, "/")] >= own {
					wrong = append(wrong, fmt.Sprintf("%q imports %q, which is not on a lower floor", p, other))
				}
			}
		}
		return wrong
	},
	"delivery, follow and consumer name no realm, no ticket and no page": func(h house) (wrong []string) {
		named := regexp.MustCompile(`(?i:ticket|wiki|milestone|\bpages?\b)|Page`)
		for _, p := range []string{"internal/delivery", "internal/follow", "internal/consumer"} {
			for _, f := range h.files[p] {
				for _, w := range f.words {
					if named.MatchString(w) {
						wrong = append(wrong, fmt.Sprintf("%s/%s: %.80s", p, f.name, w))
					}
				}
			}
		}
		return wrong
	},
	"no library package needs a driver or a test library": func(h house) (wrong []string) {
		foreign := regexp.MustCompile(`^(modernc\.org|github\.com/(jackc|go-sql-driver|mattn|stretchr|alicebob))/|^testing$|^go\.uber\.org/goleak`)
		for p, deps := range h.deps {
			for _, d := range deps {
				if foreign.MatchString(d) && !slices.Contains(forTests, p) {
					wrong = append(wrong, fmt.Sprintf("%q needs %s", p, d))
				}
			}
		}
		return wrong
	},
	"no library package imports one for tests": func(h house) (wrong []string) {
		for p, imports := range h.imports {
			for _, other := range imports {
				if slices.Contains(forTests, strings.TrimPrefix(other, modulePath+"/")) && !slices.Contains(forTests, p) {
					wrong = append(wrong, fmt.Sprintf("%q imports %s", p, other))
				}
			}
		}
		return wrong
	},
	"the root module requires three libraries": func(h house) []string {
		want := []string{"github.com/alicebob/miniredis/v2", "github.com/redis/go-redis/v9", "github.com/stretchr/testify"}
		if got := slices.Sorted(slices.Values(h.requires)); !slices.Equal(got, want) {
			return []string{fmt.Sprintf("go.mod requires %q", got)}
		}
		return nil
	},
	"a reader can see all of the root": func(h house) (wrong []string) {
		over := func(what string, n, most int) {
			if n > most {
				wrong = append(wrong, fmt.Sprintf("%s: %d, expected %d at most", what, n, most))
			}
		}
		lines := 0
		for _, f := range h.files[""] {
			over("lines of "+f.name, f.lines, 350)
			lines += f.lines
		}
		over("files in the root", len(h.files[""]), 31) // with what embedding took: wake.go, join.go, savepoint.go, state.go, resource.go, trace.go
		over("lines in the root", lines, 7700)
		over("test files in the root", h.tests, 40)
		over("exported types of the root", len(h.types), 89)
		over("lines of README.md", h.readme, 220)
		return wrong
	},
	"no package below hides more than one reader can hold": func(h house) (wrong []string) {
		for p, files := range h.files {
			lines := 0
			for _, f := range files {
				lines += f.lines
			}
			if p != "" && lines > 3000 {
				wrong = append(wrong, fmt.Sprintf("%q has %d lines, expected 3000 at most", p, lines))
			}
		}
		return wrong
	},
}

const modulePath = "github.com/tracbus/tracbus"

// The library keeps the rules of its architecture (docs/internals.md).
func TestHouse(t *testing.T) {
	h := surveyed(t)
	for _, rule := range slices.Sorted(maps.Keys(houseRules)) {
		assert.Empty(t, houseRules[rule](h), rule)
	}
}

// Each rule is broken by what it forbids, and by nothing else here.
func TestHouseRulesSeeABreach(t *testing.T) {
	sound := func() house {
		return house{
			imports:  map[string][]string{"": {modulePath + "/internal/delivery"}, "internal/delivery": {"context"}},
			deps:     map[string][]string{"": {"context"}},
			files:    map[string][]source{"": {{name: "bus.go", lines: 300}}, "internal/consumer": {{"lease.go", 200, []string{"// paged", "lease"}}}},
			requires: []string{"github.com/redis/go-redis/v9", "github.com/stretchr/testify", "github.com/alicebob/miniredis/v2"},
		}
	}
	for rule, breach := range map[string]func(*house){
		"nothing under internal imports what is above it":                    func(h *house) { h.imports["internal/delivery"] = []string{modulePath} },
		"delivery, follow and consumer name no realm, no ticket and no page": func(h *house) { h.files["internal/consumer"][0].words[0] = "isTicketChange" },
		"no library package needs a driver or a test library":                func(h *house) { h.deps[""] = []string{"modernc.org/sqlite"} },
		"no library package imports one for tests": func(h *house) {
			h.imports[""] = append(h.imports[""], modulePath+"/internal/testkit")
		},
		"the root module requires three libraries":             func(h *house) { h.requires = append(h.requires, "go.uber.org/goleak") },
		"a reader can see all of the root":                     func(h *house) { h.files[""][0].lines = 351 },
		"no package below hides more than one reader can hold": func(h *house) { h.files["internal/consumer"][0].lines = 3001 },
	} {
		h := sound()
		breach(&h)
		for name, check := range houseRules {
			assert.Empty(t, check(sound()), name)
			assert.Equal(t, name == rule, len(check(h)) > 0, "%s, broken: %s", rule, name)
		}
	}
}

// surveyed looks at the module as it is.
func surveyed(t *testing.T) house {
	t.Helper()
	h := house{imports: map[string][]string{}, deps: map[string][]string{}, files: map[string][]source{}}
	packages := json.NewDecoder(strings.NewReader(goTool(t, "list", "-json=ImportPath,Dir,GoFiles,Imports,Deps", "./...")))
	for packages.More() {
		var p struct {
			ImportPath, Dir        string
			GoFiles, Imports, Deps []string
		}
		require.NoError(t, packages.Decode(&p))
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, modulePath), "/")
		h.imports[name], h.deps[name] = p.Imports, p.Deps
		for _, file := range p.GoFiles {
			h.files[name] = append(h.files[name], sourceOf(t, filepath.Join(p.Dir, file)))
		}
	}
	require.NotEmpty(t, h.files[""])

	tests, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	h.tests = len(tests)
	for _, line := range strings.Split(goTool(t, "doc", "."), "\n") {
		if strings.HasPrefix(line, "type ") {
			h.types = append(h.types, line)
		}
	}
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	h.readme = strings.Count(string(readme), "\n")

	var module struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	require.NoError(t, json.Unmarshal([]byte(goTool(t, "mod", "edit", "-json")), &module))
	for _, r := range module.Require {
		if !r.Indirect {
			h.requires = append(h.requires, r.Path)
		}
	}
	return h
}

func goTool(t *testing.T, args ...string) string {
	t.Helper()
	var said strings.Builder
	c := exec.Command("go", args...)
	c.Stderr = &said
	out, err := c.Output()
	require.NoError(t, err, "go %s: %s", strings.Join(args, " "), said.String())
	return string(out)
}

// sourceOf reads a file's names, texts and comments.
func sourceOf(t *testing.T, path string) source {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	s := source{name: filepath.Base(path), lines: strings.Count(string(text), "\n")}
	file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			s.words = append(s.words, n.Name)
		case *ast.BasicLit:
			s.words = append(s.words, n.Value)
		}
		return true
	})
	for _, c := range file.Comments {
		s.words = append(s.words, strings.Split(c.Text(), "\n")...)
	}
	slices.SortFunc(s.words, cmp.Compare[string])
	s.words = slices.Compact(s.words)
	return s
}
