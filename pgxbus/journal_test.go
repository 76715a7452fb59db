package pgxbus_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/pgxbus"
)

var joe = tracbus.Actor{Author: "joe", IPNR: "192.0.2.1", Authenticated: true}

// desk is an application on a pool, with a journal, and tables of its own: tasks, and an outbox that says
// of each committed change what the journal has to say.
type desk struct {
	*pgxbus.Journal
	t      *testing.T
	server *testserver.PostgresServer
	dsn    string
	pool   *pgxpool.Pool // the application's
	own    *pgxpool.Pool // the journal's and the test's, on a way that nothing happens to
	log    *testkit.Notes

	mu    sync.Mutex
	heard []tracbus.TicketChanged
}

// options say how a desk differs.
type options struct {
	via    func(addr string) string   // the way of the application's connections
	config func(*pgxpool.Config)      // of the application's pool
	limits store.Limits               // of the journal
	server *testserver.PostgresServer // nil: a new one
}

func newDesk(t *testing.T, o options) *desk {
	t.Helper()
	d := &desk{t: t, server: o.server, log: testkit.NewNotes()}
	if d.server == nil {
		d.server, _ = server(t)
	}
	d.dsn = d.server.DSN("tracker")
	d.own = connect(t, d.dsn, 10)
	dsn := d.dsn
	if o.via != nil {
		dsn = d.server.DSNVia(o.via(d.server.Addr()), "tracker")
	}
	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(t, err)
	config.MaxConns = 4
	if o.config != nil {
		o.config(config)
	}
	d.pool, err = pgxpool.NewWithConfig(testkit.Within(t), config)
	require.NoError(t, err)
	t.Cleanup(d.pool.Close)
	d.exec(`CREATE TABLE IF NOT EXISTS task (id BIGINT PRIMARY KEY, status TEXT NOT NULL)`)
	d.exec(`CREATE TABLE IF NOT EXISTS outbox (comment TEXT PRIMARY KEY)`)
	bus := tracbus.NewBus("test")
	tracbus.On(bus, tracbus.Everywhere, func(_ context.Context, e tracbus.TicketChanged) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.heard = append(d.heard, e)
		return nil
	})
	ctx := testkit.Within(t)
	if o.limits != (store.Limits{}) {
		ctx = store.WithLimits(ctx, o.limits)
	}
	d.Journal, err = pgxbus.Open(ctx, d.own, bus, tracbus.JournalConfig{Logger: d.log.Logger()})
	require.NoError(t, err)
	ran := make(chan error, 1)
	go func() { ran <- d.Run(context.Background()) }()
	t.Cleanup(func() {
		assert.NoError(t, d.Close(testkit.Within(t)))
		assert.NoError(t, bus.Close(testkit.Within(t)))
		assert.NoError(t, <-ran)
	})
	return d
}

func (d *desk) exec(statement string, args ...any) {
	d.t.Helper()
	_, err := d.own.Exec(testkit.Within(d.t), statement, args...)
	require.NoError(d.t, err)
}

// begin begins a transaction that writes a task, and a line of the outbox.
func (d *desk) begin(id int64, comment string) pgx.Tx {
	d.t.Helper()
	tx, err := d.pool.Begin(testkit.Within(d.t))
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // else a test that fails would wait for it
	require.NoError(d.t, write(testkit.Within(d.t), tx, id, comment))
	return tx
}

