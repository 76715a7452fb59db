package testkit

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// LogRecorder is a [slog.Handler] that keeps what is logged.
type LogRecorder struct {
	mu    sync.Mutex
	lines []string
}

// Enabled is true for every level.
func (l *LogRecorder) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs drops the attributes.
func (l *LogRecorder) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup drops the group.
func (l *LogRecorder) WithGroup(string) slog.Handler { return l }

// Handle keeps a record as "message key=value …".
func (l *LogRecorder) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// With returns the lines that contain one of the words.
func (l *LogRecorder) With(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		for _, w := range words {
			if strings.Contains(line, w) {
				found = append(found, line)
				break
			}
		}
	}
	return found
}

// Notes is a log whose text a test waits for.
type Notes struct {
	mu   sync.Mutex
	Text bytes.Buffer
	more chan struct{}
}

// NewNotes returns an empty log.
func NewNotes() *Notes { return &Notes{more: make(chan struct{}, 1)} }

// Logger returns a logger that writes to the log.
func (n *Notes) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(n, nil)) }

// Write appends to the log.
func (n *Notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case n.more <- struct{}{}:
	default:
	}
	return n.Text.Write(b)
}

// Count returns how often the log has the words.
func (n *Notes) Count(words string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.Text.String(), words)
}

// Until waits for words in the log.
func (n *Notes) Until(t *testing.T, words string) {
	t.Helper()
	deadline := time.After(Patience)
	for n.Count(words) == 0 {
		select {
		case <-n.more:
		case <-deadline:
			t.Fatalf("not logged: %q, but:\n%s", words, &n.Text)
		}
	}
}

// Quiet logs nothing.
var Quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
