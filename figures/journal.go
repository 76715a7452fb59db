package figures

import (
	"strings"
	"time"

	"github.com/tracbus/tracbus"
)

// asked is a status with what came of asking for it.
type asked struct {
	tracbus.JournalStatus
	err error // of the database
	now time.Time
}

// info has what is no number as labels.
var info = []figure[asked]{
	gauge("journal.info", "Always 1; the journal's UUID, and the realms that this process knows.",
		func(asked) float64 { return 1 }, "uuid", "realms"),
}

// process is what this process knows, also while the database is away.
var process = []figure[asked]{
	gauge("journal.answered", "1 if the database answered what was asked for these figures; if not, those that it knows are missing.",
		func(a asked) float64 { return oneIf(a.err == nil) }),
}

// following is what a process knows that delivers: it is missing with WriteOnly.
var following = []figure[asked]{
	gauge("journal.position_tid", "Tid up to which this process has delivered to its listeners.",
		func(a asked) float64 { return float64(a.Position) }),
	gauge("journal.followed", "1 if this process follows the journal and can read it.",
		func(a asked) float64 { return oneIf(a.Running && a.Err == nil) }),
	seconds("journal.failing", "Time since this process could last read the journal, 0 if it can.",
		func(a asked) time.Duration { return since(a.Err != nil, a.ErrSince, a.now) }),
}

var journal = []figure[asked]{
	gauge("journal.head_tid", "Highest tid allocated, including by transactions still open or, on PostgreSQL, rolled back.",
		func(a asked) float64 { return float64(a.Head) }),
	gauge("journal.committed_tid", "Highest tid of a transaction that holds.",
		func(a asked) float64 { return float64(a.Committed) }),
	gauge("journal.pruned_tid", "Tid up to which changes are pruned.",
		func(a asked) float64 { return float64(a.PrunedTo) }),
	gauge("journal.blockers", "Open transactions that others wait for.",
		func(a asked) float64 { return float64(len(a.Blockers)) }),
	seconds("journal.blocked", "Age of the oldest open transaction that others wait for.",
		func(a asked) time.Duration {
			if len(a.Blockers) == 0 {
				return 0
			}
			return a.Blockers[0].Age
		}),
}

// captured is what a journal with Capture has.
var captured = []figure[asked]{
	gauge("capture.tables", "Tables all of whose changes are captured.",
		func(a asked) float64 { return float64(len(a.Capture.Captured)) }),
	gauge("capture.wrong", "What is missing, disabled or stale of what captures: what others write there reaches nobody.",
		func(a asked) float64 { return float64(len(a.Capture.Wrong)) }),
	gauge("capture.waiting", "Rows of the inbox that no change was made of yet.",
		func(a asked) float64 { return float64(a.Capture.Waiting) }),
	seconds("capture.failing", "Time since this process could last take in what others wrote, 0 if it can or if another does.",
		func(a asked) time.Duration { return since(a.Capture.Err != nil, a.Capture.ErrSince, a.now) }),
}

var consumer = []figure[tracbus.ConsumerStatus]{
	gauge("consumer.tid", "Tid of the last change done.",
		func(c tracbus.ConsumerStatus) float64 { return float64(c.TID) }, "consumer"),
	gauge("consumer.lag_changes", "Changes committed and not done.",
		func(c tracbus.ConsumerStatus) float64 { return float64(c.Lag) }, "consumer"),
	seconds("consumer.lag", "Age of the oldest change not done.",
		func(c tracbus.ConsumerStatus) time.Duration { return c.LagAge }, "consumer"),
	gauge("consumer.leased", "1 if a process holds the lease.",
		func(c tracbus.ConsumerStatus) float64 { return oneIf(c.Holder != "" && c.LeaseRemaining > 0) }, "consumer"),
	gauge("consumer.leased_here", "1 if this process holds the lease.",
		func(c tracbus.ConsumerStatus) float64 { return oneIf(c.HeldHere) }, "consumer"),
	gauge("consumer.lease_token", "Fencing token of the lease: it grows each time the lease is acquired.",
		func(c tracbus.ConsumerStatus) float64 { return float64(c.Token) }, "consumer"),
	seconds("consumer.lease_age", "Time since the holder acquired the lease.",
		func(c tracbus.ConsumerStatus) time.Duration { return c.LeaseAge }, "consumer"),
	seconds("consumer.failing", "Time since the listener began to fail, 0 if it succeeds.",
		func(c tracbus.ConsumerStatus) time.Duration {
			if c.Err == "" {
				return 0
			}
			return max(c.FailingFor, time.Microsecond) // above 0, however new it is
		}, "consumer"),
	gauge("consumer.dead_letters", "Changes that the listener failed on until its attempts were used up.",
		func(c tracbus.ConsumerStatus) float64 { return float64(c.DeadLetters) }, "consumer"),
}

// journal reads a status, with the error that it came with.
func (r *readings) journal(s tracbus.JournalStatus, err error, now time.Time) {
	a := asked{s, err, now}
	read(r, info, a, s.UUID, strings.Join(s.Realms, ","))
	read(r, process, a)
	if !s.WriteOnly {
		read(r, following, a)
	}
	if err != nil {
		return
	}
	read(r, journal, a)
	if c := s.Capture; len(c.Captured)+len(c.Wrong) > 0 || c.Waiting > 0 || c.Err != nil {
		read(r, captured, a)
	}
	for _, c := range s.Consumers {
		read(r, consumer, c, c.Name)
	}
}