func write(ctx context.Context, tx pgx.Tx, id int64, comment string) error {
	_, err := tx.Exec(ctx, `INSERT INTO task VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET status = excluded.status`, id, comment)
	if err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO outbox VALUES ($1)`, comment)
	}
	return err
}

// changed is the event about it.
func changed(id int64, comment string) tracbus.TicketChanged {
	return tracbus.TicketChanged{
		Change: tracbus.Change{Comment: comment}, ID: id,
		Values: tracbus.Fields{"summary": "It does not print", "status": comment}, Old: tracbus.Fields{"status": "new"},
	}
}

// check compares the journal and the outbox, and the order in which they were heard with the tids.
func (d *desk) check() {
	d.t.Helper()
	assert.Zero(d.t, number(d.t, d.own, `SELECT count(*) FROM outbox o FULL JOIN journal_change c USING (comment) WHERE o.comment IS NULL OR c.comment IS NULL`), "journal and outbox differ")
	assert.Equal(d.t, number(d.t, d.own, `SELECT count(*) FROM outbox`), number(d.t, d.own, `SELECT count(*) FROM journal_change`))
	last := number(d.t, d.own, `SELECT coalesce(max(tid), 0) FROM journal_change`)
	require.NoError(d.t, d.Wait(testkit.Within(d.t), int64(last)))
	d.mu.Lock()
	defer d.mu.Unlock()
	assert.Len(d.t, d.heard, number(d.t, d.own, `SELECT count(*) FROM journal_change`))
	for i := range d.heard[:max(len(d.heard)-1, 0)] {
		a, b := d.heard[i], d.heard[i+1]
		assert.True(d.t, a.TID < b.TID || a.TID == b.TID && a.Seq < b.Seq, "%d.%d before %d.%d", a.TID, a.Seq, b.TID, b.Seq)
	}
	assert.Zero(d.t, number(d.t, d.own, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'`), "locks are left")
}

// trips counts the round trips of a connection: how often it sends after it has received.
type trips struct {
	net.Conn
	n     *atomic.Int64
	heard atomic.Bool
}

func (c *trips) Write(b []byte) (int, error) {
	if c.heard.Swap(false) {
		c.n.Add(1)
	}
	return c.Conn.Write(b)
}

func (c *trips) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(true)
	}
	return n, err
}

// counting has a pool count its round trips.
func counting(n *atomic.Int64) func(*pgxpool.Config) {
	return func(config *pgxpool.Config) {
		config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &trips{Conn: c, n: n}, err
		}
	}
}

var modes = map[string]pgx.QueryExecMode{
	"cached statements": pgx.QueryExecModeCacheStatement, "cached descriptions": pgx.QueryExecModeCacheDescribe,
	"descriptions": pgx.QueryExecModeDescribeExec, "exec": pgx.QueryExecModeExec, "simple protocol": pgx.QueryExecModeSimpleProtocol,
}

// TestCommitWith: in each mode of pgx, a change is committed with the application's rows, and
// told; from the second on in one round trip. The connection is the pool's again.
func TestCommitWith(t *testing.T) {
	testkit.NoLeaks(t)
	s, _ := server(t)
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int64
			d := newDesk(t, options{server: s, config: func(c *pgxpool.Config) {
				counting(&n)(c)
				c.MaxConns, c.ConnConfig.DefaultQueryExecMode = 1, mode
			}})
			d.exec("TRUNCATE task, outbox, journal_change")
			for i := int64(1); i < 5; i++ {
				tx := d.begin(i, fmt.Sprintf("%s %d", name, i))
				before := n.Load()
				tid, err := d.CommitWith(testkit.Within(t), tx, joe, changed(i, fmt.Sprintf("%s %d", name, i)))
				require.NoError(t, err)
				assert.NotZero(t, tid)
				assert.ErrorIs(t, tx.Rollback(testkit.Within(t)), pgx.ErrTxClosed)
				if took := n.Load() - before; i > 1 && mode != pgx.QueryExecModeDescribeExec { // that asks for descriptions
					assert.Equal(t, int64(1), took, "round trips of the commit")
				}
			}
			d.check()
			d.mu.Lock()
			defer d.mu.Unlock()
			e := d.heard[0]
			assert.True(t, e.Primary)
			assert.Equal(t, "joe", e.Author)
			assert.Equal(t, tracbus.Fields{"status": name + " 1"}, e.New)
		})
	}
}

