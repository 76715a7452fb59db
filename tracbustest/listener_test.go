package tracbustest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"testing"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/trac/realms"
	"github.com/tracbus/tracbus/tracbustest"
)

// history is what happens to a ticket.
func history() []tracbus.Event {
	return []tracbus.Event{
		tracbus.TicketChanged{Change: who, ID: 17, Values: tracbus.Fields{"status": "open"}, Old: tracbus.Fields{"status": "new"}},
		tracbus.TicketChanged{Change: who, ID: 17, Values: tracbus.Fields{"status": "fixed"}, Old: tracbus.Fields{"status": "open"}},
		tracbus.TicketChanged{Change: who, ID: 17, Values: tracbus.Fields{"status": "closed"}, Old: tracbus.Fields{"status": "fixed"}},
	}
}

// index is a receiver that keeps one document a ticket, and the highest fencing token.
type index struct {
	mu    sync.Mutex
	docs  map[string]string
	token int64
}

func newIndex() *index { return &index{docs: map[string]string{}} }

func (x *index) state(context.Context) (any, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.docs), nil
}

// put is a listener that does all that is asked of it.
func (x *index) put(ctx context.Context, e tracbus.TicketChanged) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	lease, ok := tracbus.LeaseFrom(ctx)
	switch {
	case !ok:
		return errors.New("not called by a durable consumer")
	case ctx.Err() != nil:
		return ctx.Err()
	case lease.Token < x.token:
		return fmt.Errorf("token %d after %d", lease.Token, x.token)
	}
	x.token = lease.Token
	x.docs[e.Resource().ID] = fmt.Sprint(e.Values["status"], " ", e.Comment)
	return nil
}

// batches takes them in one call.
type batches func(context.Context, []tracbus.Event) error

func (f batches) HandleBatch(ctx context.Context, events []tracbus.Event) error {
	return f(ctx, events)
}

func TestDurable(t *testing.T) {
	testkit.NoLeaks(t)
	x := newIndex()
	tracbustest.DurableConfig{State: x.state}.Durable(t, x.put, history()...)
	y := newIndex()
	tracbustest.DurableConfig{State: y.state}.Durable(t, batches(func(ctx context.Context, events []tracbus.Event) error {
		for _, e := range events {
			if err := y.put(ctx, e.(tracbus.TicketChanged)); err != nil {
				return err
			}
		}
		return nil
	}), history()...)
	tracbustest.Durable(t, newIndex().put, history()...)
}

// Each spoiling of the listener is found by the case that is about it.
func TestDurableSeesFaults(t *testing.T) {
	for name, c := range map[string]struct {
		spoiled  func(x *index) func(context.Context, tracbus.TicketChanged) error
		unfenced bool
		want     string
	}{
		"it appends": {func(x *index) func(context.Context, tracbus.TicketChanged) error {
			return func(ctx context.Context, e tracbus.TicketChanged) error {
				before := x.docs["17"]
				if err := x.put(ctx, e); err != nil {
					return err
				}
				x.docs["17"] = before + x.docs["17"]
				return nil
			}
		}, true, "the same call twice"},
		"it does not compare tokens": {func(x *index) func(context.Context, tracbus.TicketChanged) error {
			return func(ctx context.Context, e tracbus.TicketChanged) error {
				x.token = 0
				return x.put(ctx, e)
			}
		}, false, "a late call with an old token"},
		"it says that it is done": {func(x *index) func(context.Context, tracbus.TicketChanged) error {
			return func(ctx context.Context, e tracbus.TicketChanged) error {
				if ctx.Err() != nil {
					return nil
				}
				return x.put(ctx, e)
			}
		}, false, "nil means that it is done"},
		"it fails": {func(*index) func(context.Context, tracbus.TicketChanged) error {
			return func(context.Context, tracbus.TicketChanged) error { return errors.New("no room") }
		}, false, "no room"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex()
			f := testkit.ExpectFailures(t)
			tracbustest.DurableConfig{State: x.state, Unfenced: c.unfenced}.Durable(f, c.spoiled(x), history()...)
			f.Want(c.want, "contract: ", "why: ", "seen: ")
		})
	}
	f := testkit.ExpectFailures(t)
	tracbustest.DurableConfig{State: newIndex().state}.Durable(f, newIndex().put, history()[:2]...)
	f.Want("expected 3 at least")
	f = testkit.ExpectFailures(t)
	tracbustest.DurableConfig{State: func(context.Context) (any, error) { return nil, errors.New("no answer") }}.Durable(f, newIndex().put, history()...)
	f.Want("State: no answer")
}

