package tracbus_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// CHANGELOG.md says of each name what it is called now: the new one exists, the old one
// does not.
func TestChangelogNamesExist(t *testing.T) {
	text, err := os.ReadFile("CHANGELOG.md")
	require.NoError(t, err)
	names := map[string]bool{}
	for prefix, folder := range map[string]string{"": ".", "trac.": "trac", "pages.": "pages"} {
		for name := range exported(t, folder) {
			names[prefix+name] = true
		}
	}
	rows := 0
	for _, m := range regexp.MustCompile("(?m)^\\| (`.*`) \\| (`.*`) \\|$").FindAllStringSubmatch(string(text), -1) {
		rows++
		for old := range strings.SplitSeq(m[1], ", ") {
			if names[strings.Trim(old, "`")] {
				t.Errorf("CHANGELOG.md has %s as an old name, which exists", old)
			}
		}
		for now := range strings.SplitSeq(m[2], ", ") {
			if !names[strings.Trim(now, "`")] {
				t.Errorf("CHANGELOG.md has %s as a new name, which does not exist", now)
			}
		}
	}
	assert.Greater(t, rows, 100)
}

// exported returns the exported names of a package, with those of its types' methods and
// fields as Type.Name.
func exported(t *testing.T, folder string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	add := func(parts ...string) {
		if !slices.ContainsFunc(parts, func(s string) bool { return !ast.IsExported(s) }) {
			names[strings.Join(parts, ".")] = true
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					add(d.Name.Name)
				} else {
					add(strings.TrimLeft(regexp.MustCompile(`\[.*`).ReplaceAllString(types.ExprString(d.Recv.List[0].Type), ""), "*"), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.ValueSpec:
						for _, n := range s.Names {
							add(n.Name)
						}
					case *ast.TypeSpec:
						add(s.Name.Name)
						structure, ok := s.Type.(*ast.StructType)
						if !ok {
							continue
						}
						for _, field := range structure.Fields.List {
							for _, n := range field.Names {
								add(s.Name.Name, n.Name)
							}
						}
					}
				}
			}
		}
	}
	return names
}

// The files and folders that docs/internals.md and CONTRIBUTING.md name exist, and so do
// the packages and benchmarks in the commands of docs/benchmarks.md.
func TestDocumentedPathsExist(t *testing.T) {
	path := regexp.MustCompile("`((?:internal|tests|trac|pages|examples)/[\\w/.]*\\w|\\w+\\.go)`")
	command := regexp.MustCompile(`(?m)^(?:\w+=\S+ )*go test .*$`)
	for _, file := range []string{"docs/internals.md", "docs/benchmarks.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(filepath.FromSlash(file))
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			folder := "." // of a file that is named after another one of the same folder
			for _, m := range path.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "/") {
					if folder = m[1]; strings.HasSuffix(folder, ".go") {
						folder = filepath.Dir(folder)
					}
				} else {
					m[1] = filepath.Join(folder, m[1])
				}
				if _, err := os.Stat(filepath.FromSlash(m[1])); err != nil {
					t.Errorf("%s names %s, which does not exist", file, m[1])
				}
			}
		}
		for _, line := range command.FindAllString(string(text), -1) {
			line, _, _ = strings.Cut(line, "#")
			line, _, _ = strings.Cut(line, " | ")
			var tests []byte
			for folder := range strings.FieldsSeq(line) {
				if !strings.HasPrefix(folder, ".") || strings.HasSuffix(folder, "...") {
					continue
				}
				files, err := filepath.Glob(filepath.Join(filepath.FromSlash(folder), "*_test.go"))
				require.NoError(t, err)
				if len(files) == 0 {
					t.Errorf("%s: there are no tests in %s: %s", file, folder, line)
				}
				for _, name := range files {
					source, err := os.ReadFile(name)
					require.NoError(t, err)
					tests = append(tests, source...)
				}
			}
			m := regexp.MustCompile(`-(?:bench|run) '?([\w|]{2,})\$?'?`).FindStringSubmatch(line)
			if m == nil || tests == nil {
				continue
			}
			for name := range strings.SplitSeq(m[1], "|") {
				if !regexp.MustCompile(`(?m)^func (?:Benchmark|Test)\w*` + strings.TrimPrefix(name, "Test") + `\w*\(`).Match(tests) {
					t.Errorf("%s: nothing is called %s: %s", file, name, line)
				}
			}
		}
	}
}

