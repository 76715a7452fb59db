package redisconn

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// subscription is one connection of a subscriber. A PubSub connects again by itself
// before it says that it lost a connection, but this one cannot.
type subscription struct {
	conn   *Conn
	pubsub *redis.PubSub

	// waiting is since when receive waits, in nanoseconds since 1970; 0 while it is
	// not called.
	waiting atomic.Int64
}

// newSubscription returns a subscription with the settings of the router's client.
// It lasts until ctx ends or it is closed.
func newSubscription(ctx context.Context, router *Router) (*subscription, error) {
	conn, err := router.Connect(ctx, AnyKey, Settings{subscribes: true})
	if err != nil {
		return nil, err
	}
	return &subscription{conn: conn, pubsub: conn.client.PSubscribe(conn.ctx)}, nil
}

// subscribe asks for patterns; receive returns a confirmation for each.
func (s *subscription) subscribe(patterns ...string) error {
	return s.conn.Why(s.pubsub.PSubscribe(s.conn.ctx, patterns...))
}

// close ends the subscription.
func (s *subscription) close() {
	s.conn.hangUp(nil)
	_ = s.pubsub.Close()
	s.conn.Close()
}

// receive waits for what comes next: a *redis.Subscription, a *redis.Message or
// a *redis.Pong. An error that is no answer of Redis means that the connection
// is broken.
func (s *subscription) receive() (any, error) {
	s.conn.wire.got.Store(0)
	s.waiting.Store(time.Now().UnixNano())
	received, err := s.pubsub.Receive(s.conn.ctx)
	s.waiting.Store(0)
	return received, s.conn.Why(err)
}

// ping asks for a sign of life. A failure is seen by receive.
func (s *subscription) ping() { _ = s.pubsub.Ping(s.conn.ctx) }

var errSilent = errors.New("silence, and no answer to a PING")

// watch hangs up if the server is silent and does not answer a PING either: a
// connection that is cut off somewhere on the way looks like one on which
// nothing happens. A message counts when it is there as a whole; one that is on its
// way has the time that the slowest network takes. It returns when the subscription
// ends.
func (s *subscription) watch(silence time.Duration) {
	timer := time.NewTimer(silence)
	defer timer.Stop()
	for asked := int64(0); ; {
		select {
		case <-s.conn.ctx.Done():
			return
		case <-timer.C:
		}
		since := s.waiting.Load()
		waited := time.Duration(time.Now().UnixNano() - since)
		patience := 2*silence + inBytes(s.conn.wire.got.Load())
		switch {
		case since == 0:
			timer.Reset(silence)
		case waited < silence:
			timer.Reset(silence - waited)
		case since != asked:
			asked = since
			s.ping()
			timer.Reset(max(0, patience-time.Duration(time.Now().UnixNano()-since)))
		case waited < patience:
			timer.Reset(patience - waited)
		default:
			s.conn.hangUp(errSilent)
			return
		}
	}
}
