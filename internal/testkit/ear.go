package testkit

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Ear is a raw subscriber to everything, connected to the server directly.
type Ear struct {
	pubsub     *redis.PubSub
	subscribed atomic.Int64 // how often
	Heard      atomic.Int64 // how many messages
	done       chan struct{}

	mu       sync.Mutex
	messages []*redis.Message
}

// NewEar subscribes, and unsubscribes when the test ends. The caller keeps the
// client open until then.
func NewEar(t testing.TB, client *redis.Client) *Ear {
	t.Helper()
	e := &Ear{pubsub: client.PSubscribe(context.Background(), "*"), done: make(chan struct{})}
	go e.listen()
	t.Cleanup(func() {
		_ = e.pubsub.Close()
		<-e.done
	})
	Until(t, "the raw subscriber subscribes", func() bool { return e.subscribed.Load() > 0 })
	return e
}

func (e *Ear) listen() {
	defer close(e.done)
	for {
		received, err := e.pubsub.Receive(context.Background())
		if err == nil {
			e.take(received)
		} else if err.Error() == "redis: client is closed" {
			return
		}
	}
}

func (e *Ear) take(received any) {
	switch m := received.(type) {
	case *redis.Subscription:
		e.subscribed.Add(1)
	case *redis.Message:
		e.mu.Lock()
		e.messages = append(e.messages, m)
		e.mu.Unlock()
		e.Heard.Add(1)
	}
}

// All returns the messages received so far, in order.
func (e *Ear) All() []*redis.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.messages
}
