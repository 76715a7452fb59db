package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/checkpoint"
	"github.com/tracbus/tracbus/internal/store"
)

// Keeper has what the consumers of one process share, so that many cost little more
// than one: it renews their leases and stores their cursors together (renewer.go),
// looks for free leases (contest.go), and reads the journal (reader.go). All of them
// use no more connections at once than [newSlots] says, and one more that renews.
type Keeper[E any] struct {
	journal Journal[E]
	slots   slots
	kick    chan struct{} // holds one token: the journal may have something new
	renewer *Renewer
	contest *contest
	reader  *reader[E]

	base        context.Context // of what is asked for many
	floors      questions[struct{}, int64]
	places      questions[store.Place, bool]
	befores     questions[int64, store.Place]
	checkpoints questions[store.Place, checkpoint.List]

	mu       sync.Mutex
	memories map[string]*Memory // of consumers that have dead letters redelivered
}

// NewKeeper returns the keeper of a process, for a pool of at most so many
// connections; 0 means any number. holder is how rows name the process; see
// [HolderName]. It works after [Keeper.Start].
func NewKeeper[E any](j Journal[E], holder string, connections int) *Keeper[E] {
	s := newSlots(connections)
	return &Keeper[E]{
		journal: j, slots: s, kick: make(chan struct{}, 1), renewer: newRenewer(j.Tables, s), contest: newContest(j.Tables, holder, s),
		reader:   &reader[E]{journal: j, slots: s, waiting: map[chan struct{}]store.Place{}},
		memories: map[string]*Memory{},
	}
}

// Start has the keeper work, in goroutines of its own, until stop is called, which
// waits for them. Runners begin after Start and end before stop.
func (k *Keeper[E]) Start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	k.base, k.reader.base = ctx, ctx
	k.reader.forget()
	var parts sync.WaitGroup
	parts.Go(func() { k.renewer.Run(ctx) })
	parts.Go(func() { k.contest.run(ctx) })
	parts.Go(func() { k.callForDeadLetters(ctx) })
	parts.Go(func() { k.look(ctx) })
	return func() {
		cancel()
		parts.Wait()
		k.reader.reads.going.Wait()
		k.floors.going.Wait()
		k.places.going.Wait()
		k.befores.going.Wait()
		k.checkpoints.going.Wait()
	}
}

// look looks for all who wait whether the journal has something new.
func (k *Keeper[E]) look(ctx context.Context) {
	tick := time.NewTicker(k.journal.Poll)
	defer tick.Stop()
	for {
		select {
		case <-k.kick:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		k.reader.look(ctx)
	}
}

// Kick says that the journal may have something new, or that a lease may be free. A nil
// keeper has no consumers.
func (k *Keeper[E]) Kick() {
	if k == nil {
		return
	}
	signal(k.kick)
	signal(k.contest.kick)
}

// floor returns the tid up to which the journal is pruned.
func (k *Keeper[E]) floor(ctx context.Context) (int64, error) {
	return k.floors.ask(ctx, k.base, struct{}{}, func(ctx context.Context) (floor int64, err error) {
		err = k.slots.use(ctx, statementLimit, func(ctx context.Context) (err error) {
			floor, err = k.journal.Store.PrunedTo(ctx, k.journal.DB)
			return err
		})
		return floor, err
	})
}

// has says whether the journal has a place, or begins there, if it is pruned up to
// floor.
func (k *Keeper[E]) has(ctx context.Context, p store.Place, floor int64) (bool, error) {
	if p.TID == floor {
		return true, nil
	}
	return k.places.ask(ctx, k.base, p, func(ctx context.Context) (has bool, err error) {
		err = k.slots.use(ctx, statementLimit, func(ctx context.Context) (err error) {
			has, err = k.journal.Store.Has(ctx, k.journal.DB, p)
			return err
		})
		return has, err
	})
}

// before returns the last place before a tid that the journal has, or where it
// begins.
func (k *Keeper[E]) before(ctx context.Context, tid int64) (store.Place, error) {
	return k.befores.ask(ctx, k.base, tid, func(ctx context.Context) (p store.Place, err error) {
		err = k.slots.use(ctx, statementLimit, func(ctx context.Context) (err error) {
			if p, err = k.journal.Store.Before(ctx, k.journal.DB, tid-1); err == nil && p.TID == 0 {
				p.TID, err = k.journal.Store.PrunedTo(ctx, k.journal.DB)
			}
			return err
		})
		return p, err
	})
}

// begin returns checkpoints that begin at a place.
func (k *Keeper[E]) begin(ctx context.Context, p store.Place) (checkpoint.List, error) {
	c, err := k.checkpoints.ask(ctx, k.base, p, func(ctx context.Context) (c checkpoint.List, err error) {
		err = k.slots.use(ctx, statementLimit, func(ctx context.Context) error { return c.Begin(ctx, k.journal.Store, k.journal.DB, p) })
		return c, err
	})
	return c.Clone(), err
}

// callForDeadLetters has each consumer look that has dead letters to be redelivered.
func (k *Keeper[E]) callForDeadLetters(ctx context.Context) {
	for store.Sleep(ctx, redeliverEvery) {
		k.mu.Lock()
		nobody := len(k.memories) == 0
		k.mu.Unlock()
		if nobody {
			continue
		}
		var names []string
		err := k.slots.use(ctx, statementLimit, func(ctx context.Context) (err error) {
			names, err = k.journal.Tables.Redelivering(ctx)
			return err
		})
		if err != nil {
			continue // whoever reads the journal will say so
		}
		k.mu.Lock()
		for _, name := range names {
			if m := k.memories[name]; m != nil {
				m.redeliver.Store(true)
				signal(m.kick)
			}
		}
		k.mu.Unlock()
	}
}

// listen has a consumer called for its dead letters until it is done.
func (k *Keeper[E]) listen(name string, m *Memory) (done func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.memories[name] = m
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.memories, name)
	}
}
