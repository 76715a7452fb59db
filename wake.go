package tracbus

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/follow"
	"github.com/tracbus/tracbus/internal/redisconn"
)

// newFollower makes the journal's follower, which begins with what is committed from
// now on.
func (j *Journal) newFollower(ctx context.Context) (err error) {
	config := follow.Config{
		Store: j.store, DB: j.db, Origin: j.origin, Realms: j.realmNames(),
		Poll: j.config.PollInterval, Batch: j.config.BatchSize, Logger: j.config.Logger, WriteOnly: j.config.WriteOnly,
	}
	if j.config.Waker != nil {
		config.Wake = follow.WakeBy(j.config.Waker, j.wakeChannel(), j.origin, j.store.Limits().Answer)
	}
	j.follower, err = follow.New(ctx, config, journalSink{j})
	return err
}

// wakeChannel is the channel on which the processes of this journal wake each other.
func (j *Journal) wakeChannel() string { return "tracbus:" + j.store.UUID() + ":wake" }

// RedisWaker is a [Waker]: PUBLISH and PSUBSCRIBE of Redis, pub/sub of which everybody on that
// server hears. Each call of Hear has a connection of its own, and all calls share another one; they
// go to where the client would connect now. It needs no Close: nothing is left when the calls of Hear
// have returned. While nobody hears, each call makes a connection.
type RedisWaker struct {
	client redis.UniversalClient
	caller *redisconn.Caller

	mu   sync.Mutex
	ears int // calls of Hear that go on
}

// NewRedisWaker returns a waker over a client, which is borrowed and never closed.
func NewRedisWaker(client redis.UniversalClient) *RedisWaker {
	return &RedisWaker{client: client, caller: redisconn.NewCaller(client)}
}

// Call implements [Waker].
func (w *RedisWaker) Call(ctx context.Context, channel, text string) error {
	heard, err := w.caller.Call(ctx, channel, text)
	w.count(0)
	if err == nil && !heard {
		err = ErrUnheard
	}
	return redisconn.Explain(err, w.client)
}

// wakePattern is what all journals' processes subscribe to: Redis compares an
// ACL user's pattern with the rules as text, so that it has to be one for all.
// Subscribers to the channels of a tracker do not see them.
const wakePattern = "tracbus:*"

// wakePing is how long it may be silent before it is asked whether Redis is there: what
// is not heard costs a poll.
const wakePing = 3 * time.Second

// Hear implements [Waker], and goes on after errors. Channels begin with "tracbus:".
func (w *RedisWaker) Hear(ctx context.Context, channel string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		w.count(1)
		defer w.count(-1)
		s := NewSubscriber(w.client, SubscriberConfig{NoPrefix: true, PingAfter: wakePing})
		for _, err := range s.events(ctx, []string{wakePattern}, false) {
			text := ""
			var call *DecodeError // it is no event of a tracker
			if errors.As(err, &call) {
				if call.Channel != channel || call.Payload == "" { // which means something else
					continue
				}
				text, err = call.Payload, nil
			}
			if !yield(text, err) {
				return
			}
		}
	}
}

// count notes that calls of Hear have begun or ended. Nobody who calls keeps a connection after the
// last one: neither a journal that has ended, nor one that delivers nothing.
func (w *RedisWaker) count(more int) {
	w.mu.Lock()
	w.ears += more
	last := w.ears == 0
	w.mu.Unlock()
	if last {
		w.caller.Close()
	}
}

// signal leaves a token, unless one is there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
