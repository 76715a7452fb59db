package tracbus

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// JournalStatus is the state of a journal, for operators.
type JournalStatus struct {
	UUID   string   // names the journal
	Env    string   // of the bus
	Realms []string // that this process knows

	// Head is the highest tid that was taken, including by transactions that are open or, on
	// PostgreSQL, were rolled back. Committed is the highest of a transaction that holds: what is
	// after Position up to there is going to be delivered.
	Head, Committed int64

	Position int64 // the tid up to which this process has delivered to its bus; with WriteOnly, where it began
	PrunedTo int64 // the tid up to which changes are pruned

	// Blockers are the transactions that have taken a tid and not ended, the oldest
	// first. What comes after them is not delivered. MySQL and MariaDB tell Age, as of
	// the last tenth of a second, to users with the right PROCESS, and to others the
	// time since the last statement; a tid of nobody, which this process may not close,
	// is one of them. SQLite names none.
	Blockers []Blocker

	// Consumers are the durable consumers, in the order of their names.
	Consumers []ConsumerStatus

	// Capture is what [JournalConfig.Capture] does. It is zero without.
	Capture CaptureStatus

	// WriteOnly says that the journal has [JournalConfig.WriteOnly]: Run does not run, and is
	// not missed.
	WriteOnly bool

	// Running says that Run is running. Err is why it cannot read the journal, and
	// ErrSince since when: it has had no answer that began later. Both are zero if it
	// can. A connection that died in silence is noticed after 15 s.
	Running  bool
	Err      error
	ErrSince time.Time
}

// Blocker is a transaction that others wait for.
type Blocker struct {
	Session string        // how the database names it
	Age     time.Duration // of the transaction
}

// Status asks the database for the state of the journal. If that fails, as within an
// Update that has the pool's only connection, the error comes with what this process
// knows by itself: UUID, Env, Realms, Position, WriteOnly, Running,
// Err and ErrSince.
func (j *Journal) Status(ctx context.Context) (JournalStatus, error) {
	s, _, err := j.blockers(ctx)
	if err == nil {
		s.Consumers, err = j.consumerStatus(ctx)
	}
	if err == nil {
		s.Capture, err = j.captureStatus(ctx)
	}
	if err != nil {
		return s, fmt.Errorf("journal status: %w", err)
	}
	return s, nil
}

// blockers is Status without the consumers: to count what a slow one has left
// takes long. heldBack says that a transaction keeps this process from reading on.
func (j *Journal) blockers(ctx context.Context) (s JournalStatus, heldBack bool, err error) {
	st, err := j.store.Status(ctx)
	j.mu.Lock()
	running := j.running != nil
	j.mu.Unlock()
	f := j.follower.Status()
	s = JournalStatus{
		UUID: j.store.UUID(), Env: j.bus.env, Realms: j.realmNames(),
		Head: max(st.Head, f.Place.TID), Committed: max(st.Committed, f.Place.TID), Position: f.Place.TID, PrunedTo: st.PrunedTo,
		WriteOnly: j.config.WriteOnly, Running: running, Err: f.Err,
	}
	if s.Err != nil {
		s.ErrSince = f.Since
	}
	for _, h := range st.Blockers {
		s.Blockers = append(s.Blockers, Blocker(h))
	}
	return s, st.HeldBack(f.Place.TID), err
}

// heldLong is how long a transaction may hold others back before the log says
// so.
const heldLong = 5 * time.Second

// heldBackWatch reports to the log when a transaction holds others back.
type heldBackWatch struct {
	looked time.Time
	since  time.Time // when the place was first seen to be held back; zero if it is not
	place  int64
	logged bool
}

// watch looks now and then whether the follower does not move although there is
// something after its place.
func (h *heldBackWatch) watch(ctx context.Context, j *Journal) {
	now := time.Now()
	if now.Sub(h.looked) < heldLong/2 {
		return
	}
	h.looked = now
	s, held, err := j.blockers(ctx)
	if err != nil {
		return // following will say so
	}
	switch {
	case !held || h.place != s.Position:
		if h.logged {
			j.config.Logger.Info("changes are not held back any more", "tid", s.Position)
		}
		*h = heldBackWatch{looked: now, place: s.Position}
		if held {
			h.since = now
		}
	case h.since.IsZero():
		h.since = now
	case !h.logged && now.Sub(h.since) >= heldLong:
		h.logged = true
		oldest := Blocker{Session: "unknown", Age: now.Sub(h.since)}
		if len(s.Blockers) > 0 {
			oldest = s.Blockers[0]
		}
		j.config.Logger.Warn("changes are held back by a transaction that does not end", "tid", s.Position, "head", s.Head,
			slog.String("who", oldest.Session), "age", oldest.Age.Round(time.Second))
	}
}

// Totals returns what was done for the listeners of each name and scope since the bus was made,
// also by registrations that were closed since. Waiting may fall, and the others never do. It is
// of one moment, and in the order in which the first of each was made or closed.
func (b *Bus) Totals() []ListenerStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := slices.Clone(b.ended)
	for _, r := range b.registrations {
		all = all.with(r.Status())
	}
	return all
}

// totals are statuses of different names and scopes.
type totals []ListenerStatus

// with adds a status to that of its name and scope.
func (t totals) with(s ListenerStatus) totals {
	i := slices.IndexFunc(t, func(sum ListenerStatus) bool {
		return sum.Listener == s.Listener && sum.Scope.String() == s.Scope.String()
	})
	if i < 0 {
		return append(t, s)
	}
	sum := &t[i]
	sum.Waiting += s.Waiting
	sum.Delivered += s.Delivered
	sum.Failed += s.Failed
	sum.Retried += s.Retried
	sum.Dropped += s.Dropped
	if s.LastError != nil {
		sum.LastError = s.LastError
	}
	return t
}
