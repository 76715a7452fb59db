package tracbus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// told is one step of a loop over Events.
type told struct {
	event tracbus.Event
	err   error
}

func (s told) String() string {
	if s.err != nil {
		return "error: " + s.err.Error()
	}
	if e, ok := s.event.(tracbus.Resync); ok {
		return "resync: " + string(e.Reason)
	}
	return fmt.Sprintf("%s %s", s.event.Resource(), s.event.Kind())
}

// listening is a loop over Events in a goroutine, whose steps a test takes one
// by one: the loop's body waits until the test has taken the last.
type listening struct {
	t      testing.TB
	steps  chan told
	ended  chan struct{}
	cancel context.CancelFunc
}

func listen(t testing.TB, client redis.UniversalClient, config tracbus.SubscriberConfig, patterns ...string) *listening {
	t.Helper()
	if config.MaxBackoff == 0 {
		config.MaxBackoff = 20 * time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &listening{t: t, steps: make(chan told), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(l.ended)
		for e, err := range tracbus.NewSubscriber(client, config).Events(ctx, patterns...) {
			select {
			case l.steps <- told{e, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(l.stop)
	return l
}

// stop ends the loop and waits for it.
func (l *listening) stop() {
	l.cancel()
	select {
	case <-l.ended:
	case <-time.After(testkit.Patience):
		l.t.Errorf("the loop did not end within %v", testkit.Patience)
	}
}

func (l *listening) next() told {
	l.t.Helper()
	select {
	case s := <-l.steps:
		return s
	case <-time.After(testkit.Patience):
		l.t.Fatalf("the loop yielded nothing within %v", testkit.Patience)
		return told{}
	}
}

// resync wants a Resync next.
func (l *listening) resync(reason tracbus.ResyncReason) {
	l.t.Helper()
	s := l.next()
	e, ok := s.event.(tracbus.Resync)
	if s.err != nil || !ok || e.Reason != reason {
		l.t.Fatalf("step\n got %v\nwant resync: %s", s, reason)
	}
	assert.False(l.t, e.Time.IsZero())
}

// lost wants one ErrDisconnected next.
func (l *listening) lost() error {
	l.t.Helper()
	s := l.next()
	if !errors.Is(s.err, tracbus.ErrDisconnected) {
		l.t.Fatalf("step\n got %v\nwant an error that is %v", s, tracbus.ErrDisconnected)
	}
	return s.err
}

// hears publishes a change of a ticket, and wants it next.
func (l *listening) hears(client *redis.Client, id int64) {
	l.t.Helper()
	publish(l.t, client, fmt.Sprintf("trac.test.ticket.changed.%d", id),
		fmt.Sprintf(`{"id": %d, "new_values": {"a": "b"}, "old_values": {"a": "c"}, "author": "joe", "comment": ""}`, id))
	l.takes(id)
}

func (l *listening) takes(id int64) {
	l.t.Helper()
	s := l.next()
	e, ok := s.event.(tracbus.TicketChanged)
	if s.err != nil || !ok || e.ID != id {
		l.t.Fatalf("step\n got %v\nwant ticket %d changed", s, id)
	}
}

func publish(t testing.TB, client *redis.Client, channel, payload string) {
	t.Helper()
	require.NoError(t, client.Publish(context.Background(), channel, payload).Err())
}
