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

// MeasuresMemory skips a test under the race detector, where pools forget what was put into them
// and all is larger: .ci/run has such tests once more without it.
func MeasuresMemory(t testing.TB) {
	t.Helper()
	if raced {
		t.Skip("what is allocated under the race detector says nothing")
	}
}
