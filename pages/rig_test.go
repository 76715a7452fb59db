package pages_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tracbus/tracbus"
)

// logs keeps what is logged.
type logs struct {
	mu      sync.Mutex
	records []slog.Record
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return nil
}

// lines returns what was logged as "message key=value …", of the given keys.
func (l *logs) lines(keys ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, r := range l.records {
		line := r.Message
		r.Attrs(func(a slog.Attr) bool {
			if slices.Contains(keys, a.Key) {
				line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
			}
			return true
		})
		lines = append(lines, line)
	}
	return lines
}

// inBubble runs f with a bus whose goroutines must all have ended when f
// returns: a bubble with one left does not end, but panics.
func inBubble(t *testing.T, config tracbus.BusConfig, f func(t *testing.T, bus *tracbus.Bus, l *logs)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := new(logs)
		config.Logger = slog.New(l)
		f(t, config.NewBus("test"), l)
	})
}
