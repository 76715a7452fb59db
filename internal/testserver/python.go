package testserver

import (
	"os/exec"
	"testing"
)

// Python returns the path of a Python 3 that can import redis, the library that
// subscribers of the original plugin use.
func Python(t testing.TB) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(python)
		if err != nil {
			continue
		}
		if exec.Command(path, "-c", "import redis").Run() == nil {
			return path
		}
	}
	missing(t, "python3-redis")
	return ""
}
