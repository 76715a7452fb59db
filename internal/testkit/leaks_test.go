package testkit

import (
	"fmt"
	"strings"
	"testing"
)

// spy is a test that notes its failures and is cleaned up when it is told to.
type spy struct {
	testing.TB
	cleanups []func()
	failures []string
}

func (s *spy) Helper()          {}
func (s *spy) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }
func (s *spy) Errorf(format string, args ...any) {
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

// end cleans up, the last first.
func (s *spy) end() {
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
}

// TestNoLeaks: a goroutine that existed before is ignored, one that ends during the
// cleanup is waited for, and one that remains fails the test.
func TestNoLeaks(t *testing.T) {
	NoLeaks(t)
	release := make(chan struct{})
	go waitFor(release) // before

	s := &spy{TB: t}
	NoLeaks(s)
	s.end()
	if len(s.failures) > 0 {
		t.Errorf("none leaks\n got %s\nwant nothing", s.failures)
	}

	s = &spy{TB: t}
	NoLeaks(s)
	own := make(chan struct{})
	go waitFor(own)
	s.Cleanup(func() { close(own) }) // after this it is about to end
	s.end()
	if len(s.failures) > 0 {
		t.Errorf("one ends when all is cleaned up\n got %s\nwant nothing", s.failures)
	}

	s = &spy{TB: t}
	NoLeaks(s)
	for range 2 {
		go waitFor(release)
	}
	s.end()
	if len(s.failures) != 1 || !strings.HasPrefix(s.failures[0], "2 goroutines") || strings.Count(s.failures[0], "testkit.waitFor(") != 2 {
		t.Errorf("two leak\n got %s\nwant both stacks", s.failures)
	}
	close(release)
}

func waitFor(done <-chan struct{}) { <-done }
