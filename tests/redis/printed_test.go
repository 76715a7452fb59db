package redis_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// printed is all that was printed in a test, in which no secret may be.
type printed struct {
	mu    sync.Mutex
	lines []string
}

// listenFor collects what a test prints, and looks into it when the test is over.
func listenFor(t *testing.T) *printed {
	t.Helper()
	p := &printed{}
	t.Cleanup(func() {
		for _, line := range p.all() {
			if strings.Contains(line, secretPart) {
				t.Errorf("a secret was printed: %s", line)
			}
		}
	})
	return p
}

// secretPart is in every password of the tests here.
const secretPart = "tell-nobody"

// Printf implements the logger of go-redis.
func (p *printed) Printf(_ context.Context, format string, args ...any) { p.add(format, args...) }

// Write takes a line of a log.
func (p *printed) Write(line []byte) (int, error) {
	p.add("%s", strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

func (p *printed) add(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
}

// value notes a value in every form in which programs print one.
func (p *printed) value(v any) { p.add("%v %+v %#v", v, v, v) }

func (p *printed) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.lines...)
}

// with returns the lines that have some words.
func (p *printed) with(words string) (found []string) {
	for _, line := range p.all() {
		if strings.Contains(line, words) {
			found = append(found, line)
		}
	}
	return found
}

// logger writes into it.
func (p *printed) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// TestMain looks into what go-redis itself says, of all tests.
func TestMain(m *testing.M) {
	var all printed
	redis.SetLogger(&all)
	code := m.Run()
	for _, line := range all.with(secretPart) {
		fmt.Println("go-redis has printed a secret:", line)
		code = max(code, 1)
	}
	os.Exit(code)
}

// writeIni writes the trac.ini of an environment named test, and returns its folder.
func writeIni(t *testing.T, text string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "test")
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "conf"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "conf", "trac.ini"), []byte(text), 0o600))
	return folder
}