// cache is a listener of tickets that keeps all that is asked of it, also for a Resync.
type cache struct{ resync error }

func (cache) TicketCreated(context.Context, tracbus.TicketCreated) error { return nil }
func (cache) TicketChanged(context.Context, tracbus.TicketChanged) error { return nil }
func (cache) TicketDeleted(context.Context, tracbus.TicketDeleted) error { return nil }
func (c cache) Resync(context.Context, tracbus.Resync) error             { return c.resync }

// milestones is a listener of another realm.
type milestones struct{ changed *int }

func (milestones) MilestoneCreated(context.Context, realms.MilestoneCreated) error { return nil }
func (m milestones) MilestoneChanged(context.Context, realms.MilestoneChanged) error {
	*m.changed++
	return nil
}
func (milestones) MilestoneDeleted(context.Context, realms.MilestoneDeleted) error { return nil }

func TestListener(t *testing.T) {
	testkit.NoLeaks(t)
	tracbustest.Listener(t, cache{}, append(history(), tracbus.TicketCreated{ID: 1}, tracbus.TicketDeleted{ID: 1})...)
	tracbustest.Listener(t, func(context.Context, tracbus.Event) error { return nil }, history()...)
	changed := 0
	tracbustest.Listener(t, milestones{&changed}, realms.MilestoneChanged{Change: who, Milestone: realms.Milestone{Name: "1.0"}})
	if changed == 0 {
		t.Error("the method was not called")
	}
}

func TestListenerSeesFaults(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, c := range map[string]struct {
		listener any
		want     string
	}{
		"no use for tickets": {milestones{}, "no function or method for one of 3 events"},
		"no listener":        {17, "no function or method"},
		"an error":           {func(context.Context, tracbus.TicketChanged) error { return errors.New("no room") }, "no room"},
		"a panic on a text": {func(_ context.Context, e tracbus.TicketChanged) error {
			if e.Values["status"] == "null" {
				panic("null")
			}
			return nil
		}, "it does not panic"},
		"a panic on a null": {func(_ context.Context, e tracbus.TicketChanged) error {
			_ = e.Values["status"].(string)
			return nil
		}, "values that are null"},
		"Goexit": {func(_ context.Context, e tracbus.TicketChanged) error {
			if e.Author == "" {
				runtime.Goexit()
			}
			return nil
		}, "runtime.Goexit"},
		"it writes to the event": {func(_ context.Context, e tracbus.TicketChanged) error {
			e.Values["status"] = "seen"
			return nil
		}, "events are shared"},
		"a Resync that fails": {cache{errors.New("not now")}, "a Resync is accepted"},
		"it does not return": {func(ctx context.Context, e tracbus.TicketChanged) error {
			if ctx.Err() != nil {
				<-release
			}
			return nil
		}, "has not returned"},
	} {
		t.Run(name, func(t *testing.T) {
			f := testkit.ExpectFailures(t)
			tracbustest.Listener(f, c.listener, history()...)
			f.Want(c.want, "contract: ", "why: ", "seen: ")
		})
	}
	f := testkit.ExpectFailures(t)
	tracbustest.Listener(f, cache{}, tracbus.TicketCreated{})
	f.Want("ticket 0", "it takes events")
}
