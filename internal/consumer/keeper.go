package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/checkpoint"
	"github.com/tracbus/tracbus/internal/question"
	"github.com/tracbus/tracbus/internal/store"
)

// Keeper has what the consumers of one process share, so that many cost little more
// than one: it renews their leases and stores their cursors together (renewer.go),
// looks for free leases (contest.go), and reads the journal (reader.go). All of them
// use no more connections at once than [newSlots] says, and one more that renews.
type Keeper[E any] struct {
	journal Journal[E]
	slots   slots
	kick    chan struct{} // holds one token: the journal has something new
	renewer *Renewer
	contest *contest
	reader  *reader[E]

	base        context.Context // of what is asked for many
	floors      question.Desk[struct{}, int64]
	places      question.Desk[store.Place, bool]
	befores     question.Desk[int64, store.Place]
	checkpoints question.Desk[store.Place, checkpoint.List]

	mu       sync.Mutex
	memories map[string]*Memory // of consumers whose leases are held
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
		k.reader.reads.Wait()
		k.floors.Wait()
		k.places.Wait()
		k.befores.Wait()
		k.checkpoints.Wait()
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

// Kick says that a lease may be free.
func (k *Keeper[E]) Kick() { signal(k.contest.kick) }

// Reading returns a number for [Keeper.Offer]: that of the moment before a read.
func (k *Keeper[E]) Reading() int { return k.reader.reading() }

// Offer gives the consumers what was read of the journal after a place, which is just
// what they would read there themselves. reading is the number of the moment before:
// if a consumer has noticed since that the history went back, it is not taken. Those
// who wait at another place have the journal read for them.
func (k *Keeper[E]) Offer(from store.Place, b store.Batch, reading int) {
	k.mu.Lock()
	nobody := len(k.memories) == 0
	k.mu.Unlock()
	k.renewer.hear(b)
	if !nobody && k.reader.offer(from, b, reading) {
		signal(k.kick)
	}
}

// Forget says that what was read before may be of a history that is gone.
func (k *Keeper[E]) Forget() { k.reader.forget() }

// floor returns the tid up to which the journal is pruned.
func (k *Keeper[E]) floor(ctx context.Context) (int64, error) {
	return k.floors.Ask(ctx, k.base, struct{}{}, func(ctx context.Context) (floor int64, err error) {
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
	return k.places.Ask(ctx, k.base, p, func(ctx context.Context) (has bool, err error) {
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
	return k.befores.Ask(ctx, k.base, tid, func(ctx context.Context) (p store.Place, err error) {
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
	c, err := k.checkpoints.Ask(ctx, k.base, p, func(ctx context.Context) (c checkpoint.List, err error) {
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

// listen has a consumer take what is offered, and called for its dead letters, until it
// is done.
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
