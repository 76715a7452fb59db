package stream_test

import (
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

// patientClient makes a client that does not give up, and is closed with the
// test.
func patientClient(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr:        addr,
		ReadTimeout: 2 * patience, WriteTimeout: 2 * patience, DialTimeout: 2 * patience, PoolTimeout: 2 * patience,
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}
