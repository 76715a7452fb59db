package tracbus

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// SubscriberConfig says what a [Subscriber] listens to.
type SubscriberConfig struct {
	// Prefix is the first part of the channels, as in [PublisherConfig]. Zero
	// means [DefaultPrefix], unless NoPrefix is set. A channel that does not
	// begin with it is understood nevertheless; see [Decode].
	Prefix string

	// NoPrefix says that channels have no prefix.
	NoPrefix bool

	// Silence is for how long Redis may be silent before it is asked whether
	// it is still there; if it does not answer in the same time again, the
	// connection is given up. Zero means 15 s.
	Silence time.Duration

	// MaxBackoff bounds the pause between tries to connect, which begins at
	// 50 ms and doubles. Zero means 2 s.
	MaxBackoff time.Duration
}

// Subscriber receives what a [Publisher], or the original plugin, publishes. It
// holds no connection but within [Subscriber.Events]. It may be used
// concurrently.
type Subscriber struct {
	client redis.UniversalClient
	config SubscriberConfig
	prefix string
}

// ErrDisconnected is yielded, wrapped, by [Subscriber.Events] when its
// connection is lost or cannot be made.
var ErrDisconnected = errors.New("not connected to Redis")

// NewSubscriber returns a subscriber that connects as the client does, which the
// caller keeps and closes: each loop makes a connection of its own with the
// client's settings. An ACL user needs "+psubscribe" and the channels.
func NewSubscriber(client redis.UniversalClient, config SubscriberConfig) *Subscriber {
	if client == nil {
		panic("tracbus: NewSubscriber needs a Redis client, got nil")
	}
	s := &Subscriber{client: client, config: config, prefix: prefixOf(config.Prefix, config.NoPrefix)}
	s.config.Silence = orDefault(config.Silence, 15*time.Second)
	s.config.MaxBackoff = orDefault(config.MaxBackoff, 2*time.Second)
	return s
}

// Events subscribes to patterns, in Redis's notation ("trac.*", "trac.?.wiki.*",
// "[ab]"); without any, to all channels of the prefix. It yields each message as
// one event, as it comes, until the loop is left or ctx ends. A message that
// matches two of the patterns comes twice, as Redis sends it.
//
// The first event is a [Resync] with reason [Subscribed], yielded when the
// subscription stands: whoever loads a state then, misses nothing after it.
// Another Resync with reason [Reconnected] follows whenever the connection was
// lost: what was published meanwhile is lost to this subscriber.
//
// Errors do not end the loop. They are a [*DecodeError] for a message that is no
// event, and one that wraps [ErrDisconnected] each time the connection is lost,
// or cannot be made at the beginning.
//
// The loop's body holds the connection up. Redis gives up on a reader that lags
// far behind (client-output-buffer-limit), which is seen as a loss of
// connection: nothing is dropped in silence.
func (s *Subscriber) Events(ctx context.Context, patterns ...string) iter.Seq2[Event, error] {
	if len(patterns) == 0 {
		patterns = []string{s.ownPattern()}
	}
	patterns = slices.Compact(slices.Sorted(slices.Values(patterns))) // each is confirmed once
	return func(yield func(Event, error) bool) {
		r := receiver{subscriber: s, patterns: patterns, yield: yield}
		for try := 0; ; try++ {
			err := r.session(ctx)
			if r.left || ctx.Err() != nil {
				return
			}
			if r.connected {
				try = 0
			}
			if r.lost(err); r.left {
				return
			}
			timer := time.NewTimer(min(25*time.Millisecond<<min(try, 10), s.config.MaxBackoff))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	}
}

// ownPattern matches all channels of the prefix, and takes it literally.
func (s *Subscriber) ownPattern() string {
	if s.prefix == "" {
		return "*"
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`).Replace(s.prefix) + ".*"
}
