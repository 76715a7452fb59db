package tracbus_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testdatabase"
)

// ticking returns a context for one test's waits.
func ticking(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

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

// quiet logs nothing.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

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
	d.Journal, err = tracbus.OpenJournal(ticking(t), d.DB, d.Bus, c.Journal)
	require.NoError(t, err)
	if !c.Idle {
		d.run()
	}
	t.Cleanup(func() { d.leave(t) })
	return d
}

func (d *desk) run() {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	go func() { d.ran <- d.Run(ctx) }()
}

// leave ends the desk as a process ends in good order.
func (d *desk) leave(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	assert.NoError(t, d.Journal.Close(ctx))
	if d.cancel != nil {
		d.cancel()
		assert.NoError(t, <-d.ran)
		d.cancel = nil // it may leave twice
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

// line shows an event in short: "3.0 ticket 1 changed: comment (primary)".
func line(e tracbus.Event) string {
	c := e.About()
	who := "secondary"
	if c.Primary {
		who = "primary"
	}
	return fmt.Sprintf("%d.%d %s %s: %s (%s)", c.TID, c.Seq, e.Resource(), e.Kind(), c.Comment, who)
}

func lines(events []tracbus.Event) []string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = line(e)
	}
	return all
}

// comments returns what was said of each event.
func comments(events []tracbus.Event) []string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = e.About().Comment
	}
	return all
}

var joe = tracbus.Actor{Author: "joe", IPNR: "::1", Authenticated: true}

// remark is a change of a ticket that says something.
func remark(id int64, comment string) tracbus.TicketChanged {
	return tracbus.TicketChanged{
		Change: tracbus.Change{Comment: comment}, ID: id,
		Values: tracbus.Fields{"summary": comment, "owner": "jim"}, Old: tracbus.Fields{"summary": "before " + comment},
	}
}

// say commits remarks on tickets as one transaction.
func (d *desk) say(t *testing.T, comment string, tickets ...int64) int64 {
	t.Helper()
	tid, err := d.Update(ticking(t), joe, func(tx *tracbus.ModelTransaction) error {
		for _, id := range tickets {
			if err := tx.Record(ticking(t), remark(id, comment)); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	return tid
}

// checkJournal looks for what must never be in a journal's tables.
func checkJournal(t *testing.T, db *sql.DB, dialect string, realms ...string) {
	t.Helper()
	ctx := ticking(t)
	count := func(query string) (n int64) {
		require.NoError(t, db.QueryRowContext(ctx, query).Scan(&n), query)
		return n
	}
	for _, realm := range realms {
		assert.Zero(t, count(`SELECT count(*) FROM `+realm+`_journal j WHERE NOT EXISTS (SELECT 1 FROM journal_transaction t WHERE t.tid = j.tid)`),
			"entries of %s without a transaction", realm)
		assert.Zero(t, count(`SELECT count(*) FROM `+realm+`_history h WHERE NOT EXISTS (SELECT 1 FROM `+realm+`_journal j WHERE j.tid = h.tid AND j.seq = h.seq AND j.id = h.id)`),
			"history of %s without an entry", realm)
		assert.Zero(t, count(`SELECT count(*) FROM journal_transaction t WHERE realms LIKE '%`+realm+`%' AND NOT EXISTS (SELECT 1 FROM `+realm+`_journal j WHERE j.tid = t.tid)`),
			"transactions without their entries of %s", realm)
	}
	assert.Zero(t, count(`SELECT count(*) - count(DISTINCT mark) FROM journal_transaction`), "marks that are not unique")
	floor := count(`SELECT floor FROM journal_facts`)
	assert.LessOrEqual(t, count(`SELECT count(*) FROM journal_facts`), int64(1), "facts")
	if dialect == "mysql" {
		head := count(`SELECT tid FROM journal_head`)
		assert.Equal(t, head-floor, count(`SELECT count(*) FROM journal_transaction WHERE tid > `+fmt.Sprint(floor)), "tids without a gap up to the counter %d", head)
	}
}
