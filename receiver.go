package tracbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
func (r *receiver) session(ctx context.Context) error {
	r.connected = false
	line, err := newLine(ctx, r.subscriber.client)
	if err != nil {
		return err
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	defer line.close()
	if err := line.pubsub.PSubscribe(line.ctx, r.patterns...); err != nil {
		return err
	}
	watching.Go(func() { line.watch(r.subscriber.config.Silence) })

	for confirmed := 0; !r.left; {
		received, err := line.receive()
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
