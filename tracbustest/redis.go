package tracbustest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/tracbustest/internal/redistrial"
)

// RedisConfig says under which names [Redis] works. Zero means random ones that begin with
// "tracbustest_". A user with ACL rules for certain names needs these to be among them: then
// nobody who is not to see messages of a test may be subscribed to the prefix.
type RedisConfig struct {
	Prefix    string // of channels, as in PublisherConfig
	StreamKey string // of a stream, which must not exist
}

// Redis checks that a Redis, as the client reaches it, does what publishers and subscribers
// need: their rights, the order of messages, the script and the stream of a durable
// publisher, and that all goes on after connections were killed. The client is one server's,
// a Sentinel's or a Cluster's; it is borrowed.
//
// It publishes on channels with a prefix of its own, and deletes the keys that it makes, for
// which the user needs the right +del. It kills connections of its own only, and not with a
// client of Sentinels, whose connections it cannot tell from others'.
func Redis(t T, client redis.UniversalClient) {
	t.Helper()
	RedisConfig{}.Redis(t, client)
}

var (
	promiseFree      = promise{"a key of its own", "Redis is reached, and the stream's key is free.", "The check would delete what is somebody else's."}
	promiseMessages  = promise{"messages", "What is published arrives at a subscriber, each message once, in order and unchanged. The Redis user has the rights that docs/redis.md names.", "Subscribers would miss changes, or get them in another order."}
	promiseScript    = promise{"the script and the stream", "Redis runs the script of a durable publisher: a batch that is sent again, or late, publishes nothing, and the stream has each change once.", "A durable publisher would publish nothing, or something twice."}
	promiseReconnect = promise{"killed connections", "After its connection was killed, a subscriber yields a Resync, and gets what is published from then on; a publisher publishes on.", "A restart of Redis or of a proxy would silence them for ever."}
	promiseStays     = promise{"what Redis keeps stays", "Redis has no maxmemory-policy that begins with allkeys-.", "It may evict the key that has how far a durable publisher has come: then it publishes again what was published."}
	promiseCleaned   = promise{"nothing is left", "The keys of the check are deleted.", "They would stay in Redis for ever."}
)

// Redis is the function [Redis] with names of the caller's.
func (c RedisConfig) Redis(t T, client redis.UniversalClient) {
	t.Helper()
	id := "tracbustest_" + strings.ToLower(rand.Text()[:12])
	trial := redistrial.Trial{Client: client, Prefix: c.Prefix, Stream: c.StreamKey, ID: id}
	if trial.Prefix == "" {
		trial.Prefix = id
	}
	if trial.Stream == "" {
		trial.Stream = id
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r := report{t, fmt.Sprintf("redis %T", client)}
	tell := func(p promise, err error) {
		t.Helper()
		switch {
		case errors.Is(err, redistrial.ErrNotTried):
			t.Logf("%s: %s: %v", r.what, p.name, err)
		case err != nil:
			r.broken(p, "%v", err)
		}
	}
	if err := trial.Free(ctx); err != nil {
		tell(promiseFree, err)
		return
	}
	tell(promiseMessages, trial.PublishAndSubscribe(ctx))
	tell(promiseScript, trial.Script(ctx))
	tell(promiseReconnect, trial.Reconnect(ctx))
	policy, err := trial.Evicts(ctx)
	if err == nil && policy != "" {
		err = fmt.Errorf("maxmemory-policy %s", policy)
	}
	tell(promiseStays, err)
	tell(promiseCleaned, trial.Clean(context.WithoutCancel(ctx)))
}
