package bench_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asaskevich/EventBus"
	"github.com/cskr/pubsub/v2"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testkit"
)

// ticket is a change of a ticket with all fifteen fields.
func ticket(id int64) tracbus.TicketChanged {
	at := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	return tracbus.TicketChanged{
		Change: tracbus.Change{Env: "bench", Author: "joe", Time: at, Comment: comment},
		ID:     id,
		Values: tracbus.Fields{
			"summary": "The pages of the manual do not print", "reporter": "jane", "owner": "joe", "type": "defect",
			"status": "assigned", "priority": "major", "milestone": "milestone2", "component": "manual", "version": "1.0",
			"resolution": "", "keywords": "print css", "cc": "jane@example.org", "time": at, "changetime": at,
			"description": strings.Repeat("It is empty. ", 8),
		},
		Old: tracbus.Fields{"milestone": "milestone1", "owner": "", "status": "new"},
		New: tracbus.Fields{"milestone": "milestone2", "owner": "joe", "status": "assigned"},
	}
}

// burst is how many events are told before it is waited for those who hear them.
const burst = 2048

// notifying measures what it costs to tell listeners in the process.
func notifying(t *testing.T) *contest.Contest {
	return &contest.Contest{
		About: "One goroutine tells listeners of a ticket's change with fifteen fields, and waits until all have been called. The time is " +
			"divided by the number of events: queueing, waking and calling all listeners.",
		At: []int{1, 10, 100}, AtWhat: "listeners", Units: []string{"ns", "allocations"},
		Ways: []contest.Way{tracbusNotify(t), channels(t), eventBus(), cskr(t)},
		Notes: []string{
			"Channels and cskr/pubsub hand the same maps to all, and have neither an order between topics nor errors; " +
				"asaskevich/EventBus calls listeners in the caller's goroutine, by reflection.",
		},
	}
}

// told measures bursts. done waits until all have been heard.
func told(at int, long time.Duration, tell func(e *tracbus.TicketChanged) error, done func() error) ([]float64, error) {
	events := make([]tracbus.TicketChanged, 64)
	for i := range events {
		events[i] = ticket(int64(i + 1))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, n := time.Now(), 0
	for n == 0 || time.Since(began) < long {
		for range burst {
			if err := tell(&events[n%len(events)]); err != nil {
				return nil, err
			}
			n++
		}
		if err := done(); err != nil {
			return nil, err
		}
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return []float64{float64(took.Nanoseconds()) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)}, nil
}

func tracbusNotify(t *testing.T) contest.Way {
	buses := map[int]*tracbus.Bus{}
	return contest.Way{Name: "Notify", Run: func(ctx context.Context, at int, long time.Duration) ([]float64, error) {
		bus := buses[at]
		if bus == nil {
			bus = tracbus.BusConfig{QueueSize: 2 * burst, Logger: testkit.Quiet}.NewBus("bench")
			for range at {
				tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error { return nil })
			}
			buses[at] = bus
			t.Cleanup(func() { require.NoError(t, bus.Close(context.Background())) })
		}
		figures, err := told(at, long, func(e *tracbus.TicketChanged) error { return bus.Notify(*e) }, func() error { return bus.Wait(ctx) })
		for _, s := range bus.Status() {
			require.Zero(t, s.Dropped)
		}
		return figures, err
	}}
}

// channels is what a programmer writes: a channel for each listener.
func channels(t *testing.T) contest.Way {
	type ears struct {
		all   []chan tracbus.TicketChanged
		heard sync.WaitGroup
	}
	byCount := map[int]*ears{}
	return contest.Way{Name: "channels", Run: func(_ context.Context, at int, long time.Duration) ([]float64, error) {
		e := byCount[at]
		if e == nil {
			e = &ears{}
			byCount[at] = e
			for range at {
				c := make(chan tracbus.TicketChanged, 2*burst)
				e.all = append(e.all, c)
				go func() {
					for range c {
						e.heard.Done()
					}
				}()
				t.Cleanup(func() { close(c) })
			}
		}
		return told(at, long, func(event *tracbus.TicketChanged) error {
			e.heard.Add(at)
			for _, c := range e.all {
				c <- *event
			}
			return nil
		}, func() error { e.heard.Wait(); return nil })
	}}
}

func eventBus() contest.Way {
	return contest.Way{Name: "asaskevich/EventBus", Run: func(_ context.Context, at int, long time.Duration) ([]float64, error) {
		bus := EventBus.New()
		for range at {
			if err := bus.Subscribe("ticket", func(tracbus.TicketChanged) {}); err != nil {
				return nil, err
			}
		}
		return told(at, long, func(event *tracbus.TicketChanged) error { bus.Publish("ticket", *event); return nil }, func() error { bus.WaitAsync(); return nil })
	}}
}

func cskr(t *testing.T) contest.Way {
	type ears struct {
		bus   *pubsub.PubSub[string, tracbus.TicketChanged]
		heard sync.WaitGroup
	}
	byCount := map[int]*ears{}
	return contest.Way{Name: "cskr/pubsub", Run: func(_ context.Context, at int, long time.Duration) ([]float64, error) {
		e := byCount[at]
		if e == nil {
			e = &ears{bus: pubsub.New[string, tracbus.TicketChanged](2 * burst)}
			byCount[at] = e
			for range at {
				c := e.bus.Sub("ticket")
				go func() {
					for range c {
						e.heard.Done()
					}
				}()
			}
			t.Cleanup(e.bus.Shutdown)
		}
		return told(at, long, func(event *tracbus.TicketChanged) error {
			e.heard.Add(at)
			e.bus.Pub(*event, "ticket")
			return nil
		}, func() error { e.heard.Wait(); return nil })
	}}
}
