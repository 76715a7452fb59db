package tracbus

import (
	"context"
	"sync"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/store"
)

// durable is what a registration has under the scope [Durable]: its relay, which
// belongs to [Journal.Run], orders calls, and its invoker, which belongs to the
// bus, makes them.
type durable struct {
	name     string
	config   DurableConfig
	listener delivery.Listener[Event]
	chained  chained // nil unless the listener keeps its own place
	skimmer  skimmer // nil unless the listener may have no use for some fields
	invoker  *delivery.Invoker
	kick     chan struct{} // holds one token: there may be something to do

	mu      sync.Mutex  // guards what follows
	start   store.Place // where the consumer begins if the journal does not know it
	begun   bool        // start is known
	rewound error       // why a Resync is to be told before the next change

	past past
}

func newDurable(ctx context.Context, scope onceScope, l any, d delivery.Listener[Event]) *durable {
	chained, _ := l.(chained)
	skimmer, _ := l.(skimmer)
	return &durable{
		name: scope.name, config: scope.config, listener: d, chained: chained, skimmer: skimmer,
		invoker: delivery.NewInvoker(ctx), kick: make(chan struct{}, 1),
	}
}

// past is what the relay remembers of a name, which alone uses it, from one Run
// of the journal to the next: what of it is gone when it looks again, the
// listener was told all the same.
type past struct {
	known bool              // the journal has, or had, the name
	top   sight             // the latest that the row is known to have stood at
	way   store.Checkpoints // where the listener has come by, in this process
	last  store.Place       // the last of which it was told, if only in part
	owed  *delivery.Gap     // to be told before the next change
}

// begin notes from where on a name that is new has to be told.
func (d *durable) begin(at store.Place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.begun {
		d.start, d.begun = at, true
	}
	signal(d.kick)
}

// missed notes that history went back, or was pruned, under this process.
func (d *durable) missed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rewound = err
	signal(d.kick)
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
