package fault_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// followed has each fault happen to whoever follows the journal. The caller's context
// is that of Run: when it ends, Run returns, and another goes on where it stopped.
func followed(t *testing.T, s *testdatabase.Server) {
	b := newBench(t, s, true, nil)
	texts := b.follow(fault{name: "no fault"}, 0)
	pick := sample(t, 2)
	for _, f := range faults {
		for at := 1; at <= len(texts)+1; at++ { // polls come in between
			if f.fits(s.Dialect, texts[min(at, len(texts))-1]) && pick() {
				b.follow(f, at)
			}
		}
	}
	t.Logf("follow: %d statements, %d cases", len(texts), b.done)
	b.faulty.Follow()
	b.told()
}

// follow has a fault happen while a process reads what another commits, and returns
// the statements that this took.
func (b *bench) follow(f fault, at int) (texts []string) {
	b.t.Helper()
	b.done++
	p := &plan{fault: f, at: at}
	run := func(ctx context.Context) (ended chan error) {
		ended = make(chan error, 1)
		go func() { ended <- b.faulty.Run(ctx) }()
		return ended
	}
	wait := func(tid int64, ended chan error) {
		reached := make(chan error, 1)
		waiting, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() { reached <- b.reached(waiting, tid) }()
		for {
			select {
			case err := <-reached:
				if err != nil {
					b.report(p, "wait: %v", err)
				}
				p.end()
				b.ended(p, <-ended)
				return
			case err := <-ended:
				b.ended(p, err)
				if p.isGivenUp() {
					return
				}
				ended = run(p.with(context.Background()))
			}
		}
	}
	ended := run(p.with(context.Background()))
	require.NoError(b.t, b.reached(testkit.Within(b.t), b.other.Say(b.t, fmt.Sprintf("other %d", b.done), 1)))
	p.arm()
	what := fmt.Sprintf("other %d, followed with %s at statement %d", b.done, f.name, at)
	looked := b.look(p)
	b.other.Say(b.t, what, 1, 2)
	b.other.Create(b.t, fmt.Sprintf("Page%d", b.done))
	last := b.other.Say(b.t, what+" again", 3)
	looked()
	b.bounded(p, "Run", func() { wait(last, ended) })
	b.connector.heal()
	b.settle(p)
	texts, _ = p.statements()
	return texts
}

// reached waits for a tid for as long as a busy machine needs. Wait itself gives up when
// nothing could be read for the limit on locks, which is short here.
func (b *bench) reached(ctx context.Context, tid int64) (err error) {
	for {
		if err = b.faulty.Wait(ctx, tid); err == nil || !limit.Sleep(ctx, 50*time.Millisecond) {
			return err
		}
	}
}

// ended checks what Run returned.
func (b *bench) ended(p *plan, err error) {
	b.t.Helper()
	if err != nil {
		b.report(p, "Run returned %v", err)
	}
}

// loaded has each fault happen to the loading of a LoadListener. The caller's context
// is that of the listener, which is taken off the bus.
func loaded(t *testing.T, s *testdatabase.Server) {
	b := newBench(t, s, false, nil)
	texts := b.load(fault{name: "no fault"}, 0, "")
	for _, f := range faults {
		for at, text := range texts {
			if f.fits(s.Dialect, text) {
				b.load(f, at+1, "")
			}
		}
	}
	for _, leave := range []string{"panic", "Goexit"} {
		b.load(fault{name: leave}, 0, leave)
	}
	t.Logf("load: %d statements, %d cases", len(texts), b.done)
	b.told()
}

// load has a fault happen while a listener is loaded, and returns the statements that
// this took. leave says how its first call ends.
func (b *bench) load(f fault, at int, leave string) (texts []string) {
	b.t.Helper()
	b.done++
	l := &names{leave: leave}
	p := &plan{fault: f, at: at, begins: func(query string) bool { return query == snapshots[b.server.Dialect] }}
	p.arm()
	b.add(fmt.Sprintf("other %d, before", b.done))
	b.connector.intend(p)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	var r *tracbus.Registration
	left := false
	registered := make(chan struct{})
	p.cancel = func() {
		<-registered
		left = true
		_ = r.Close(gone)
	}
	b.bounded(p, "the listener", func() {
		r = b.faulty.Bus.Ticket(tracbus.Everywhere, l)
		close(registered)
		last := b.add(fmt.Sprintf("other %d, loaded with %s at statement %d", b.done, f.name, at))
		if err := b.reached(testkit.Within(b.t), last); err != nil {
			b.report(p, "wait: %v", err)
		}
		if err := r.Wait(context.Background()); err != nil && !left {
			b.report(p, "wait: %v", err)
		}
		b.connector.intend(nil)
		if err := r.Close(context.Background()); err != nil && !left {
			b.report(p, "close: %v", err)
		}
	})
	b.connector.heal()
	b.settle(p)
	if !left {
		l.compare(b, p)
	}
	texts, _ = p.statements()
	return texts
}

// snapshots begin what a LoadListener is loaded from.
var snapshots = map[string]string{
	"sqlite":     "BEGIN",
	"postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
	"mysql":      "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
}

// add commits a row, and a change that says so, in the other process.
func (b *bench) add(name string) (tid int64) {
	b.t.Helper()
	ctx := testkit.Within(b.t)
	tid, err := b.other.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
		if _, err := tx.SQL().ExecContext(ctx, desk.Marks(tx.Dialect(), "INSERT INTO seen VALUES (?)"), name); err != nil {
			return err
		}
		return tx.Record(ctx, desk.Remark(1, name))
	})
	require.NoError(b.t, err)
	return tid
}

// names is a LoadListener: how often it knows each name.
type names struct {
	known map[string]int
	calls int
	leave string
}

// Load implements tracbus.LoadListener.
func (l *names) Load(ctx context.Context, s *tracbus.Snapshot) error {
	if l.calls++; l.calls == 1 {
		leaveBy(l.leave)
	}
	ctx, cancel := within(ctx)
	defer cancel()
	l.known = map[string]int{}
	rows, err := s.QueryContext(ctx, "SELECT name FROM seen")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		l.known[name]++
	}
	return rows.Err()
}

// TicketCreated implements tracbus.TicketListener.
func (l *names) TicketCreated(context.Context, tracbus.TicketCreated) error { return nil }

// TicketChanged implements tracbus.TicketListener.
func (l *names) TicketChanged(_ context.Context, e tracbus.TicketChanged) error {
	l.known[e.Comment]++
	return nil
}

// TicketDeleted implements tracbus.TicketListener.
func (l *names) TicketDeleted(context.Context, tracbus.TicketDeleted) error { return nil }

// compare holds the state against the table.
func (l *names) compare(b *bench, p *plan) {
	b.t.Helper()
	rows, err := b.direct.QueryContext(testkit.Within(b.t), "SELECT name FROM seen")
	require.NoError(b.t, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		require.NoError(b.t, rows.Scan(&name))
		if n := l.known[name]; n != 1 {
			b.report(p, "the listener knows %q %d times, expected once", name, n)
		}
		delete(l.known, name)
	}
	require.NoError(b.t, rows.Err())
	if len(l.known) > 0 {
		b.report(p, "the listener knows what is not there: %v", l.known)
	}
}
