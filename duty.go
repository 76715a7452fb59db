package tracbus

import (
	"context"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/delivery"
)

// durable is what a registration has under the scope [Durable]: the runner of its
// consumer, which belongs to [Journal.Run], orders calls, and its invoker, which
// belongs to the bus, makes them.
type durable struct {
	name     string // of the consumer
	config   DurableConfig
	listener delivery.Listener[Event]
	sink     consumer.Sink[Event] // nil unless the listener keeps its own offset
	skimmer  skimmer              // nil unless the listener may have no use for some fields
	invoker  *delivery.Invoker
	memory   *consumer.Memory
}

func newDurable(ctx context.Context, scope durableScope, l any, d delivery.Listener[Event]) *durable {
	r := &durable{name: scope.name, config: scope.config, listener: d, invoker: delivery.NewInvoker(ctx), memory: consumer.NewMemory()}
	if k, ok := l.(offsetKeeper); ok {
		r.sink = sinkFunc(k.sendSpan)
	}
	r.skimmer, _ = l.(skimmer)
	return r
}

// over says whether the registration is closed, and its last call has returned.
func (d *durable) over() bool {
	select {
	case <-d.invoker.Done():
		return true
	default:
		return false
	}
}
