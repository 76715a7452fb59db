package contract

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tracbus/tracbus/internal/testkit"
)

// npm is the folder whose package.json names what tests need of npm.
var npm = filepath.Join("testdata", "npm")

// node returns the path of node, and skips a test where that or what npm installs is missing.
func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		testkit.Skip(t, t.Name()+" skipped: it needs node, which is not installed")
	}
	if _, err := os.Stat(filepath.Join(npm, "node_modules")); err != nil {
		testkit.Skip(t, t.Name()+" skipped: it needs packages of npm: npm ci --prefix tests/contract/testdata/npm")
	}
	return path
}
