package tracbus

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// hidden stands for a secret wherever one is printed.
const hidden = "[secret]"

// A Secret is a password that never prints: not by fmt with any verb, not by
// log/slog, not as JSON or text, and not as a field of some other struct that
// does not know of it. Zero means none.
//
// Secrets are compared by [Secret.Equal]: to == two of the same text are
// different, but for zero.
type Secret struct {
	text *string // behind a pointer: fmt prints unexported strings of foreign structs
}

// NewSecret keeps a text secret. An empty one is no secret, as zero.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Equal tells whether both are the same text, in a time that does not depend on
// where they differ.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns "[secret]", or nothing where there is no secret.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return hidden
}

// Format prints the same for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%q", s.String()) }

// LogValue is what log/slog shows.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is what JSON and other encodings show. It is not the way to store
// a secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a secret from an application's own settings.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
