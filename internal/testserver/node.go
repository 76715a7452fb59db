package testserver

import (
	"os"
	"path/filepath"
	"testing"
)

// Node returns the path of node, for scripts that need packages of npm: those that the
// package.json of a folder names, once "npm ci" was run in it.
func Node(t testing.TB, folder string) string {
	t.Helper()
	node := require(t, "node")
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		missing(t, "the packages of npm ("+filepath.ToSlash(filepath.Join(folder, "package.json"))+")")
	}
	return node
}
