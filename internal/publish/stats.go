package publish

import (
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

// Stats counts messages since the publisher was made. Every message that it was
// given ends in one of Published, Rejected, Dropped and Unacknowledged.
type Stats struct {
	Published      uint64 // Redis has acknowledged them
	NoReceivers    uint64 // of these, nobody was subscribed
	Rejected       uint64 // could not be encoded, the channel was forbidden, or Redis hung up on them
	Dropped        uint64 // not sent
	Unacknowledged uint64 // sent, and given up before an answer came
	Resent         uint64 // sent again, because the answer was lost

	Waiting      int       // held at the moment
	Disconnected bool      // Redis did not answer the last try, or takes nothing now
	Since        time.Time // of the last change of Disconnected; zero if there was none
	LastError    error     // of the last message or try that failed; nil if none did
}

// recorder keeps the figures, and logs what an operator has to know.
type recorder struct {
	client redis.UniversalClient
	logger *slog.Logger

	mu       sync.Mutex
	stats    Stats
	rejected map[string]bool // sorts of which a rejected message was logged
	warned   bool            // that the server may be another one unnoticed
}

// explain makes an error of Redis fit to be kept, logged and returned.
func (r *recorder) explain(err error) error { return redisconn.Explain(err, r.client) }

func (r *recorder) get() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

func (r *recorder) count(add func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add(&r.stats)
}

func (r *recorder) dropped(messages int) {
	r.count(func(s *Stats) { s.Dropped += uint64(messages) })
}

// watched warns, once, if it is not watched where the connection should lead to.
func (r *recorder) watched(err error) {
	if err == nil || r.warned {
		return
	}
	r.warned = true
	r.logger.Warn("Redis may be elsewhere unnoticed: the Redis user may not use INFO", "err", r.explain(err))
}

// here notes whether Redis has answered, and logs when that changes.
func (r *recorder) here(err error) {
	away, was := err != nil, false
	r.count(func(s *Stats) {
		was = s.Disconnected
		if away {
			s.LastError = err
		}
		if away != was {
			s.Disconnected, s.Since = away, time.Now()
		}
	})
	switch {
	case away && !was:
		r.logger.Warn("Redis is away: messages wait", "err", err)
	case was && !away:
		r.logger.Info("Redis is back: messages go out")
	}
}
