package testkit

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// Failures is a test that is expected to fail: it notes what it is told, and t goes on.
// It is for one goroutine.
type Failures struct {
	t    testing.TB
	All  []string // that Errorf was called with
	Logs []string // that Logf was called with
}

// ExpectFailures returns a test within t.
func ExpectFailures(t testing.TB) *Failures { return &Failures{t: t} }

// Helper does nothing.
func (f *Failures) Helper() {}

// Context is that of t.
func (f *Failures) Context() context.Context { return f.t.Context() }

// Logf notes a text.
func (f *Failures) Logf(format string, args ...any) {
	f.Logs = append(f.Logs, fmt.Sprintf(format, args...))
}

// Errorf notes a failure.
func (f *Failures) Errorf(format string, args ...any) {
	f.All = append(f.All, fmt.Sprintf(format, args...))
}

// Want fails the test unless there is a failure with each of the words.
func (f *Failures) Want(words ...string) {
	f.t.Helper()
	all := strings.Join(f.All, "\n")
	for _, w := range words {
		if !strings.Contains(all, w) {
			f.t.Errorf("no failure says %q; there are %d:\n%s", w, len(f.All), all)
		}
	}
}
