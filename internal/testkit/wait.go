package testkit

import (
	"context"
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen before it fails.
const Patience = time.Minute

// Until waits for a condition that nobody announces.
func Until(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

// Within is a context for what must not take long.
func Within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}
