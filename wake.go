package tracbus

import (
	"context"
	"errors"
	"time"
)

// wakePattern is what all journals' processes subscribe to: Redis compares an
// ACL user's pattern with the rules as text, so that it has to be one for all.
// Subscribers to the channels of a tracker do not see them.
const wakePattern = "tracbus:*"

// wakeChannel is where the processes of this journal wake each other.
func (j *Journal) wakeChannel() string { return "tracbus:" + j.store.UUID() + ":wake" }

// hear kicks the follower whenever another process calls, and when the
// subscription stands after it did not: a call may have been lost.
func (j *Journal) hear(ctx context.Context) {
	s := NewSubscriber(j.config.WakeRedis, SubscriberConfig{NoPrefix: true})
	deaf := false
	for _, err := range s.Events(ctx, wakePattern) {
		var call *DecodeError // it is no event of a tracker
		switch {
		case errors.As(err, &call):
			if call.Channel != j.wakeChannel() {
				continue
			}
		case err != nil:
			deaf = true
			j.config.Logger.Warn("other processes are not heard through Redis: this one polls", "poll", j.config.PollInterval, "err", err)
		case deaf:
			deaf = false
			j.config.Logger.Info("other processes are heard through Redis again")
		}
		signal(j.kick)
	}
}

// call wakes the other processes after commits of this one, many in one call. A
// call that is lost costs them the time to their next poll.
func (j *Journal) call(ctx context.Context) {
	away := false
	for {
		select {
		case <-j.announce:
		case <-ctx.Done():
			return
		}
		cmd := j.config.WakeRedis.Publish(ctx, j.wakeChannel(), "")
		if err := cmd.Err(); ctx.Err() == nil && (err != nil) != away {
			away = err != nil
			if away {
				j.config.Logger.Warn("other processes cannot be woken through Redis: they poll", "poll", j.config.PollInterval, "err", err)
			} else {
				j.config.Logger.Info("other processes are woken through Redis again")
			}
		}
		if away && !sleep(ctx, 100*time.Millisecond) {
			return
		}
	}
}
