package testkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
)

// SecretScan looks for passwords in all that a test has it see. It may be used
// concurrently.
type SecretScan struct {
	words []string

	mu    sync.Mutex
	rest  string // of what was written, in which a word may begin
	seen  int
	found []string
}

// ScanForSecrets makes a scan that fails the test at its end if a password was
// seen, or nothing at all. A password has eight bytes at least: a shorter one would
// be found in ordinary words.
func ScanForSecrets(t testing.TB, passwords ...string) *SecretScan {
	t.Helper()
	s := &SecretScan{}
	for _, p := range passwords {
		if len(p) < 8 {
			t.Fatalf("password of %d bytes: too short to be looked for", len(p))
		}
		quoted := fmt.Sprintf("%q", p)
		s.words = append(s.words, p, quoted[1:len(quoted)-1])
	}
	t.Cleanup(func() {
		if seen, found := s.Found(); seen == 0 {
			t.Error("the scan for secrets has seen nothing")
		} else {
			for _, f := range found {
				t.Errorf("a secret was printed: %s", f)
			}
		}
	})
	return s
}

// Found returns how much was seen, and where secrets were.
func (s *SecretScan) Found() (seen int, found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen, slices.Clone(s.found)
}

// Saw looks at values in every way in which they may be printed, and at all errors
// that are in an error.
func (s *SecretScan) Saw(where string, values ...any) {
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
			s.saw(where+" "+verb, fmt.Sprintf(verb, v))
		}
		if text, err := json.Marshal(v); err == nil {
			s.saw(where+" as JSON", string(text))
		}
		if err, ok := v.(error); ok {
			s.inside(where, err)
		}
	}
}

// inside looks at the errors that an error wraps.
func (s *SecretScan) inside(where string, err error) {
	s.saw(where, err.Error())
	if inner := errors.Unwrap(err); inner != nil {
		s.inside(where+", inside", inner)
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, inner := range several.Unwrap() {
			s.inside(where+", inside", inner)
		}
	}
}

func (s *SecretScan) saw(where, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen += len(text)
	for _, w := range s.words {
		if strings.Contains(text, w) {
			s.found = append(s.found, where+": "+text)
			return
		}
	}
}

// Write looks at what is written, for [SecretScan.Logger] and for the output of a
// process.
func (s *SecretScan) Write(b []byte) (int, error) {
	s.mu.Lock()
	text, longest := s.rest+string(b), 0
	for _, w := range s.words {
		longest = max(longest, len(w))
	}
	s.rest = text[max(0, len(text)-max(longest-1, 0)):]
	s.mu.Unlock()
	s.saw("written", text)
	return len(b), nil
}

// Logger returns a logger whose lines are looked at, and written to others.
func (s *SecretScan) Logger(others ...io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.MultiWriter(append(others, s)...), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
