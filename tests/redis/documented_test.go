package redis_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docs/redis.md has the rights with which the tests here run, what is done with each
// topology, and each fault.
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
	for _, c := range capabilities {
		assert.Contains(t, docs, "| "+c.name+" |")
	}
	var names []string
	for _, f := range append(append([]fault{}, faults...), elsewhere...) {
		names = append(names, f.name)
	}
	for _, f := range sentinelFaults {
		names = append(names, f.name)
	}
	for _, f := range clusterFaults {
		names = append(names, f.name)
	}
	for _, name := range names {
		assert.Contains(t, docs, "\n| "+name+" | ")
	}
}
