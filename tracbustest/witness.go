package tracbustest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tracbus/tracbus"
)

// counter is a listener whose state is built from tables: how often items were changed.
type counter struct {
	place *place

	mu     sync.Mutex
	n      int64
	loaded int
}

// Load implements [tracbus.LoadListener].
func (c *counter) Load(ctx context.Context, s *tracbus.Snapshot) error {
	var n int64
	if err := s.QueryRowContext(ctx, c.place.sql("SELECT sum(n) FROM {item}")).Scan(&n); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n, c.loaded = n, c.loaded+1
	return nil
}

// count is called with every change.
func (c *counter) count(context.Context, tracbus.TicketChanged) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return nil
}

// state returns what the listener knows, and how often it was loaded.
func (c *counter) state() (n int64, loaded int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, c.loaded
}

// logbook is what a durable consumer does: it writes down each call, in whichever process.
type logbook struct {
	mu      sync.Mutex
	calls   []call
	failing map[string]bool // tokens on which a call has failed
	wrong   []string
}

// spot is where a change is in the journal.
type spot struct {
	tid int64
	seq int
}

func (s spot) String() string { return fmt.Sprintf("%d.%d", s.tid, s.seq) }

// before says whether s comes before another.
func (s spot) before(other spot) bool {
	return s.tid < other.tid || s.tid == other.tid && s.seq < other.seq
}

// call is one call of a durable consumer that succeeded.
type call struct {
	token string // of the change
	spot  spot
	lease int64
}

// write is called by the process that has the lease. The first call for some changes fails.
func (l *logbook) write(ctx context.Context, e tracbus.TicketChanged) error {
	lease, ok := tracbus.LeaseFrom(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || lease.Consumer != consumerName {
		l.wrong = append(l.wrong, fmt.Sprintf("the context of a call has the lease %+v", lease))
	}
	if e.TID%7 == 0 && !l.failing[e.Comment] {
		l.failing[e.Comment] = true
		return errOnPurpose
	}
	l.calls = append(l.calls, call{e.Comment, spot{e.TID, e.Seq}, lease.Token})
	return nil
}

// handOver ends the process that has the lease, so that another one takes over, and says
// what is wrong with the calls.
func (l *logbook) handOver(ctx context.Context, s *storm) error {
	holder := -1
	for i, m := range s.group {
		st, err := m.journal.Status(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		for _, c := range st.Consumers {
			if c.Name == consumerName && c.HeldHere {
				holder = i
			}
		}
	}
	if holder >= 0 && len(s.group) > 1 {
		if err := s.group[holder].end(ctx); err != nil {
			return err
		}
	}
	other := (holder + 1) % len(s.group)
	a := attempt{token: "after the handover", manner: finished, process: other}
	if _, err := s.attempt(ctx, a, 1); err != nil {
		return err
	}
	if err := s.group[other].bus.Wait(ctx); err != nil { // also for the consumer
		return err
	}
	var spots []spot
	for e, err := range s.group[other].journal.Since(ctx, 0) {
		if err != nil {
			return err
		}
		if change, ok := e.(tracbus.TicketChanged); ok {
			spots = append(spots, spot{change.TID, change.Seq})
		}
	}
	return l.verdict(spots)
}

// verdict says what is wrong with the calls, given the changes in their order.
func (l *logbook) verdict(spots []spot) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, w := range l.wrong {
		errs = append(errs, errors.New(w))
	}
	next, lease := 0, int64(0)
	for _, c := range l.calls {
		switch {
		case next < len(spots) && c.spot == spots[next]:
			next++
		case next > 0 && c.spot == spots[next-1]: // the last call again
		default:
			return errors.Join(append(errs, fmt.Errorf("after %d changes, the consumer was called with tid %s (%s)", next, c.spot, c.token))...)
		}
		if c.lease < lease {
			errs = append(errs, fmt.Errorf("tid %s was handled under the fencing token %d, after %d", c.spot, c.lease, lease))
		}
		lease = max(lease, c.lease)
	}
	if next < len(spots) {
		errs = append(errs, fmt.Errorf("the consumer has handled %d of %d changes; the next one is tid %s", next, len(spots), spots[next]))
	}
	return errors.Join(errs...)
}
