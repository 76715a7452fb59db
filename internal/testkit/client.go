package testkit

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// HastyClient makes a client that gives up soon, and is closed with the test.
func HastyClient(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr:        addr,
		ReadTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond, DialTimeout: 200 * time.Millisecond,
		DialerRetryTimeout: 5 * time.Millisecond, MaxRetries: -1,
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// PatientClient makes a client that never gives up before the test does.
func PatientClient(t testing.TB, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr:        addr,
		ReadTimeout: 2 * Patience, WriteTimeout: 2 * Patience, DialTimeout: 2 * Patience, PoolTimeout: 2 * Patience,
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}
