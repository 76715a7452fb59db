package figures

import (
	"strconv"
	"time"

	"github.com/tracbus/tracbus"
)

var listener = []figure[tracbus.ListenerStatus]{
	gauge("listener.waiting", "Events not delivered yet.",
		func(l tracbus.ListenerStatus) float64 { return float64(l.Waiting) }, "listener", "scope"),
	counter("listener.delivered", "Events delivered, whether the listener failed on them or not.",
		func(l tracbus.ListenerStatus) uint64 { return l.Delivered }, "listener", "scope"),
	counter("listener.failed", "Of these, given up after failures.",
		func(l tracbus.ListenerStatus) uint64 { return l.Failed }, "listener", "scope"),
	counter("listener.retried", "Calls made again after a failure.",
		func(l tracbus.ListenerStatus) uint64 { return l.Retried }, "listener", "scope"),
	counter("listener.dropped", "Events never delivered: too many waited, or the bus was closed.",
		func(l tracbus.ListenerStatus) uint64 { return l.Dropped }, "listener", "scope"),
}

// listeners reads what was done for listeners of each name and scope.
func (r *readings) listeners(all []tracbus.ListenerStatus) {
	for _, l := range all {
		read(r, listener, l, l.Listener, l.Scope.String())
	}
}

// published is what a publisher says at a time.
type published struct {
	tracbus.PublisherStats
	now time.Time
}

var publisher = []figure[published]{
	counter("publisher.published", "Messages that Redis has acknowledged.",
		func(p published) uint64 { return p.Published }, "publisher"),
	counter("publisher.no_receivers", "Of these, nobody was subscribed.",
		func(p published) uint64 { return p.NoReceivers }, "publisher"),
	counter("publisher.rejected", "Messages that could not be encoded, or that Redis refused.",
		func(p published) uint64 { return p.Rejected }, "publisher"),
	counter("publisher.dropped", "Messages not sent: too many waited, or the bus was closed.",
		func(p published) uint64 { return p.Dropped }, "publisher"),
	counter("publisher.unacknowledged", "Messages sent before the bus was closed, without an answer.",
		func(p published) uint64 { return p.Unacknowledged }, "publisher"),
	counter("publisher.resent", "Messages sent again, because the answer was lost.",
		func(p published) uint64 { return p.Resent }, "publisher"),
	gauge("publisher.waiting", "Messages that the publisher holds, without those in the bus's queue.",
		func(p published) float64 { return float64(p.Waiting) }, "publisher"),
	gauge("publisher.connected", "1 if Redis answered the last try.",
		func(p published) float64 { return oneIf(!p.Disconnected) }, "publisher"),
	seconds("publisher.away", "Time since Redis went away, 0 if it is there.",
		func(p published) time.Duration { return since(p.Disconnected, p.Since, p.now) }, "publisher"),
}

// publishers numbers publishers from 1.
func (r *readings) publishers(all []tracbus.PublisherStats, now time.Time) {
	for i, p := range all {
		read(r, publisher, published{p, now}, strconv.Itoa(i+1))
	}
}
