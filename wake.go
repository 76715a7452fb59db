package tracbus

import (
	"context"
	"errors"
	"iter"
	"time"

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
	} else if j.config.WakeRedis != nil {
		j.caller = redisconn.NewCaller(j.config.WakeRedis)
		config.Wake = &follow.Wake{Through: "Redis", Call: j.callOthers, Hear: j.hearOthers}
	}
	j.follower, err = follow.New(ctx, config, journalSink{j})
	return err
}

// wakePattern is what all journals' processes subscribe to: Redis compares an
// ACL user's pattern with the rules as text, so that it has to be one for all.
// Subscribers to the channels of a tracker do not see them.
const wakePattern = "tracbus:*"

// wakePing is how long it may be silent before it is asked whether Redis is there: what
// is not heard costs a poll.
const wakePing = 3 * time.Second

// wakeChannel is the channel on which the processes of this journal wake each other.
func (j *Journal) wakeChannel() string { return "tracbus:" + j.store.UUID() + ":wake" }

// callOthers wakes the other processes, and says whether anybody heard it.
func (j *Journal) callOthers(ctx context.Context) (heard bool, err error) {
	heard, err = j.caller.Call(ctx, j.wakeChannel(), j.origin)
	return heard, redisconn.Explain(err, j.config.WakeRedis)
}

// hearOthers yields the calls of other processes, and whether they are heard.
func (j *Journal) hearOthers(ctx context.Context) iter.Seq[follow.Heard] {
	return func(yield func(follow.Heard) bool) {
		s := NewSubscriber(j.config.WakeRedis, SubscriberConfig{NoPrefix: true, PingAfter: wakePing})
		for _, err := range s.events(ctx, []string{wakePattern}, false) {
			heard := follow.Heard{Err: err}
			var call *DecodeError // it is no event of a tracker
			if errors.As(err, &call) {
				if call.Channel != j.wakeChannel() || call.Payload == j.origin { // this process needs no waking
					continue
				}
				heard = follow.Heard{Call: true}
			}
			if !yield(heard) {
				return
			}
		}
	}
}

// signal leaves a token, unless one is there.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
