package fault_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// leaseFor is how long a process keeps its lease that has lost its database.
const leaseFor = 600 * time.Millisecond

// durable has each fault happen to a consumer, from the acquiring of its lease to its
// release: the cursor is moved, a change becomes a dead letter, and the lease is
// renewed.
func durable(t *testing.T, s *testdatabase.Server) {
	l := &deliveries{}
	b := newBench(t, s, true, func(bus *tracbus.Bus) {
		tracbus.On(bus, tracbus.DurableConfig{LeaseFor: leaseFor, Backoff: time.Millisecond, MaxAttempts: 2}.Durable("log"), l.handle)
	})
	b.connector.heard = true // else the row of the consumer may be locked until then
	texts := b.step(l, fault{name: "no fault"}, 0)
	b.step(l, fault{name: "panic"}, 0)
	b.step(l, fault{name: "Goexit"}, 0)
	pick := sample(t, 6)
	for _, f := range faults {
		for at, text := range texts {
			if f.fits(s.Dialect, text) && pick() {
				b.step(l, f, at+1)
			}
		}
	}
	t.Logf("durable step: %d statements, %d cases", len(texts), b.done)
	b.faulty.Follow()
	b.told()
}

// step has a fault happen in the life of a lease, and returns the statements of that
// life.
func (b *bench) step(l *deliveries, f fault, at int) (texts []string) {
	b.t.Helper()
	b.done++
	p := &plan{fault: f, at: at, begins: func(query string) bool {
		return strings.Contains(query, "journal_consumer") || strings.Contains(query, "journal_dead_letter")
	}}
	p.arm()
	l.begin(f.name)
	ended := make(chan error, 1)
	run := func() {
		ctx := p.with(context.Background())
		go func() { ended <- b.faulty.Run(ctx) }()
	}
	run()
	want := []string{fmt.Sprintf("other %d, a step with %s at statement %d", b.done, f.name, at), "other bad", "other good"}
	b.other.Say(b.t, want[0], 1)
	b.other.Say(b.t, want[1], 2)
	last := b.other.Say(b.t, want[2], 3)
	b.bounded(p, "the consumer", func() {
		var at time.Time // when it was done
		for ; ; time.Sleep(5 * time.Millisecond) {
			select {
			case err := <-ended: // its context ended
				b.ended(p, err)
				if p.isGivenUp() {
					return
				}
				run()
				continue
			default:
			}
			if !b.handled(last) {
				continue
			}
			if at.IsZero() {
				at = time.Now()
			}
			if time.Since(at) > leaseFor/2 { // it was renewed once more, with nothing to move
				break
			}
		}
		p.end()
		b.ended(p, <-ended)
	})
	b.connector.heal()
	b.settle(p)
	l.judge(b, p, want)
	var dead []tracbus.DeadLetter
	for d, err := range b.other.DeadLetters(testkit.Within(b.t), "log") {
		require.NoError(b.t, err)
		dead = append(dead, d)
	}
	if len(dead) != 1 {
		b.report(p, "expected one dead letter, found %v", dead)
	}
	if len(dead) > 0 {
		_, err := b.other.DropDeadLetters(testkit.Within(b.t), "log", dead...)
		require.NoError(b.t, err)
	}
	texts, _ = p.statements()
	return texts
}

// handled says whether the consumer has handled all up to a tid.
func (b *bench) handled(tid int64) bool {
	var at int64
	err := b.direct.QueryRowContext(context.Background(), "SELECT CASE WHEN partial = 1 THEN tid - 1 ELSE tid END FROM journal_consumer").Scan(&at)
	return err == nil && at >= tid
}

// deliveries is the listener of a consumer, which fails on what is bad.
type deliveries struct {
	mu    sync.Mutex
	told  []string
	leave string
}

func (l *deliveries) begin(leave string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told, l.leave = nil, leave
}

func (l *deliveries) handle(_ context.Context, e tracbus.Event) error {
	l.mu.Lock()
	l.told = append(l.told, e.About().Comment)
	leave := l.leave
	l.leave = ""
	l.mu.Unlock()
	leaveBy(leave)
	if e.About().Comment == "other bad" {
		return errors.New("it is bad")
	}
	return nil
}

// judge checks that every change was delivered, in order, and that none came again but
// the one whose cursor could not be stored.
func (l *deliveries) judge(b *bench, p *plan, want []string) {
	b.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	newest, again := -1, 0
	for _, comment := range l.told {
		at := -1
		for i, w := range want {
			if w == comment {
				at = i
			}
		}
		switch {
		case at < newest:
			b.report(p, "delivered again, after later ones: %q", comment)
		case at == newest:
			again++
		case at > newest+1:
			b.report(p, "delivered %q, and nothing before it", comment)
		}
		newest = max(newest, at)
	}
	if newest < len(want)-1 {
		b.report(p, "delivered was %q of %q", l.told, want)
	}
	if again > 6 { // what is bad comes twice, and a lease may be lost to a crowded machine
		b.report(p, "delivered again and again: %q", l.told)
	}
}

// sample returns what picks one case of so many, others with each run, or all if the
// variable says so.
func sample(t *testing.T, every int) (pick func() bool) {
	if os.Getenv(everywhereEnv) != "" {
		every = 1
	}
	n := rand.IntN(every)
	t.Logf("one case of %d, counted from %d", every, n)
	return func() bool {
		n++
		return n%every == 0
	}
}
