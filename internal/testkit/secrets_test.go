package testkit

import (
	"errors"
	"fmt"
	"testing"
)

// The scan sees a secret wherever it may hide, and nothing where none is.
func TestScanForSecrets(t *testing.T) {
	const password = "pass\"word\n1"
	for name, show := range map[string]func(*SecretScan){
		"a text":             func(s *SecretScan) { s.Saw("x", password) },
		"a struct":           func(s *SecretScan) { s.Saw("x", struct{ p []any }{[]any{password}}) },
		"an error in others": func(s *SecretScan) { s.Saw("x", quiet{errors.Join(errors.New("a"), fmt.Errorf("b %s", password))}) },
		"a log":              func(s *SecretScan) { s.Logger().Info("x", "err", errors.New(password)) },
		"two writes": func(s *SecretScan) {
			_, _ = s.Write([]byte("x" + password[:4]))
			_, _ = s.Write([]byte(password[4:] + "x"))
		},
	} {
		s := &SecretScan{words: []string{password, `pass\"word\n1`}}
		s.Saw("x", "harmless", errors.New("harmless"))
		s.Logger().Info("harmless")
		if seen, found := s.Found(); seen == 0 || len(found) > 0 {
			t.Errorf("%s: saw %d bytes, and found %q before there was one", name, seen, found)
		}
		if show(s); len(s.found) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

// quiet hides the text of the error in it.
type quiet struct{ err error }

func (quiet) Error() string   { return "quiet" }
func (q quiet) Unwrap() error { return q.err }
