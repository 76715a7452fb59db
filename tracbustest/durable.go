package tracbustest

import (
	"context"
	"fmt"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/tracbustest/internal/compare"
)

// DurableConfig says what [Durable] can see of what a listener does. The zero value sees
// what the listener returns, and no more.
type DurableConfig struct {
	// State returns what the receiver has, to which the listener writes: the documents of an
	// index, or the mails that arrived, each Message-ID once. Zero means that it is not
	// looked at.
	State func(ctx context.Context) (any, error)

	// Unfenced says that the receiver cannot compare fencing tokens, so that a process that
	// was held up in a call may finish it late. Zero means that it does.
	Unfenced bool
}

// Durable checks a listener that is to be registered with the scope [tracbus.Durable], as
// [Listener] does, and what is asked of it in addition: it is called as after a crash, and as
// by a process that has lost the lease. Give it three events at least, of one resource, in an
// order in which they could happen, and DurableConfig.State.
func Durable(t T, listener any, events ...tracbus.Event) {
	t.Helper()
	DurableConfig{}.Durable(t, listener, events...)
}

var (
	promiseAgain  = promise{"the same call twice", "A call that is made again, by the same process or by the next holder of the lease, has no effect beyond the first one.", "After a crash, the last call is made again: what it does would be done twice."}
	promiseLate   = promise{"a late call with an old token", "A call under an older fencing token than the receiver has seen changes nothing: LeaseFrom has the token.", "A process that was suspended in a call finishes it after another has taken over, and overwrites what is newer."}
	promiseHonest = promise{"nil means that it is done", "A call whose context has ended returns an error, unless all of its effect is there.", "If a call returns nil, the cursor moves on, and the change is never delivered again."}
)

// Durable is the function [Durable] with settings of its own.
func (c DurableConfig) Durable(t T, listener any, events ...tracbus.Event) {
	t.Helper()
	d := durableCheck{listenerCheck{report{t, fmt.Sprintf("durable listener %T", listener)}, listener}, c}
	if events = d.taken(events); len(events) == 0 {
		return
	}
	if c.State != nil && len(events) < 3 {
		d.broken(promiseKnown, "it has use for %d events, expected 3 at least", len(events))
		return
	}
	for i, e := range events { // as a journal has them
		about := e.About()
		about.TID, about.CommitID = int64(i+1), fmt.Sprintf("commit %d", i+1)
		events[i] = e.WithChange(about)
	}
	d.story(events)
	d.resyncs()
	d.ends(d.under(9), events)
	d.survives(d.under(9), events)
}

type durableCheck struct {
	listenerCheck
	config DurableConfig
}

// under returns the context of a call under a fencing token.
func (d durableCheck) under(token int64) context.Context {
	return consumer.WithLease(d.t.Context(), consumer.LeaseInfo{Consumer: "tracbustest", JournalUUID: "a journal's UUID", Token: token})
}

// state returns what the receiver has.
func (d durableCheck) state() any {
	d.t.Helper()
	if d.config.State == nil {
		return nil
	}
	state, err := d.config.State(d.t.Context())
	if err != nil {
		d.broken(promiseAgain, "State: %v", err)
	}
	return state
}

// story makes the calls that two processes would, of which the first loses the lease.
func (d durableCheck) story(events []tracbus.Event) {
	d.t.Helper()
	last := len(events) - 1
	for _, e := range events[:last] {
		if !d.handled(d.under(5), "", e) {
			return
		}
	}
	before := d.state()
	for token := int64(5); token <= 6; token++ { // the same process again, and the next holder
		what := fmt.Sprintf(", called again under the token %d", token)
		if last == 0 || !d.handled(d.under(token), what, events[last-1]) {
			break
		}
		if diff := compare.Difference(before, d.state()); diff != "" {
			d.broken(promiseAgain, "%s%s: in the receiver's state, %s", called(events[last-1]), what, diff)
			before = d.state()
		}
	}
	d.ended(events[last])
	d.late(events)
}

// ended calls the listener with a context that has ended, and then as it should be.
func (d durableCheck) ended(e tracbus.Event) {
	d.t.Helper()
	over, cancel := context.WithCancel(d.under(6))
	cancel()
	_, err := d.returns(over, "which had ended", e)
	half := d.state()
	if !d.handled(d.under(6), ", called again", e) {
		return
	}
	if diff := compare.Difference(half, d.state()); err == nil && diff != "" {
		d.broken(promiseHonest, "%s: the call returned nil, and when it was made again, in the receiver's state, %s", called(e), diff)
	}
}

// late makes calls under the first lease, when the second one is known to the receiver.
func (d durableCheck) late(events []tracbus.Event) {
	d.t.Helper()
	if d.config.Unfenced {
		return
	}
	before := d.state()
	for _, e := range events {
		_, _ = d.call(d.under(5), e) // an error is as good as nothing
		if diff := compare.Difference(before, d.state()); diff != "" {
			d.broken(promiseLate, "%s, called late under the token 5, after 6: in the receiver's state, %s", called(e), diff)
			return
		}
	}
}
