package redis_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docs/redis.md has the rights with which the tests here run, what is done with each
// topology, and what is said of each fault.
func TestRedisIsDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "redis.md"))
	require.NoError(t, err)
	docs := strings.ReplaceAll(string(text), `\|`, "|")
	for _, r := range rights {
		if r.role == appends { // it is in two rows
			assert.Contains(t, docs, "~changes +xadd +xtrim +xrange +xlen +xinfo|stream")
			continue
		}
		assert.Contains(t, docs, "| "+r.what+" | `"+r.rules+"` |")
	}
	assert.Contains(t, docs, "`"+clusterRules+"`")
	assert.Contains(t, docs, "`"+sentinelRules+"`")
	for _, topology := range sites {
		assert.Regexp(t, `(?m)^\| \|.* `+regexp.QuoteMeta(topology.name)+` \|`, docs)
	}
	for _, c := range capabilities {
		assert.Contains(t, docs, "| "+c.name+" |")
	}
	all := slices.Concat(faults, idle, elsewhere, certificates)
	for _, f := range sentinelFaults {
		all = append(all, f.fault)
	}
	for _, f := range clusterFaults {
		all = append(all, f.fault)
	}
	for _, f := range all {
		_, row, found := strings.Cut(docs, "\n| "+f.name+" | ")
		if !assert.True(t, found, f.name) {
			continue
		}
		row, _, _ = strings.Cut(row, "\n")
		for _, s := range f.says {
			for words := range strings.SplitSeq(s.words, " OR ") {
				assert.Contains(t, row, "`"+words+"`", f.name)
			}
		}
	}
}
