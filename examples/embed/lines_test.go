package embed_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/docprogram"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// Marks in the programs. A line that ends with the first, and those after the second up to a blank line
// or one bracket, are what tracbus adds. What follows the third is the application's own line, in whose
// place they are.
const (
	markLine  = " // with tracbus"
	markBlock = "// With tracbus:"
	markWas   = "// Without tracbus: "
)

var funcName = regexp.MustCompile(`^func (?:\(.*?\) )?(\w+)\(`)

// without returns a program as it was before tracbus, and how many lines each function has of it: ""
// is what is in no function.
func without(source string) (before string, added map[string]int) {
	added = map[string]int{}
	var b strings.Builder
	block, function := false, ""
	for line := range strings.Lines(source) {
		text := strings.TrimSpace(line)
		if named := funcName.FindStringSubmatch(line); named != nil {
			function = named[1]
		}
		was, replaced := strings.CutPrefix(text, markWas)
		switch {
		case text == markBlock:
			block = true
			continue
		case replaced:
			b.WriteString(was + "\n")
			continue
		case text == "" || text == "}" || text == ")":
			block = false
		case block || strings.HasSuffix(text, markLine):
			added[function]++
			continue
		}
		if line == "}\n" {
			function = ""
		}
		b.WriteString(line)
	}
	return b.String(), added
}

// Ten lines add tracbus to an application, with its first kind of event: imports, opening, closing and
// the commit. Each further kind needs three at most. Without these lines the application compiles and
// works, and knows nothing of tracbus.
func TestEmbeddingLines(all *testing.T) {
	docprogram.NotCached(all)
	servers, tasks := map[string]*testdatabase.Server{}, 0
	for _, p := range programs {
		all.Run(p.name, func(t *testing.T) {
			before, added := without(p.source(t))
			assert.LessOrEqual(t, added[""]+added["main"]+added["Create"], 10, "%v", added)
			assert.LessOrEqual(t, added["Change"], 3)
			assert.LessOrEqual(t, added["Delete"], 3)
			assert.LessOrEqual(t, added["Do"], 3, "tasks, which are another realm")
			tasks += added["Do"]
			delete(added, "Do") // which not all have
			assert.Len(t, added, 5, "there are others: %v", added)
			t.Logf("lines: %v", added)
			for line := range strings.Lines(before) {
				if !strings.Contains(line, "/examples/embed/") && !strings.HasPrefix(line, "//") {
					assert.NotContains(t, line, "tracbus")
				}
			}

			if servers[p.dialect] == nil {
				servers[p.dialect] = testdatabase.New(all, p.dialect)
			}
			l := newLedger(t, servers[p.dialect])
			run := start(t, p.build(t, before), l.dsn, testserver.Redis(t, testserver.RedisOptions{}).Addr())
			run.changes(40)
			run.end()
			require.GreaterOrEqual(t, l.count(), 40, "what triggers saw")
		})
	}
	assert.Positive(all, tasks, "no application has tasks")
}
