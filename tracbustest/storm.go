package tracbustest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tracbus/tracbus"
)

// items is how many rows the writers share.
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

// manner is how a transaction goes.
type manner string

const (
	plainly  manner = "committed"
	undoing  manner = "rolled back"
	holding  manner = "held open"
	killing  manner = "killed"
	joining  manner = "joined"
	leaving  manner = "joined, and rolled back"
	finished manner = "after all others"
)

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
	for i := range items {
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

// pick chooses a manner. An SQLite file has no sessions to kill.
func (s *storm) pick(random *rand.Rand) manner {
	switch n := random.IntN(100); {
	case n < 12:
		return undoing
	case n < 22:
		return holding
	case n < 32 && s.place.dialect != tracbus.SQLite:
		return killing
	case n < 42:
		return joining
	case n < 47:
		return leaving
	}
	return plainly
}

func (s *storm) note(a attempt) {
	if a.err == nil && s.committed.Add(1) == int64(s.config.Processes*s.config.Writers*s.config.Transactions/4) {
		s.once.Do(func() { close(s.half) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = append(s.attempts, a)
}

// errOnPurpose rolls a transaction back.
var errOnPurpose = errors.New("rolled back on purpose")

// attempt makes a transaction.
func (s *storm) attempt(ctx context.Context, a attempt, item int64) (tid int64, err error) {
	m := s.group[a.process]
	switch a.manner {
	case joining, leaving:
		return s.join(ctx, m, a, item)
	case holding:
		tx, err := m.journal.Begin(ctx)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err)
		}
		defer tx.Rollback()
		if err := errors.Join(tx.Prepare(tracbus.Actor{Author: m.name}, ""), s.change(ctx, tx, a, item)); err != nil {
			return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err)
		}
		s.hold(ctx)
		tid, err := tx.Commit(ctx)
		tx.Notify()
		return tid, s.cleared(ctx, err)
	}
	tid, err = m.journal.Update(ctx, tracbus.Actor{Author: m.name}, func(tx *tracbus.ModelTransaction) error {
		if err := s.change(ctx, tx, a, item); err != nil {
			return err
		}
		switch a.manner {
		case undoing:
			return errOnPurpose
		case killing:
			session, err := s.place.session(ctx, tx.SQL())
			if err != nil {
				return err
			}
			return s.place.kill(ctx, session)
		}
		return nil
	})
	return tid, s.cleared(ctx, err)
}

// cleared asks again what became of a commit whose answer was lost.
func (s *storm) cleared(ctx context.Context, err error) error {
	var unknown *tracbus.CommitUnknownError
	if errors.As(err, &unknown) {
		if _, outcome := unknown.Transaction.Outcome(ctx); outcome == nil || errors.Is(outcome, tracbus.ErrNotCommitted) {
			return outcome
		}
	}
	return err
}

// change counts up an item, and says so in the application's table and in the journal.
func (s *storm) change(ctx context.Context, tx *tracbus.ModelTransaction, a attempt, item int64) error {
	if err := tx.Lock(ctx, tracbus.TicketResource(item)); err != nil {
		return err
	}
	q := tx.SQL()
	var n int64
	if _, err := q.ExecContext(ctx, s.place.sql("UPDATE {item} SET n = n + 1 WHERE id = ?"), item); err != nil {
		return err
	}
	if err := q.QueryRowContext(ctx, s.place.sql("SELECT n FROM {item} WHERE id = ?"), item).Scan(&n); err != nil {
		return err
	}
	if _, err := q.ExecContext(ctx, s.place.sql("INSERT INTO {done} (token) VALUES (?)"), a.token); err != nil {
		return err
	}
	return tx.Record(ctx, tracbus.TicketChanged{
		Change: tracbus.Change{Comment: a.token}, ID: item,
		Values: tracbus.Fields{"n": number(n)}, Old: tracbus.Fields{"n": number(n - 1)},
	})
}

func number(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

// hold waits until two others have committed, or for a moment: they may be waiting for this one.
func (s *storm) hold(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	enough := s.committed.Load() + 2
	for waited := 0; s.committed.Load() < enough && waited < 50; waited++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// join makes a transaction that the application begins and commits.
func (s *storm) join(ctx context.Context, m *process, a attempt, item int64) (tid int64, err error) {
	failed := func(err error) (int64, error) { return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err) }
	conn, err := m.db.Conn(ctx)
	if err != nil {
		return failed(err)
	}
	defer conn.Close()
	begin := "BEGIN"
	if s.place.dialect == tracbus.SQLite {
		begin = "BEGIN IMMEDIATE"
	}
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		return failed(err)
	}
	rollback := func(err error) (int64, error) {
		_, failure := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return failed(errors.Join(err, failure))
	}
	tx, err := m.journal.Join(conn)
	if err == nil {
		err = tx.Prepare(tracbus.Actor{Author: m.name}, "")
	}
	if err == nil {
		err = s.change(ctx, tx, a, item)
	}
	if err == nil {
		tid, err = tx.Flush(ctx)
	}
	if err == nil && a.manner == leaving {
		err = errOnPurpose
	}
	if err != nil {
		return rollback(err)
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		if _, err := tx.Outcome(ctx); err != nil {
			return 0, err
		}
	}
	tx.Notify()
	return tid, nil
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
