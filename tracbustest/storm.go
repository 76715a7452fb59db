package tracbustest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tracbus/tracbus"
)

// items is how many rows the writers share; and as many again those who join a transaction
// in one call, because they lock the resource after they have written.
const items = 4

// storm is writers of several processes that get in each other's way.
type storm struct {
	config   DatabaseConfig
	place    *place
	group    group
	seed     uint64
	consumer *logbook
	loader   *counter

	committed atomic.Int64 // transactions, as far as their writers know
	half      chan struct{}
	once      sync.Once

	mu       sync.Mutex
	attempts []attempt
}

// attempt is a transaction, and what its writer knows of it.
type attempt struct {
	token   string
	process int
	manner  manner
	tid     int64
	err     error // nil: committed
}

func (c DatabaseConfig) newStorm(p *place, g group) *storm {
	s := &storm{config: c, place: p, group: g, seed: rand.Uint64(), half: make(chan struct{})}
	s.consumer = &logbook{failing: map[string]bool{}}
	s.loader = &counter{place: p}
	for _, m := range g {
		tracbus.On(m.bus, tracbus.DurableConfig{FromOldest: true, LeaseFor: 2 * time.Second, Backoff: 5 * time.Millisecond}.Durable(consumerName), s.consumer.write)
	}
	return s
}

// blow has all writers write, and returns when they have ended.
func (s *storm) blow(ctx context.Context) {
	for i := range 2 * items {
		if _, err := s.place.admin.ExecContext(ctx, s.place.sql("INSERT INTO {item} (id, n) VALUES (?, 0)"), i+1); err != nil {
			s.note(attempt{manner: plainly, token: "the items", err: err})
			return
		}
	}
	var writers sync.WaitGroup
	for i := range s.group {
		for w := range s.config.Writers {
			writers.Go(func() { s.write(ctx, i, w) })
		}
	}
	ended := make(chan struct{})
	go func() { writers.Wait(); close(ended) }()
	select {
	case <-s.half:
	case <-ended:
	}
	tracbus.Listen(s.group[0].bus, tracbus.Everywhere, s.loader, s.loader.count) // while others write
	<-ended
}

// write is one writer.
func (s *storm) write(ctx context.Context, process, writer int) {
	random := rand.New(rand.NewPCG(s.seed, uint64(process*1000+writer)))
	for n := range s.config.Transactions {
		a := attempt{token: fmt.Sprintf("%d-%d-%d", process+1, writer+1, n+1), process: process, manner: s.pick(random)}
		for try := 1; ; try++ {
			a.tid, a.err = s.attempt(ctx, a, 1+random.Int64N(items))
			again := a.err != nil && a.manner != undoing && a.manner != leaving && a.manner != killing && errors.Is(a.err, tracbus.ErrNotCommitted)
			s.note(a)
			if !again || try == 5 || ctx.Err() != nil {
				break
			}
			a.token += "'"
		}
	}
}

func (s *storm) note(a attempt) {
	if a.err == nil && s.committed.Add(1) == int64(s.config.Processes*s.config.Writers*s.config.Transactions/4) {
		s.once.Do(func() { close(s.half) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = append(s.attempts, a)
}

// settle makes one change more, after which all others are decided, and waits until each
// process has received it.
func (s *storm) settle(ctx context.Context) error {
	a := attempt{token: "last", manner: finished}
	if a.tid, a.err = s.attempt(ctx, a, 1); a.err != nil {
		return a.err
	}
	s.note(a)
	for _, m := range s.group {
		if err := m.journal.Wait(ctx, a.tid); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}
