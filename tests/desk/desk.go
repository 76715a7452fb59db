package tracbus_test

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
	"github.com/tracbus/tracbus/internal/testdatabase"
)

// desk is a process of a tracker as far as a test needs one: a journal that is
// followed, and what its listeners heard.
type desk struct {
	*tracbus.Journal
	DB  *sql.DB
	Bus *tracbus.Bus

	mu      sync.Mutex
	all     []tracbus.Event // told to a listener of the scope Everywhere
	primary []tracbus.Event // and to one of the scope Primary
	fresh   chan struct{}   // holds a token: something was told

	cancel context.CancelFunc
	ran    chan error
}

// deskConfig is what a desk has of its own.
type deskConfig struct {
	Bus     tracbus.BusConfig
	Journal tracbus.JournalConfig
	// Before registers listeners before the journal is opened.
	Before func(*tracbus.Bus)
	// DB is the pool to use. Zero opens one.
	DB *sql.DB
	// Idle does not run the follower.
	Idle bool
}

// seat opens a journal in a database and follows it, until the test ends.
func seat(t *testing.T, s *testdatabase.Server, dsn string, c deskConfig) *desk {
	t.Helper()
	if c.DB == nil {
		c.DB = s.Open(t, dsn)
	}
	d := &desk{DB: c.DB, fresh: make(chan struct{}, 1), ran: make(chan error, 1)}
	if c.Bus.Logger == nil {
		c.Bus.Logger = quiet
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
		c.Journal.Logger = quiet
	}
	var err error
	d.Journal, err = tracbus.OpenJournal(within(t), d.DB, d.Bus, c.Journal)
	require.NoError(t, err)
	if !c.Idle {
		d.follow()
	}
	t.Cleanup(func() { d.leave(t) })
	return d
}

// follow runs the follower.
func (d *desk) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	go func() { d.ran <- d.Run(ctx) }()
}

// stop tells the follower to end. The function that is returned waits for that.
func (d *desk) stop() (ended func() error) {
	d.cancel()
	d.cancel = nil
	return func() error { return <-d.ran }
}

// pause ends the follower.
func (d *desk) pause(t *testing.T) {
	t.Helper()
	require.NoError(t, d.stop()())
}

// leave ends the desk as a process ends in good order.
func (d *desk) leave(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	assert.NoError(t, d.Journal.Close(ctx))
	if d.cancel != nil { // it may leave twice
		assert.NoError(t, d.stop()())
	}
	assert.NoError(t, d.Bus.Close(ctx))
}

func (d *desk) hear(into *[]tracbus.Event) func(context.Context, tracbus.Event) error {
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

// heard returns what the listeners were told so far.
func (d *desk) heard() (all, primary []tracbus.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]tracbus.Event{}, d.all...), append([]tracbus.Event{}, d.primary...)
}

// until waits until the listeners were told what a condition asks for.
func (d *desk) until(t *testing.T, what string, ok func(all, primary []tracbus.Event) bool) {
	t.Helper()
	deadline := time.After(patience)
	for !ok(d.heard()) {
		select {
		case <-d.fresh:
		case <-deadline:
			all, _ := d.heard()
			t.Fatalf("not told: %s; told were %d events: %s", what, len(all), lines(all))
		}
	}
}

// say commits remarks on tickets as one transaction.
func (d *desk) say(t *testing.T, comment string, tickets ...int64) int64 {
	t.Helper()
	tid, err := d.Update(within(t), joe, func(tx *tracbus.ModelTransaction) error {
		for _, id := range tickets {
			if err := tx.Record(within(t), remark(id, comment)); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	return tid
}

func (d *desk) create(t *testing.T, names ...string) (tid int64) {
	t.Helper()
	for _, name := range names {
		var err error
		tid, err = d.Update(within(t), joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(within(t), page1(name)) })
		require.NoError(t, err)
	}
	return tid
}

// forgetHeard drops what the listeners heard.
func (d *desk) forgetHeard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all, d.primary = nil, nil
}

func briefs(events []tracbus.Event) (all []string) {
	for _, e := range events {
		all = append(all, brief(e))
	}
	return all
}

func (d *desk) hears(t *testing.T, what string) {
	t.Helper()
	d.until(t, what, func(all, _ []tracbus.Event) bool { return slices.Contains(briefs(all), what) })
}

// brief shows the comment of an event, or the reason of a Resync in brackets.
func brief(e tracbus.Event) string {
	if r, ok := e.(tracbus.Resync); ok {
		return fmt.Sprintf("(%s)", r.Reason)
	}
	return e.About().Comment
}
