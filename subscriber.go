package tracbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

// SubscriberConfig says what a [Subscriber] listens to.
type SubscriberConfig struct {
	// Prefix is the first part of the channels, as in [PublisherConfig]. Zero
	// means [DefaultPrefix], unless NoPrefix is set. A channel that does not
	// begin with it is understood nevertheless; see [Decode].
	Prefix string

	// NoPrefix says that channels have no prefix.
	NoPrefix bool

	// PingAfter is for how long Redis may be silent before it is asked whether
	// it is still there; if it does not answer in the same time again, the
	// connection is given up. Zero means 15 s.
	PingAfter time.Duration

	// MaxBackoff bounds the pause between tries to connect, which begins at
	// 50 ms and doubles. Zero means 2 s.
	MaxBackoff time.Duration
}

// Pattern returns the pattern of all channels of the prefix.
func (c SubscriberConfig) Pattern() string {
	prefix := prefixOf(c.Prefix, c.NoPrefix)
	if prefix == "" {
		return "*"
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(prefix) + ".*"
}

// Subscriber receives what a [Publisher], or the original plugin, publishes. It
// holds no connection but within [Subscriber.Events] and [Subscriber.Stream]. It
// may be used concurrently.
type Subscriber struct {
	client redis.UniversalClient
	config SubscriberConfig
	prefix string
	refill time.Duration // for how long a stream that fell back is given to come on again
}

// ErrDisconnected is yielded, wrapped, by [Subscriber.Events] and
// [Subscriber.Stream] when their connection is lost or cannot be made.
var ErrDisconnected = errors.New("not connected to Redis")

// NewSubscriber returns a subscriber that connects as the client does, which the
// caller keeps and closes: each loop makes a connection of its own with the
// client's settings. An ACL user needs "+psubscribe" and the channels; Redis
// compares its patterns with theirs as texts, so that a user with "&trac.*" may
// not subscribe to "trac.*.wiki.*". It panics as [NewPublisher] does.
func NewSubscriber(client redis.UniversalClient, config SubscriberConfig) *Subscriber {
	mustServe("NewSubscriber", client)
	if config.PingAfter < 0 || config.MaxBackoff < 0 {
		panic("tracbus: SubscriberConfig needs Silence and MaxBackoff from zero")
	}
	s := &Subscriber{client: client, config: config, prefix: prefixOf(config.Prefix, config.NoPrefix), refill: 30 * time.Second}
	s.config.PingAfter = cmp.Or(config.PingAfter, 15*time.Second)
	s.config.MaxBackoff = cmp.Or(config.MaxBackoff, 2*time.Second)
	return s
}

// Events subscribes to patterns, in Redis's notation ("trac.*", "trac.?.wiki.*",
// "[ab]"); without any, to all channels of the prefix. It yields each message as
// one event, as it comes, until the loop is left or ctx ends. A message that
// matches two of the patterns comes twice, as Redis sends it.
//
// The first event is a [Resync] with reason [ResyncSubscribed], yielded when the
// subscription stands: whoever loads a state then, misses nothing after it.
// Another Resync with reason [ResyncReconnected] follows whenever the connection was
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
		patterns = []string{s.config.Pattern()}
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
			if !s.pause(ctx, try) {
				return
			}
		}
	}
}

// pause waits before the next try to connect. It is false if ctx ended.
func (s *Subscriber) pause(ctx context.Context, try int) bool {
	timer := time.NewTimer(min(25*time.Millisecond<<min(try, 10), s.config.MaxBackoff))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// receiver is one loop over [Subscriber.Events].
type receiver struct {
	subscriber *Subscriber
	patterns   []string
	yield      func(Event, error) bool

	left      bool // the caller has left the loop
	begun     bool // a subscription has stood before
	connected bool // the subscription stands, or did in the last session
	told      bool // the caller knows that it does not stand
}

// session subscribes and receives until the connection is lost, ctx ends or the
// caller leaves the loop.
func (r *receiver) session(ctx context.Context) error {
	r.connected = false
	line, err := redisconn.New(ctx, r.subscriber.client)
	if err != nil {
		return err
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	defer line.Close()
	if err := line.Subscribe(r.patterns...); err != nil {
		return err
	}
	watching.Go(func() { line.Watch(r.subscriber.config.PingAfter) })

	for confirmed := 0; !r.left; {
		received, err := line.Receive()
		var reply redis.Error
		if r.connected && errors.As(err, &reply) {
			continue // to a PING, which the user may not use
		} else if err != nil {
			return err
		}
		switch m := received.(type) {
		case *redis.Subscription:
			if confirmed++; confirmed == len(r.patterns) {
				r.stands()
			}
		case *redis.Message:
			r.left = !r.yield(Decode(r.subscriber.prefix, m.Channel, m.Payload))
		}
	}
	return nil
}

// stands tells the caller from where on it misses nothing.
func (r *receiver) stands() {
	reason := ResyncSubscribed
	if r.begun {
		reason = ResyncReconnected
	}
	r.begun, r.connected, r.told = true, true, false
	e := Resync{
		Change: Change{Time: time.Now().UTC().Truncate(time.Microsecond), Absent: AttrAuthor | AttrComment | AttrOrigin},
		Reason: reason,
	}
	r.left = !r.yield(e, nil)
}

// lost tells the caller, once, that the subscription does not stand.
func (r *receiver) lost(err error) {
	if r.told {
		return
	}
	r.told = true
	r.left = !r.yield(nil, fmt.Errorf("subscribe: %w: %w", ErrDisconnected, err))
}
