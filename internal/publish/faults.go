package publish

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/publish/pipeline"
	"github.com/tracbus/tracbus/internal/publish/script"
	"github.com/tracbus/tracbus/internal/redisconn"
)

// What an error of Redis leads to, in the middle of a batch. Under the scopes
// Primary and Everywhere events go through a pipeline, under Durable through the
// script. The failures in brackets are those of [redisconn.FailureOf]. "Away" means
// that it is in the log once, that Stats say Disconnected until Redis takes something,
// and that it is tried again after a pause of MaxBackoff at most.
//
//	what happens               pipeline                            script
//	-------------------------  ----------------------------------  ----------------------------------
//	an event cannot be         it is rejected; the next are sent   what is before it is published; an
//	encoded, or its message                                        error names it, and it blocks what
//	has more than 512 MiB                                          is after it until that is mended
//	NOPERM on a channel        it is rejected; the next were       the same; Redis remembers what was
//	[Forbidden]                published all the same              before it
//	NOPERM on EVALSHA, EVAL,   (NOPERM on PUBLISH rejects all)     nothing is published; the consumer
//	a key; WRONGTYPE;                                              logs the error, and repeats the span
//	CROSSSLOT [Refused]                                            until that is mended
//	OOM, MISCONF, NOREPLICAS,  away: it and all after it are sent  away: nothing is published, because
//	BUSY, NOAUTH [Refused]     again, in order                     the script's first write is refused
//	LOADING, READONLY,         the same, where the client would    the same, where the client would
//	MASTERDOWN, CLUSTERDOWN    connect now                         connect now
//	[Misplaced]
//	MOVED [Misplaced]          does not happen: PUBLISH has no     followed at once; without a client
//	                           key                                 for a cluster: away
//	ASK, TRYAGAIN              do not happen                       followed; waited for 1.5 s. Then
//	[Misplaced]                                                    away
//	NOSCRIPT, SCRIPT FLUSH     –                                   sent again immediately, with its text;
//	                                                               without EVAL after a SCRIPT LOAD
//	nobody hears, at a         away: sent again from the first     (READONLY)
//	replica                    that nobody heard
//	a message is too long:     sent again; after 3 times, one by   an error that names it, if it has
//	Redis closes the           one; rejected if it ends 5 new      1 MiB or more; it blocks
//	connection [HungUp]        connections and has 64 KiB or more
//	the connection breaks,     away: what was not answered is      sent again at once over a new one, if
//	CLIENT KILL [HungUp], the  sent again, after the old           it had carried calls before; else
//	server is elsewhere now    connection was killed               away. A repetition publishes only
//	[Left]                                                         what is missing
//	no answer: a black hole,   the same. Never rejected because    away
//	a server that stands       of silence
//	[Silent]
//	an idle connection was     noticed before anything is sent     sent again at once over a new one
//	closed by a time-out
//	garbage, an answer beyond  as if the connection broke          as if the connection broke
//	all bounds [HungUp]
//	no connection: nobody      away: sent again                    away
//	there [Unreachable],
//	WRONGPASS, NOAUTH,
//	maxclients, certificates,
//	Sentinels that do not know
//	ctx ends                   Unacknowledged if it may have been  an error; not away, unless it was
//	                           published, otherwise Dropped        its deadline
//	a state that somebody      –                                   nothing is published; the consumer
//	else wrote to, an answer                                       logs the error, and repeats the span
//	of another script                                              until that is mended
//	another offset, FLUSHALL   –                                   continues there if it is inside
//	                                                               the span; otherwise a Mismatch
//	another generation         –                                   a Mismatch: only who holds the
//	                                                               lease goes on in it
//	somebody else's entry in   –                                   an error says whose stream it is,
//	the stream                                                     and how to go on; it blocks
//
// An error of the script is returned to the consumer, which repeats the span
// after a pause until it succeeds (consumer/recover.go). No change is lost or
// skipped: what comes after it waits, and Publisher.checkScope refuses a scope
// with MaxAttempts, so that none becomes a dead letter.

// What Redis closes the connection on, instead of answering, would block all that
// is after it. After maxHangUps in a row messages are sent one by one, and after
// maxHangUpsAlone one is rejected. One smaller than minRejected never is: Redis
// takes whatever is that small (no limit of its can be set below 1 MB), so that
// the network is to blame, which will be mended.
const (
	maxHangUps      = 3
	maxHangUpsAlone = 5
	minRejected     = 64 << 10
)

// hangUps finds the message on which Redis closes the connection.
type hangUps struct {
	row   int  // how many in a row
	alone bool // messages are sent one by one
}

// blame takes what became of a round trip, and says whether its first message is
// to blame and must be rejected.
func (h *hangUps) blame(hungUp bool, trip []pipeline.Message) bool {
	if hungUp {
		h.row++
	} else {
		h.row = 0
	}
	switch {
	case !h.alone && h.row == maxHangUps:
		h.alone, h.row = true, 0
	case h.alone && h.row >= maxHangUpsAlone && len(trip[0].Channel)+len(trip[0].Payload) >= minRejected:
		h.row = 0
		return true
	}
	return false
}

// cannotServe begins answers that say that a server can do nothing now, whatever it
// is asked to. The others are about what was asked.
var cannotServe = []string{
	"LOADING ", "MASTERDOWN ", "CLUSTERDOWN ", "READONLY ", "OOM ", "MISCONF ", "NOREPLICAS ",
	"BUSY ", "TRYAGAIN ", "MOVED ", "ASK ", "NOAUTH ",
}

// isAway says whether an error of the script's call means that Redis is away: it could
// not be asked, or takes nothing now.
func isAway(err error) bool {
	return err != nil && !unreadable(err) && (!redisconn.IsReply(err) || redisconn.IsReply(err, cannotServe...) || errors.As(err, new(*redisconn.ConnectError)))
}

// unreadable says whether Redis answered with what the script never does.
func unreadable(err error) bool {
	_, is := errors.AsType[*script.UnreadableError](err)
	return is
}

// stopped says why Redis refused the message of an event in the middle of a call.
func (s *scripted[E]) stopped(e E, state string, err error) error {
	err = s.recorder.explain(refusal(err.Error()))
	if strings.Contains(err.Error(), "equal or smaller") {
		err = fmt.Errorf("%w: somebody else appended to %q, which must belong to this journal and consumer alone; deleting %q makes it go on after that",
			err, s.config.StreamKey, state)
	}
	return s.named(e, err)
}

// refusal is an answer of Redis to a command of the script.
type refusal string

func (r refusal) Error() string { return string(r) }

// RedisError implements redis.Error.
func (refusal) RedisError() {}

// minHangUp is the smallest limit at which Redis can be configured to hang up instead
// of answering: proto-max-bulk-len is 1 MiB or more.
const minHangUp = 1 << 20

// failed says what an error of a call means to the consumer.
func (s *scripted[E]) failed(r *request[E], err error) error {
	err = s.recorder.explain(err)
	switch {
	case unreadable(err):
		return err
	case redisconn.FailureOf(err) == redisconn.HungUp && r.longest >= minHangUp:
		return s.named(r.events[0], fmt.Errorf("a message of %d bytes, on which Redis hung up: expected no more than its proto-max-bulk-len: %w", r.longest, err))
	case isAway(err):
		return &consumer.Away{Err: err, Pause: s.config.MaxBackoff}
	}
	return err
}

// named says which event an error is of.
func (s *scripted[E]) named(e E, err error) error {
	tx, seq := s.codec.Place(e)
	return fmt.Errorf("tid %d, seq %d on %s: %w", tx.TID, seq, s.codec.Name(e), err)
}
