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

// LogRecorder keeps what is logged.
type LogRecorder struct {
	mu    sync.Mutex
	lines []string
}

func (l *LogRecorder) Enabled(context.Context, slog.Level) bool { return true }

func (l *LogRecorder) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l *LogRecorder) WithGroup(string) slog.Handler { return l }

func (l *LogRecorder) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// with returns the lines that contain one of the words.
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

// Notes is a log that a test reads.
type Notes struct {
	mu   sync.Mutex
	Text bytes.Buffer
	more chan struct{}
}

func NewNotes() *Notes { return &Notes{more: make(chan struct{}, 1)} }

func (n *Notes) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(n, nil)) }

func (n *Notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case n.more <- struct{}{}:
	default:
	}
	return n.Text.Write(b)
}

func (n *Notes) Count(words string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.Text.String(), words)
}

// until waits for words in the log.
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
