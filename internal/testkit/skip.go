package testkit

import (
	"os"
	"testing"
)

// Skip skips a case that cannot be had here, which is a failure if nothing
// may be missing.
func Skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("TRACBUS_REQUIRE_SERVERS") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