// TestCommitWithMany: events of several resources, in as many rows as take several statements; two of
// one resource are told as one.
func TestCommitWithMany(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDesk(t, options{})
	var changes []tracbus.Told
	for id := int64(1); id <= 1500; id++ {
		changes = append(changes, changed(id, fmt.Sprint("first of ", id)), changed(id, fmt.Sprint(id)))
	}
	tx := d.begin(1, "1")
	tid, err := d.CommitWith(testkit.Within(t), tx, joe, changes...)
	require.NoError(t, err)
	assert.Equal(t, 1500, number(t, d.own, "SELECT count(*) FROM journal_change WHERE tid = %d AND changes = 1500", tid))
	require.NoError(t, d.Wait(testkit.Within(t), tid))
	d.mu.Lock()
	defer d.mu.Unlock()
	assert.Len(t, d.heard, 1500)
}

// TestCommitWithState: what differs from the state that the journal knew is told, and the application's
// rows are committed if nothing does.
func TestCommitWithState(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDesk(t, options{})
	state := func(status string) (tid int64) {
		t.Helper()
		tx, err := d.pool.Begin(testkit.Within(t))
		require.NoError(t, err)
		tid, err = d.CommitWith(testkit.Within(t), tx, joe, tracbus.State{Of: tracbus.TicketResource(1), Values: tracbus.Fields{"status": status}})
		require.NoError(t, err)
		return tid
	}
	state("new")
	tid := state("closed")
	assert.Zero(t, state("closed"), "nothing differs")
	require.NoError(t, d.Wait(testkit.Within(t), tid))
	d.mu.Lock()
	defer d.mu.Unlock()
	require.Len(t, d.heard, 1, "the first is told as created")
	assert.Equal(t, tracbus.Fields{"status": "closed"}, d.heard[0].New)
	assert.Equal(t, tracbus.Fields{"status": "new"}, d.heard[0].Old)
}

// TestCommitWithNothing: without an event it is the application's commit.
func TestCommitWithNothing(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDesk(t, options{})
	tid, err := d.CommitWith(testkit.Within(t), d.begin(1, "untold"), joe)
	require.NoError(t, err)
	assert.Zero(t, tid)
	assert.Equal(t, 1, number(t, d.own, "SELECT count(*) FROM outbox"))
	assert.Zero(t, number(t, d.own, "SELECT count(*) FROM journal_change"))
}

// quiet is a tracer that shows nothing.
type quiet struct{ statements []string }

func (q *quiet) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	q.statements = append(q.statements, data.SQL)
	return ctx
}
func (q *quiet) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestCommitWithTracer: a tracer sees the application's own commit, and none that is not sent.
func TestCommitWithTracer(t *testing.T) {
	testkit.NoLeaks(t)
	q := &quiet{}
	d := newDesk(t, options{config: func(c *pgxpool.Config) { c.ConnConfig.Tracer, c.MaxConns = q, 1 }})
	_, err := d.CommitWith(testkit.Within(t), d.begin(1, "traced"), joe, changed(1, "traced"))
	require.NoError(t, err)
	assert.Equal(t, "commit", q.statements[len(q.statements)-1])
	d.check()
}

