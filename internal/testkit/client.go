package tracbus_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

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

// patientClient makes a client that never gives up before the test does.
func patientClient(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr:        addr,
		ReadTimeout: 2 * patience, WriteTimeout: 2 * patience, DialTimeout: 2 * patience, PoolTimeout: 2 * patience,
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}
