package testserver

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestRedisAnswersAgainAfterAKill(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{})
	c := client(t, &redis.Options{Addr: s.Addr()})
	mustPing(t, c)

	s.Kill()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a killed server answered")
	}
	s.Kill() // a second time does nothing

	addr := s.Addr()
	s.Restart()
	if s.Addr() != addr {
		t.Errorf("address after a restart\n got %s\nwant %s", s.Addr(), addr)
	}
	mustPing(t, c)
}

func TestRedisForgetsOverARestartUnlessToldToKeep(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		args []string
		want int64
	}{
		{"by default", nil, 0},
		{"append only", []string{"--appendonly", "yes", "--appendfsync", "always"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := Redis(t, RedisOptions{Args: tc.args})
			c := client(t, &redis.Options{Addr: s.Addr()})
			if err := c.Set(t.Context(), "key", "value", 0).Err(); err != nil {
				t.Fatal(err)
			}
			s.Restart() // one that still runs
			got, err := c.Exists(t.Context(), "key").Result()
			if err != nil || got != tc.want {
				t.Errorf("keys after a restart\n got %d, %v\nwant %d, nil", got, err, tc.want)
			}
		})
	}
}

func TestRedisTerminates(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{})
	s.Terminate()
	s.Terminate() // a second time does nothing
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		conn.Close()
		t.Fatal("a terminated server accepted a connection")
	}
}

func TestAStoppedRedisIsSilentUntilContinued(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{})
	c := client(t, &redis.Options{Addr: s.Addr()})
	hasty := client(t, &redis.Options{Addr: s.Addr(), ReadTimeout: 50 * time.Millisecond, MaxRetries: -1})
	mustPing(t, c)

	for range 20 { // an answer that slips out while the server stops would show
		s.Stop()
		err := hasty.Ping(t.Context()).Err()
		if !isTimeout(err) {
			t.Fatalf("PING of a stopped server\n got %v\nwant a timeout", err)
		}
		s.Continue()
		mustPing(t, c)
	}

	s.Stop()
	s.Kill()
	s.Restart()
	mustPing(t, c)
}

func TestRedisOnAUnixSocket(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{Unix: true})
	if got, limit := len(s.Socket()), 100; got > limit {
		t.Errorf("socket path %s has %d bytes, want at most %d", s.Socket(), got, limit)
	}
	mustPing(t, client(t, &redis.Options{Network: "unix", Addr: s.Socket()}))
	mustPing(t, client(t, &redis.Options{Addr: s.Addr()}))
}

func TestRedisWithAPassword(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{Password: `pass "word" \`})
	mustPing(t, client(t, &redis.Options{Addr: s.Addr(), Password: `pass "word" \`}))

	err := client(t, &redis.Options{Addr: s.Addr()}).Ping(t.Context()).Err()
	if err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("PING without the password\n got %v\nwant NOAUTH", err)
	}
}

func TestRedisWithUsers(t *testing.T) {
	t.Parallel()
	s := Redis(t, RedisOptions{Users: []RedisUser{
		{Name: "default", Rules: "off"},
		{Name: "trac", Password: "secret", Rules: "resetchannels &trac.* +publish +ping"},
	}})
	trac := client(t, &redis.Options{Addr: s.Addr(), Username: "trac", Password: "secret"})
	if err := trac.Publish(t.Context(), "trac.test.ticket.created", "{}").Err(); err != nil {
		t.Errorf("publish where the user may: %v", err)
	}
	for name, err := range map[string]error{
		"another channel": trac.Publish(t.Context(), "other", "{}").Err(),
		"another command": trac.Get(t.Context(), "key").Err(),
	} {
		if err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s\n got %v\nwant NOPERM", name, err)
		}
	}
	if err := client(t, &redis.Options{Addr: s.Addr()}).Ping(t.Context()).Err(); err == nil {
		t.Error("the default user is off, but was let in")
	}
}

func TestRedisWithTLS(t *testing.T) {
	t.Parallel()
	certs := Certificates(t)
	s := Redis(t, RedisOptions{TLS: certs})
	mustPing(t, client(t, &redis.Options{Addr: s.Addr(), TLSConfig: certs.ClientConfig(t)}))

	anonymous := certs.ClientConfig(t)
	anonymous.Certificates = nil
	stranger := Certificates(t).ClientConfig(t)
	for name, options := range map[string]*redis.Options{
		"plain TCP":             {Addr: s.Addr()},
		"no client certificate": {Addr: s.Addr(), TLSConfig: anonymous},
		"another test's CA":     {Addr: s.Addr(), TLSConfig: stranger},
	} {
		options.MaxRetries = -1
		if err := client(t, options).Ping(t.Context()).Err(); err == nil {
			t.Errorf("%s: was let in", name)
		}
	}

	lax := Redis(t, RedisOptions{TLS: certs, Args: []string{"--tls-auth-clients", "no"}})
	mustPing(t, client(t, &redis.Options{Addr: lax.Addr(), TLSConfig: anonymous}))
}

func TestManyRedisServersAtOnce(t *testing.T) {
	for range 8 {
		t.Run("one", func(t *testing.T) {
			t.Parallel()
			s := Redis(t, RedisOptions{})
			mustPing(t, client(t, &redis.Options{Addr: s.Addr()}))
		})
	}
}

func client(t *testing.T, options *redis.Options) *redis.Client {
	t.Helper()
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// mustPing wants an answer, on a second connection if the first one is of
// before.
func mustPing(t *testing.T, c *redis.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Ping(ctx).Err(); err != nil {
		t.Fatalf("PING: %v", err)
	}
}
