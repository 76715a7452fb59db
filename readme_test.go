package tracbus_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/docprogram"
	"github.com/tracbus/tracbus/trac/realms"
)

// documents returns README.md and the files in docs.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("docs", "*.md"))
	require.NoError(t, err)
	return append(files, "README.md")
}

// Every block of Go in the documentation is a whole program or file that compiles.
// Those that open a database are built in the module tests, which has the drivers.
func TestDocumentedProgramsBuild(t *testing.T) {
	found, err := docprogram.Find(documents(t)...)
	require.NoError(t, err)
	ours := slices.DeleteFunc(found, func(p docprogram.Program) bool {
		return slices.ContainsFunc(p.Imports(), func(path string) bool {
			return strings.HasPrefix(path, "modernc.org/sqlite") || strings.HasPrefix(path, "github.com/jackc/pgx") ||
				strings.HasPrefix(path, "github.com/go-sql-driver/mysql") ||
				strings.HasPrefix(path, "go.opentelemetry.io/") || strings.HasPrefix(path, "github.com/prometheus/")
		})
	})
	require.NotEmpty(t, ours)
	require.NoError(t, docprogram.Compile(".", t.TempDir(), ours))
}

// The messages in docs/channels.md are what a publisher sends for what a subscriber
// understands.
func TestDocumentedMessagesAreReal(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "channels.md"))
	require.NoError(t, err)
	kinds := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		channel, payload, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " {")
		if !ok || !strings.HasPrefix(channel, "trac.") {
			continue
		}
		payload = "{" + payload
		e, err := realms.Decode(tracbus.DefaultPrefix, channel, payload)
		require.NoError(t, err, "%s", line)
		gotChannel, gotPayload, err := tracbus.PublisherConfig{}.Encode(e)
		require.NoError(t, err, "%s", line)
		assert.Equal(t, channel, gotChannel)
		assert.Equal(t, payload, gotPayload)
		kinds[string(e.Resource().Realm)+"."+string(e.Kind())] = true
	}
	assert.Len(t, kinds, 6+15+3)
}

// The contract is in one place, the package comment, and README.md links to it.
func TestTheContractIsInThePackageComment(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	require.NoError(t, err)
	for _, heading := range []string{"# Guarantees\n", "# Not promised\n", "# Asked of listeners\n"} {
		assert.Contains(t, file.Doc.Text(), heading)
	}
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, guarantees, ok := strings.Cut(string(readme), "## Guarantees\n")
	require.True(t, ok)
	guarantees, _, _ = strings.Cut(guarantees, "\n## ")
	assert.Contains(t, guarantees, "(doc.go)")
	assert.LessOrEqual(t, strings.Count(guarantees, "\n- "), 10, "the full list is in doc.go")
}

// README.md is short.
func TestReadmeIsShort(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	assert.LessOrEqual(t, strings.Count(string(readme), "\n"), 220)
}

// Every link of the documentation to a file of the repository, and to a heading in it,
// leads somewhere.
func TestDocumentedLinksLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)|(?:src|srcset)="([^"]+)"`)
	for _, from := range append(documents(t), "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md") {
		text, err := os.ReadFile(from)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			target := m[1] + m[3]
			if strings.Contains(target, "://") {
				continue
			}
			path := from
			if target != "" {
				path = filepath.Join(filepath.Dir(from), filepath.FromSlash(target))
			}
			if _, err := os.Stat(path); !assert.NoError(t, err, "%s links to %s", from, m[0]) || m[2] == "" {
				continue
			}
			there, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Contains(t, anchors(string(there)), m[2], "%s links to %s", from, m[0])
		}
	}
}

// anchors returns the names by which GitHub links to the headings of a Markdown file.
func anchors(markdown string) []string {
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(markdown, -1) {
		name := strings.ToLower(m[1])
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// An application with tables of its own adds fewer than 30 lines, also with Join.
func TestAnApplicationAddsFewLines(t *testing.T) {
	source, err := os.ReadFile("example_journal_test.go")
	require.NoError(t, err)
	application, _, ok := strings.Cut(string(source), "\n// An application with tables of its own")
	require.True(t, ok)
	_, application, ok = strings.Cut(application, "\n)\n") // the imports
	require.True(t, ok)
	name, lines := "", map[string]int{}
	added := false
	for line := range strings.SplitSeq(application, "\n") {
		if m := regexp.MustCompile(`^(?:func \(t \*tracker\) |func |type )(\w+)`).FindStringSubmatch(line); m != nil {
			name = m[1]
		}
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "// Added"):
			added = true
		case strings.HasPrefix(line, "// As before"):
			added = false
		case added && line != "":
			lines[name]++
		default:
			assert.NotRegexp(t, `tracbus\.|journal|\bbus\b`, regexp.MustCompile(`//.*`).ReplaceAllString(line, ""), "not after Added")
		}
	}
	t.Logf("lines added: %v", lines)
	common := lines["tracker"] + lines["newTracker"] + lines["close"]
	assert.Less(t, common+lines["setStatus"], 30)
	assert.LessOrEqual(t, lines["setStatusInOwn"], 10)
	assert.NotZero(t, lines["setStatusInOwn"])
}
