package tracbus_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// patience is how long a test waits for what must happen before it fails.
const patience = time.Minute

// until waits for a condition that nobody announces.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// noLeaks fails the test if a goroutine is left when all else was cleaned up.
func noLeaks(t testing.TB) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
}

// hastyClient makes a client that gives up soon, and is closed with the test.
func hastyClient(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr:        addr,
		ReadTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond, DialTimeout: 200 * time.Millisecond,
		DialerRetryTimeout: 5 * time.Millisecond, MaxRetries: -1,
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// within is a context for what must not take long.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// logRecorder keeps what is logged.
type logRecorder struct {
	mu    sync.Mutex
	lines []string
}

func (l *logRecorder) Enabled(context.Context, slog.Level) bool { return true }
func (l *logRecorder) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logRecorder) WithGroup(string) slog.Handler            { return l }

func (l *logRecorder) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// with returns the lines that contain one of the words.
func (l *logRecorder) with(words ...string) (found []string) {
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

// ear is a raw subscriber to everything, connected to the server directly.
type ear struct {
	pubsub     *redis.PubSub
	subscribed atomic.Int64 // how often
	heard      atomic.Int64
	done       chan struct{}

	mu       sync.Mutex
	messages []*redis.Message
}

func newEar(t testing.TB, client *redis.Client) *ear {
	t.Helper()
	e := &ear{pubsub: client.PSubscribe(context.Background(), "*"), done: make(chan struct{})}
	go e.listen()
	t.Cleanup(func() {
		_ = e.pubsub.Close()
		<-e.done
	})
	until(t, "the raw subscriber subscribes", func() bool { return e.subscribed.Load() > 0 })
	return e
}

func (e *ear) listen() {
	defer close(e.done)
	for {
		received, err := e.pubsub.Receive(context.Background())
		if err == nil {
			e.take(received)
		} else if err.Error() == "redis: client is closed" {
			return
		}
	}
}

func (e *ear) take(received any) {
	switch m := received.(type) {
	case *redis.Subscription:
		e.subscribed.Add(1)
	case *redis.Message:
		e.mu.Lock()
		e.messages = append(e.messages, m)
		e.mu.Unlock()
		e.heard.Add(1)
	}
}

func (e *ear) all() []*redis.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.messages
}
