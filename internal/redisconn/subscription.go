package redisconn

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// subscription is one connection of a subscriber. It breaks as soon as its
// context ends, whatever go-redis is waiting for on it, and is never replaced: a
// PubSub connects again by itself before it says that it lost a connection.
type subscription struct {
	ctx    context.Context
	hangUp context.CancelCauseFunc
	client *redis.Client
	pubsub *redis.PubSub

	listening atomic.Bool // receive is waiting for a message
	heard     atomic.Bool // receive was called since watch last looked
}

// newSubscription returns a subscription with the settings of a borrowed client.
// It connects when it subscribes, and lasts until ctx ends or it is closed.
func newSubscription(ctx context.Context, borrowed redis.UniversalClient) (*subscription, error) {
	anyNode := strconv.Itoa(rand.Int()) // in a cluster each node passes every message to all others
	node, err := Master(ctx, borrowed, anyNode)
	if err != nil {
		return nil, err
	}
	s := new(subscription)
	s.ctx, s.hangUp = context.WithCancelCause(ctx)
	o := single(node.Options(), s.dialOnce(node.Options().Dialer))
	o.ReadTimeout, o.PipelinePoolSize = node.Options().ReadTimeout, -1
	s.client = redis.NewClient(o)
	s.pubsub = s.client.PSubscribe(s.ctx)
	return s, nil
}

// dialOnce returns a dialer that refuses to make a second connection.
func (s *subscription) dialOnce(dial dialer) dialer {
	var dialed atomic.Bool
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, ErrLost
		}
		conn, err := dial(ctx, network, addr)
		if err == nil {
			context.AfterFunc(s.ctx, func() { _ = conn.Close() })
		}
		return conn, err
	}
}

// subscribe asks for patterns; receive returns a confirmation for each.
func (s *subscription) subscribe(patterns ...string) error {
	return s.pubsub.PSubscribe(s.ctx, patterns...)
}

// close ends the subscription.
func (s *subscription) close() {
	s.hangUp(nil)
	_ = s.pubsub.Close()
	_ = s.client.Close()
}

// receive waits for what comes next: a *redis.Subscription, a *redis.Message or
// a *redis.Pong. An error that is no answer of Redis means that the connection
// is broken.
func (s *subscription) receive() (any, error) {
	s.heard.Store(true)
	s.listening.Store(true)
	received, err := s.pubsub.Receive(s.ctx)
	s.listening.Store(false)
	if errors.Is(context.Cause(s.ctx), errSilent) {
		err = errSilent
	}
	return received, err
}

var errSilent = errors.New("silence, and no answer to a PING")

// watch hangs up if the server is silent and does not answer a PING either: a
// connection that is cut off somewhere on the way looks like one on which
// nothing happens. It returns when the subscription ends.
func (s *subscription) watch(silence time.Duration) {
	tick := time.NewTicker(silence)
	defer tick.Stop()
	for asked := false; ; {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		switch {
		case s.heard.Swap(false) || !s.listening.Load():
			asked = false
		case asked:
			s.hangUp(errSilent)
			return
		default:
			asked = true
			_ = s.pubsub.Ping(s.ctx) // receive sees a failure
		}
	}
}