// TestCommitWithRefused: whatever is refused leaves nothing, neither here nor there, and the
// application can roll back as it is used to.
func TestCommitWithRefused(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDesk(t, options{config: func(c *pgxpool.Config) { c.MaxConns = 1 }})
	d.exec(`CREATE TABLE checked (id BIGINT REFERENCES task DEFERRABLE INITIALLY DEFERRED)`)
	for name, c := range map[string]struct {
		spoil func(tx pgx.Tx) pgx.Tx
		event tracbus.Event
		says  string
	}{
		"no such realm":   {event: tracbus.Resync{}, says: "record"},
		"nil":             {event: nil, says: "record"},
		"a text with NUL": {event: changed(1, "\x00"), says: "U+0000"},
		"a transaction within": {event: changed(1, "x"), says: "outermost", spoil: func(tx pgx.Tx) pgx.Tx {
			inner, err := tx.Begin(testkit.Within(t))
			require.NoError(t, err)
			return inner
		}},
		"one that has failed": {event: changed(1, "x"), says: "has not failed", spoil: func(tx pgx.Tx) pgx.Tx {
			_, err := tx.Exec(testkit.Within(t), "SELECT 1/0")
			require.Error(t, err)
			return tx
		}},
		"one that has ended": {event: changed(1, "x"), says: "open", spoil: func(tx pgx.Tx) pgx.Tx {
			_, err := tx.Exec(testkit.Within(t), "ROLLBACK")
			require.NoError(t, err)
			return tx
		}},
		"one that cannot commit": {event: changed(1, "x"), says: "violates foreign key", spoil: func(tx pgx.Tx) pgx.Tx {
			_, err := tx.Exec(testkit.Within(t), "INSERT INTO checked VALUES (4711)")
			require.NoError(t, err)
			return tx
		}},
		"a session that bends": {event: changed(1, "x"), says: "client_encoding is LATIN1", spoil: func(tx pgx.Tx) pgx.Tx {
			_, err := tx.Exec(testkit.Within(t), "SET LOCAL client_encoding = 'LATIN1'")
			require.NoError(t, err)
			return tx
		}},
	} {
		t.Run(name, func(t *testing.T) {
			outer := d.begin(1, "x")
			tx := outer
			if c.spoil != nil {
				tx = c.spoil(outer)
			}
			_, err := d.CommitWith(testkit.Within(t), tx, joe, c.event)
			assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
			assert.ErrorContains(t, err, c.says)
			if err := outer.Rollback(testkit.Within(t)); err != nil {
				assert.ErrorIs(t, err, pgx.ErrTxClosed)
			}
			assert.Zero(t, number(t, d.own, "SELECT count(*) FROM outbox"))
			assert.Zero(t, number(t, d.own, "SELECT count(*) FROM journal_change"))
			_, err = d.pool.Exec(testkit.Within(t), "SELECT 1") // the only connection is there again
			assert.NoError(t, err)
		})
	}
	_, err := d.CommitWith(testkit.Within(t), d.begin(1, "good"), joe, changed(1, "good"))
	require.NoError(t, err)
	d.check()
}

// TestCommitWithCounter: a tid that others have had is not taken; the next one is right.
func TestCommitWithCounter(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDesk(t, options{})
	for i := int64(1); i < 4; i++ {
		_, err := d.CommitWith(testkit.Within(t), d.begin(i, fmt.Sprint(i)), joe, changed(i, fmt.Sprint(i)))
		require.NoError(t, err)
	}
	d.exec("SELECT setval('journal_tid', 1)")
	tx := d.begin(7, "behind")
	_, err := d.CommitWith(testkit.Within(t), tx, joe, changed(7, "behind"))
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
	assert.ErrorContains(t, err, "counter of tids")
	require.NoError(t, tx.Rollback(testkit.Within(t)))
	_, err = d.CommitWith(testkit.Within(t), d.begin(7, "right"), joe, changed(7, "right"))
	require.NoError(t, err)
	d.check()
}

// TestCommitWithWaits: who holds the resource is waited for, up to the caller's deadline, and the
// server itself gives up then: nothing is in doubt.
func TestCommitWithWaits(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDesk(t, options{})
	holder, err := d.Begin(testkit.Within(t))
	require.NoError(t, err)
	require.NoError(t, holder.Prepare(joe, ""))
	require.NoError(t, holder.Lock(testkit.Within(t), tracbus.TicketChanged{ID: 1}.Resource()))
	for _, ids := range [][]int64{{1}, {2, 1}} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		tx := d.begin(7, "waits")
		var changes []tracbus.Told
		for _, id := range ids {
			changes = append(changes, changed(id, "waits"))
		}
		_, err = d.CommitWith(ctx, tx, joe, changes...)
		assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
		assert.ErrorContains(t, err, "others have locked")
		require.NoError(t, tx.Rollback(testkit.Within(t)))
	}
	done := make(chan error)
	tx := d.begin(1, "waited")
	go func() {
		_, err := d.CommitWith(context.Background(), tx, joe, changed(1, "waited"))
		done <- err
	}()
	testkit.Until(t, "it waits", func() bool { return number(t, d.own, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 1 })
	holder.Rollback()
	require.NoError(t, <-done)
	d.check()
}
