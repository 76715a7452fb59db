// Package desk is a tracker's process as far as a test needs one: a journal in a
// database, which is followed, and listeners that note what they are called with.
package desk

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// Desk is a process of a tracker as far as a test needs one: a journal that is
// followed, and what its listeners heard.
type Desk struct {
	*tracbus.Journal
	DB  *sql.DB
	Bus *tracbus.Bus

	mu      sync.Mutex
	all     []tracbus.Event // delivered to a listener of the scope Everywhere
	primary []tracbus.Event // and to one of the scope Primary
	fresh   chan struct{}   // holds a token after each event

	cancel context.CancelFunc
	ran    chan error
}

// Config is what a desk has of its own.
type Config struct {
	Bus     tracbus.BusConfig
	Journal tracbus.JournalConfig
	// Before registers listeners before the journal is opened.
	Before func(*tracbus.Bus)
	// DB is the pool to use. Zero opens one.
	DB *sql.DB
	// Idle does not run the journal.
	Idle bool
	// Opening makes the context with which the journal is opened. Zero takes it as
	// it is.
	Opening func(context.Context) context.Context
}

// Seat opens a journal in a database and follows it, until the test ends.
func Seat(t *testing.T, s *testdatabase.Server, dsn string, c Config) *Desk {
	t.Helper()
	if c.DB == nil {
		c.DB = s.Open(t, dsn)
	}
	d := &Desk{DB: c.DB, fresh: make(chan struct{}, 1), ran: make(chan error, 1)}
	if c.Bus.Logger == nil {
		c.Bus.Logger = testkit.Quiet
	}
	d.Bus = c.Bus.NewBus("desk")
	tracbus.On(d.Bus, tracbus.Everywhere, d.hear(&d.all))
	tracbus.On(d.Bus, tracbus.Primary, d.hear(&d.primary))
	if c.Before != nil {
		c.Before(d.Bus)
	}
	c.Journal.Dialect = tracbus.Dialect(s.Dialect)
	if c.Journal.PollInterval == 0 {
		c.Journal.PollInterval = 5 * time.Millisecond
	}
	if c.Journal.Logger == nil {
		c.Journal.Logger = testkit.Quiet
	}
	var err error
	ctx := testkit.Within(t)
	if c.Opening != nil {
		ctx = c.Opening(ctx)
	}
	d.Journal, err = tracbus.OpenJournal(ctx, d.DB, d.Bus, c.Journal)
	for c.Opening != nil && err != nil && ctx.Err() == nil { // a crowded machine may exceed bounds that were made short
		d.Journal, err = tracbus.OpenJournal(ctx, d.DB, d.Bus, c.Journal)
	}
	require.NoError(t, err)
	if !c.Idle {
		d.Follow()
	}
	t.Cleanup(func() { d.Leave(t) })
	return d
}

// Follow runs the journal until Stop.
func (d *Desk) Follow() {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	go func() { d.ran <- d.Run(ctx) }()
}

// Stop ends Run. The function that it returns waits until Run has returned.
func (d *Desk) Stop() (ended func() error) {
	d.cancel()
	d.cancel = nil
	return func() error { return <-d.ran }
}

// Pause ends Run and waits until it has returned.
func (d *Desk) Pause(t *testing.T) {
	t.Helper()
	require.NoError(t, d.Stop()())
}

// Leave ends the desk as a process ends in good order.
func (d *Desk) Leave(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	assert.NoError(t, d.Journal.Close(ctx))
	if d.cancel != nil { // it may leave twice
		assert.NoError(t, d.Stop()())
	}
	assert.NoError(t, d.Bus.Close(ctx))
}

func (d *Desk) hear(into *[]tracbus.Event) func(context.Context, tracbus.Event) error {
	return func(_ context.Context, e tracbus.Event) error {
		d.mu.Lock()
		*into = append(*into, e)
		d.mu.Unlock()
		select {
		case d.fresh <- struct{}{}:
		default:
		}
		return nil
	}
}

// Heard returns the events delivered so far to each of the two listeners.
func (d *Desk) Heard() (all, primary []tracbus.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]tracbus.Event{}, d.all...), append([]tracbus.Event{}, d.primary...)
}

// Until waits until the events delivered so far satisfy a condition.
func (d *Desk) Until(t *testing.T, what string, ok func(all, primary []tracbus.Event) bool) {
	t.Helper()
	deadline := time.After(testkit.Patience)
	for !ok(d.Heard()) {
		select {
		case <-d.fresh:
		case <-deadline:
			all, _ := d.Heard()
			t.Fatalf("not delivered: %s; delivered were %d events: %s", what, len(all), Lines(all))
		}
	}
}

// Say commits remarks on tickets as one transaction.
func (d *Desk) Say(t *testing.T, comment string, tickets ...int64) int64 {
	t.Helper()
	tid, err := d.Update(testkit.Within(t), Joe, func(tx *tracbus.ModelTransaction) error {
		for _, id := range tickets {
			if err := tx.Record(testkit.Within(t), Remark(id, comment)); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	return tid
}

// Create commits pages, each as one transaction, and returns the last tid.
func (d *Desk) Create(t *testing.T, names ...string) (tid int64) {
	t.Helper()
	for _, name := range names {
		var err error
		tid, err = d.Update(testkit.Within(t), Joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), NewPage(name)) })
		require.NoError(t, err)
	}
	return tid
}

// ForgetHeard drops what the listeners heard.
func (d *Desk) ForgetHeard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all, d.primary = nil, nil
}

// Briefs shows each event as Brief does.
func Briefs(events []tracbus.Event) (all []string) {
	for _, e := range events {
		all = append(all, Brief(e))
	}
	return all
}

// Hears waits until an event that Brief shows as what was delivered.
func (d *Desk) Hears(t *testing.T, what string) {
	t.Helper()
	d.Until(t, what, func(all, _ []tracbus.Event) bool { return slices.Contains(Briefs(all), what) })
}

// Brief shows the comment of an event, or the reason of a Resync in brackets.
func Brief(e tracbus.Event) string {
	if r, ok := e.(tracbus.Resync); ok {
		return fmt.Sprintf("(%s)", r.Reason)
	}
	return e.About().Comment
}
