package tracbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

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
//
// It uses one go-redis PubSub per connection. A PubSub that reconnects by
// itself does not say so, and its Channel drops messages when the reader is
// slow.
func (r *receiver) session(ctx context.Context) error {
	r.connected = false
	ctx, cancel := context.WithCancel(ctx)
	pubsub := r.subscriber.client.PSubscribe(ctx)
	stop := context.AfterFunc(ctx, func() { _ = pubsub.Close() }) // Receive does not heed ctx
	var line line
	var watching sync.WaitGroup
	defer func() {
		cancel()
		stop()
		_ = pubsub.Close()
		watching.Wait()
	}()
	if err := pubsub.PSubscribe(ctx, r.patterns...); err != nil {
		return err
	}
	watching.Go(func() { watch(ctx, pubsub, r.subscriber.config.Silence, &line) })

	for confirmed := 0; !r.left; {
		line.listen()
		received, err := pubsub.Receive(ctx)
		line.rest()
		if err != nil {
			return err
		}
		switch m := received.(type) {
		case *redis.Subscription:
			switch confirmed++; {
			case confirmed == len(r.patterns):
				r.stands()
			case confirmed > len(r.patterns):
				return errReplaced
			}
		case *redis.Message:
			r.left = !r.yield(Decode(r.subscriber.prefix, m.Channel, m.Payload))
		}
	}
	return nil
}

// errReplaced: while the caller's loop was busy, a ping found the connection
// broken, and the PubSub made another.
var errReplaced = errors.New("the connection was replaced")

// line is what the watch knows of a connection.
type line struct {
	listening atomic.Bool // someone waits for a message
	heard     atomic.Bool // since the watch has last looked
}

func (l *line) listen() { l.heard.Store(true); l.listening.Store(true) }
func (l *line) rest()   { l.listening.Store(false) }

// watch closes a subscription whose server has been silent, and then does not
// answer either: a connection that is cut off somewhere on the way looks like
// one on which nothing happens.
func watch(ctx context.Context, pubsub *redis.PubSub, silence time.Duration, line *line) {
	tick := time.NewTicker(silence)
	defer tick.Stop()
	for asked := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch {
		case line.heard.Swap(false) || !line.listening.Load():
			asked = false
		case asked:
			_ = pubsub.Close()
			return
		default:
			asked = true
			_ = pubsub.Ping(ctx) // a failure is seen by Receive
		}
	}
}

// stands tells the caller from where on it misses nothing.
func (r *receiver) stands() {
	reason := Subscribed
	if r.begun {
		reason = Reconnected
	}
	r.begun, r.connected, r.told = true, true, false
	e := Resync{
		Change: Change{Time: micros(time.Now().UTC()), Absent: AuthorPart | CommentPart | OriginPart},
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
