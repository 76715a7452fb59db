package testserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// requireEnv names the variable that turns a skipped test into a failed one.
const requireEnv = "TRACBUS_REQUIRE_SERVERS"

// require returns the path of a program: the one on PATH, or else the last that
// matches one of the patterns, which say where distributions hide it.
func require(t testing.TB, program string, patterns ...string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern) // fails on a malformed pattern only
		if len(found) > 0 {
			return found[len(found)-1]
		}
	}
	missing(t, program)
	return ""
}

// missing ends a test that cannot run without what is not installed.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv(requireEnv) != "" {
		t.Fatalf("%s needs %s, which is not installed, and %s is set", t.Name(), what, requireEnv)
	}
	t.Skipf("%s skipped: it needs %s, which is not installed", t.Name(), what)
}
