package redis_test

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// fault is something that happens, and ends again.
type fault struct {
	name   string
	before func(t *testing.T, s *scene) // what the scene is made of, before anybody is there
	begin  func(t *testing.T, s *scene) (end func())
	says   []saying
	may    []string // roles that may also say a line or two, depending on who is faster

	forgets bool // the stream is lost with it
}

// saying is one line that somebody says because of a fault. Nothing else is said. Its
// words may be in parts, as in "this … and that", and there may be alternatives: "this OR that".
type saying struct{ role, words string }

// in says whether a line says it.
func (s saying) in(line string) bool {
	for words := range strings.SplitSeq(s.words, " OR ") {
		lacks := func(part string) bool { return !strings.Contains(line, part) }
		if !slices.ContainsFunc(strings.Split(words, " … "), lacks) {
			return true
		}
	}
	return false
}

// all is a saying of each role with the same words.
func all(words string) (s []saying) {
	for _, role := range roles {
		s = append(s, saying{role, words})
	}
	return s
}

// scene is a server behind a proxy, and everybody who uses it.
type scene struct {
	*rig
	server *testserver.RedisServer
	front  *testserver.TCPProxy
	config tracbus.RedisConfig

	nameless  bool          // everybody comes without a name and a password
	pingAfter time.Duration // of subscribers; zero means 500 ms
	certs     *testserver.CertFiles
	refusing  *refusing
}

// newScene starts a server where everybody has the rights of the documentation.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{server: testserver.Redis(t, testserver.RedisOptions{
		Users: users(server), Args: []string{"--enable-debug-command", "yes", "--enable-protected-configs", "yes", "--appendonly", "yes"},
	})}
	s.front = testserver.Proxy(t, s.server.Addr())
	s.config = tracbus.RedisConfig{Addr: s.front.Addr()}
	return s
}

// everybody begins to use it.
func (s *scene) everybody(t *testing.T) {
	t.Helper()
	s.rig = newRig(t, cmp.Or(s.pingAfter, 500*time.Millisecond), func(role string) redis.UniversalClient {
		c := s.config
		if !s.nameless {
			c.Username, c.Password = role, tracbus.NewSecret(passwordOf(role))
		}
		c.DialTimeout, c.ReadTimeout, c.WriteTimeout = 2*time.Second, 2*time.Second, 2*time.Second
		client, err := c.NewClient()
		require.NoError(t, err)
		t.Cleanup(func() { _ = client.Close() })
		return client
	})
}

// admin does something as administrator.
func (s *scene) admin(t *testing.T, args ...any) {
	t.Helper()
	require.NoError(t, s.server.Admin().Do(context.Background(), args...).Err(), "%v", args)
}

// set sets an option, and returns what sets another one.
func (s *scene) set(t *testing.T, option string, value, back any) func() {
	t.Helper()
	s.admin(t, "config", "set", option, value)
	return func() { s.admin(t, "config", "set", option, back) }
}

// meanwhile does something that takes long as administrator. The function that it
// returns waits for it.
func (s *scene) meanwhile(args ...any) (wait func() error) {
	done := make(chan error, 1)
	go func() {
		c := redis.NewClient(&redis.Options{
			Addr: s.server.Addr(), ReadTimeout: 2 * testkit.Patience, MaxRetries: -1, Username: "testserver", Password: "testserver",
		})
		defer c.Close()
		done <- c.Do(context.Background(), args...).Err()
	}()
	return func() error { return <-done }
}

// connections returns the ids of those that a role's user has.
func (s *scene) connections(t *testing.T, role string) (ids []string) {
	t.Helper()
	list, err := s.server.Admin().ClientList(context.Background()).Result()
	require.NoError(t, err)
	for line := range strings.Lines(list) {
		if id, _, _ := strings.Cut(line, " "); strings.Contains(line, " user="+role+" ") {
			ids = append(ids, id)
		}
	}
	return ids
}

// hangUp ends all connections but the administrator's.
func (s *scene) hangUp(t *testing.T) {
	t.Helper()
	s.admin(t, "client", "kill", "skipme", "yes", "type", "normal")
	s.admin(t, "client", "kill", "skipme", "yes", "type", "pubsub")
}

// TestRedisErrors has each fault happen under everybody. Each says it once, whatever is
// tried meanwhile; all goes on by itself when the cause is gone; a durable publisher
// and who reads its stream lose nothing, and who hears messages is told if any are
// missing. docs/redis.md has the table.
func TestRedisErrors(t *testing.T) {
	testkit.NoLeaks(t)
	for _, f := range slices.Concat(faults, idle) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			if f.before != nil {
				f.before(t, s)
			}
			s.everybody(t)
			s.works()
			f.happens(t, s.rig, f.begin(t, s))
		})
	}
}

// TestRedisElsewhere has an address lead, from the beginning, to what is no Redis for
// us. Who has to mend that is told what is there.
func TestRedisElsewhere(t *testing.T) {
	testkit.NoLeaks(t)
	for _, f := range slices.Concat(elsewhere, certificates) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			end := f.begin(t, s)
			s.everybody(t)
			f.happens(t, s.rig, end)
		})
	}
}

// happens has a fault happen under a rig, and compares what is said.
func (f fault) happens(t *testing.T, r *rig, end func()) {
	t.Helper()
	subscribed := r.confirmed > 0
	for _, s := range f.says {
		require.NotEmpty(t, s.words, "%s says something, it is not asked what", s.role)
	}
	testkit.Until(t, "everybody says what he has to say", func() bool {
		r.says()
		return within(100*time.Millisecond, func() bool {
			return !slices.ContainsFunc(roles, func(role string) bool {
				least := len(f.of(role))
				if slices.Contains(f.may, role) { // who may say the rest only at the end
					least = min(least, 1)
				}
				return len(r.troubles(role)) < least
			})
		})
	})
	for range 4 { // nobody says it again
		r.says()
		within(150*time.Millisecond, func() bool { return false })
	}
	end()
	ended := time.Now()
	r.works()
	t.Logf("all goes on %.1f s after the end", time.Since(ended).Seconds())
	for _, role := range roles {
		want, got := f.of(role), r.troubles(role)
		if slices.Contains(f.may, role) && len(got) >= len(want) && len(got) <= 2 {
			got = got[:len(want)]
		}
		if !assert.Len(t, got, len(want), "%s says %q", role, want) {
			continue
		}
		for i, line := range got {
			assert.True(t, want[i].in(line), "%s says %q\nexpected %q", role, line, want[i].words)
		}
	}
	if !f.forgets {
		r.complete(subscribed)
	}
}

// of returns what a role says.
func (f fault) of(role string) (want []saying) {
	for _, s := range f.says {
		if s.role == role {
			want = append(want, s)
		}
	}
	return want
}

// report shows what everybody said and was told, if the test has failed.
func (r *rig) report(t *testing.T) {
	if !t.Failed() {
		return
	}
	for _, role := range roles {
		for _, line := range r.printed.with("role=" + role + " ") {
			t.Log(line)
		}
	}
	t.Log("stream:", r.stream.all())
	t.Log("events:", r.events.all())
}