// docs/settings.md has every field of every configuration.
func TestSettingsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "settings.md"))
	require.NoError(t, err)
	for _, config := range []any{
		tracbus.BusConfig{}, tracbus.JournalConfig{}, tracbus.DurableConfig{}, tracbus.Retention{}, tracbus.PublisherConfig{},
		tracbus.SubscriberConfig{}, tracbus.Config{}, tracbus.RedisConfig{}, tracbus.RedisTLS{}, tracbus.RedisSentinel{},
	} {
		for field := range reflect.TypeOf(config).Fields() {
			if !regexp.MustCompile("`(?:\\w+\\.)?" + field.Name + "`").Match(text) {
				t.Errorf("docs/settings.md does not have %T.%s", config, field.Name)
			}
		}
	}
}

// docs/operations.md explains every line that the library logs, and every error that a
// program may branch on.
func TestOperationsExplainLogLinesAndErrors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "operations.md"))
	require.NoError(t, err)
	lines := logLines(t)
	require.Greater(t, len(lines), 20)
	for line, where := range lines {
		if !strings.Contains(string(text), "| `"+line+"` |") {
			t.Errorf("docs/operations.md does not explain %q, which is logged in %s", line, where)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (?:error|warn|info) \\|").FindAllStringSubmatch(string(text), -1) {
		if _, ok := lines[m[1]]; !ok {
			t.Errorf("docs/operations.md explains %q, which nobody logs", m[1])
		}
	}
	for prefix, folder := range map[string]string{"": ".", "trac.": "trac"} {
		for name := range exported(t, folder) {
			if !regexp.MustCompile(`^(Err\w+|\w+Error)$`).MatchString(name) {
				continue
			}
			if !regexp.MustCompile("`\\*?" + regexp.QuoteMeta(prefix+name) + "`").Match(text) {
				t.Errorf("docs/operations.md does not explain %s%s", prefix, name)
			}
		}
	}
}

// logLines returns the messages that library code logs, and where.
func logLines(t *testing.T) map[string]string {
	t.Helper()
	lines := map[string]string{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if path != "." && (strings.HasPrefix(entry.Name(), ".") || slices.Contains([]string{"examples", "tests", "testdata", "prom"}, path)) {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		var function ast.Node // in which the call is
		ast.Inspect(file, func(n ast.Node) bool {
			if f, ok := n.(*ast.FuncDecl); ok {
				function = f
			}
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 || !isLog(call) {
				return true
			}
			where := set.Position(call.Pos()).String()
			texts := constants(call.Args[0], function)
			assert.NotEmpty(t, texts, "%s: expected a message in quotes, so that docs/operations.md can explain it", where)
			for _, text := range texts {
				lines[text] = where
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
	return lines
}

// isLog says whether a call writes to a log.
func isLog(call *ast.CallExpr) bool {
	method, ok := call.Fun.(*ast.SelectorExpr)
	return ok && regexp.MustCompile(`(?i)(^slog|logger)$`).MatchString(types.ExprString(method.X)) &&
		slices.Contains([]string{"Error", "Warn", "Info", "Debug"}, method.Sel.Name)
}

// constants returns the texts that an expression may have: those of a string literal, of
// a sum of some, or of all that are assigned to a variable within a function.
func constants(e ast.Expr, function ast.Node) []string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return []string{text}
		}
	case *ast.BinaryExpr:
		x, y := constants(e.X, function), constants(e.Y, function)
		if len(x) == 1 && len(y) == 1 {
			return []string{x[0] + y[0]}
		}
	case *ast.Ident:
		var texts []string
		ast.Inspect(function, func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == 1 && types.ExprString(a.Lhs[0]) == e.Name {
				texts = append(texts, constants(a.Rhs[0], nil)...)
			}
			return true
		})
		return texts
	}
	return nil
}

// A figure of speed in README.md and the documents is one that docs/benchmarks.md has,
// which is written by what measures it.
func TestDocumentedSpeedsAreMeasured(t *testing.T) {
	measured, err := os.ReadFile(filepath.Join("docs", "benchmarks.md"))
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join("docs", "*.md"))
	require.NoError(t, err)
	for _, name := range append(files, "README.md", "doc.go") {
		if name == filepath.Join("docs", "benchmarks.md") {
			continue
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, m := range speeds(string(text)) {
			if !strings.Contains(string(measured), m[1]) {
				t.Errorf("%s says %q, and docs/benchmarks.md has no %s", name, m[0], m[1])
			}
		}
	}
	require.Len(t, speeds("12,000 changes/s, 3.5 µs, 7 ns each, 1.5 times as fast, 900 messages a second, 40 k/s; 5 ms, once a second, 2 s"), 6)
}

// speeds finds numbers with a unit of speed. Times from a millisecond on are settings.
func speeds(text string) [][]string {
	return regexp.MustCompile(`\b(\d[\d.,]*) ?(?:µs\b|ns\b|k/s\b|(?:[a-z]+)?/s\b|[a-z]+/s\b|times as (?:fast|slow)|[a-z]+ a second)`).FindAllStringSubmatch(text, -1)
}
