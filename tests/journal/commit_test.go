package journal_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// distant is a desk whose database is behind a proxy, on one connection.
type distant struct {
	*desk.Desk
	proxy  *testserver.TCPProxy
	direct *sql.DB
	tries  int
}

func sitFarAway(t *testing.T, s *testdatabase.Server, parameters string) *distant {
	t.Helper()
	name := s.Name()
	var proxy *testserver.TCPProxy
	var dsn string
	if s.Postgres != nil {
		proxy = testserver.Proxy(t, s.Postgres.Addr())
		dsn = s.DSNVia(proxy.Addr(), name)
	} else {
		proxy = testserver.Proxy(t, s.MariaDB.Addr())
		dsn = s.MariaDB.DSNVia(proxy.Addr(), name) + parameters
	}
	d := &distant{Desk: desk.Seat(t, s, dsn, desk.Config{Idle: true}), proxy: proxy, direct: s.Open(t, s.DSN(name))}
	d.DB.SetMaxOpenConns(1)
	return d
}

// connection names the pool's one connection, which may be a new one because
// that before was found to be cut.
func (d *distant) connection(t *testing.T, dialect string) (id int64) {
	t.Helper()
	query := map[string]string{"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}[dialect]
	if d.DB.QueryRowContext(testkit.Within(t), query).Scan(&id) == nil {
		return id
	}
	require.NoError(t, d.DB.QueryRowContext(testkit.Within(t), query).Scan(&id))
	return id
}

// stored asks the tables for the transactions that said something.
func stored(t *testing.T, db *sql.DB, comment string) (n int) {
	t.Helper()
	require.NotContains(t, comment, "'")
	require.NoError(t, db.QueryRowContext(testkit.Within(t), "SELECT count(*) FROM ticket_journal WHERE comment = '"+comment+"'").Scan(&n))
	return n
}

// never is more bytes than any transaction of a test has.
const never = 1 << 40

// tryCut makes a change whose connection is cut behind the n-th byte that goes
// to the server, and checks that the outcome is what the tables say.
func (d *distant) tryCut(t *testing.T, dialect string, n int) (committed, survived bool) {
	t.Helper()
	d.Say(t, "the driver has prepared what it prepares", 1)
	d.tries++
	comment := fmt.Sprintf("try %06d, cut behind byte %06d", d.tries, n%1_000_000) // always as long
	before := d.connection(t, dialect)
	d.proxy.CutAfter(int64(n))
	tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		return tx.Record(testkit.Within(t), desk.Remark(1, comment))
	})
	d.proxy.CutAfter(never)
	switch is := stored(t, d.direct, comment); {
	case err == nil:
		require.Equal(t, 1, is, "committed as tid %d: %s", tid, comment)
		require.NotZero(t, tid)
	default:
		require.ErrorIs(t, err, tracbus.ErrNotCommitted, comment)
		require.Zero(t, is, "not committed: %s", comment)
	}
	return err == nil, d.connection(t, dialect) == before
}

// TestCommitCutAtAnyByte cuts the connection of a transaction at many places,
// at every byte of its end among them: behind the last one, the server has
// committed and its answer is lost.
func TestCommitCutAtAnyByte(t *testing.T) {
	for _, test := range []struct{ name, dialect, parameters string }{
		{"postgresql", "postgresql", ""},
		{"mysql, all in one round trip", "mysql", testdatabase.MySQLParameters},
		{"mysql, statement by statement", "mysql", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := testdatabase.New(t, test.dialect)
			d := sitFarAway(t, s, test.parameters)
			total := sort.Search(1<<14, func(n int) bool {
				_, survived := d.tryCut(t, test.dialect, n)
				return survived
			}) - 1
			landed, lost := 0, 0
			for n := 0; n <= total+8; n++ {
				if n < total-60 && n%max(total/30, 1) != 0 {
					continue
				}
				tries := 1
				if n > total-8 {
					tries = 4 // PostgreSQL's times are not all as long
				}
				for range tries {
					committed, survived := d.tryCut(t, test.dialect, n)
					switch {
					case !committed:
						lost++
					case !survived:
						landed++
					}
				}
			}
			t.Logf("%d bytes; committed although the answer was lost: %d; not committed: %d", total, landed, lost)
			assert.NotZero(t, landed, "a cut behind the last byte")
			assert.NotZero(t, lost, "a cut before it")

			d.DB.SetMaxOpenConns(0)
			d.Follow()
			last := d.Say(t, "last", 1)
			require.NoError(t, d.Wait(testkit.Within(t), last))
			all, primary := d.Heard()
			assert.Equal(t, desk.Lines(all), desk.Lines(primary), "each told once, as primary")
			var n int
			require.NoError(t, d.direct.QueryRowContext(testkit.Within(t), "SELECT count(*) FROM journal_change WHERE changes > 0").Scan(&n))
			assert.Len(t, all, n, "all that landed")
			desk.CheckJournal(t, d.direct, test.dialect, "ticket")
		})
	}
}

// TestCommitUnknown holds a COMMIT up in the server, cuts its connection, and
// decides its fate only after Commit has given up asking.
func TestCommitUnknown(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	d := sitFarAway(t, s, "")
	ctx := testkit.Within(t)
	for _, statement := range []string{ // a commit with such a row waits for the lock
		`CREATE TABLE slow (n integer)`,
		`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$`,
		`CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()`,
	} {
		_, err := d.direct.ExecContext(ctx, statement)
		require.NoError(t, err)
	}
	for _, lands := range []bool{true, false} {
		gate, err := d.direct.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = gate.ExecContext(ctx, `SELECT pg_advisory_xact_lock(4711)`)
		require.NoError(t, err)

		comment := fmt.Sprintf("lands: %t", lands)
		tx, err := d.Begin(ctx)
		require.NoError(t, err)
		require.NoError(t, tx.Prepare(desk.Joe, ""))
		require.NoError(t, tx.Record(ctx, desk.Remark(1, comment)))
		_, err = tx.SQL().ExecContext(ctx, `INSERT INTO slow VALUES (1)`)
		require.NoError(t, err)
		committed := make(chan error, 1)
		pid := waitingFor(t, d, func() {
			go func() {
				short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
				defer cancel()
				_, err := tx.Commit(short)
				committed <- err
			}()
		})
		d.proxy.Refuse() // not even the request that pgx makes, to cancel
		d.proxy.Cut()
		err = <-committed
		require.ErrorIs(t, err, tracbus.ErrCommitUnknown)
		require.NotErrorIs(t, err, tracbus.ErrNotCommitted)
		d.proxy.Accept()

		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, err = tx.Outcome(short)
		cancel()
		require.ErrorIs(t, err, tracbus.ErrCommitUnknown, "it may yet land")

		if !lands {
			_, err = d.direct.ExecContext(ctx, `SELECT pg_terminate_backend($1)`, pid)
			require.NoError(t, err)
		}
		require.NoError(t, gate.Rollback())
		tid, err := tx.Outcome(ctx)
		if lands {
			require.NoError(t, err)
			assert.NotZero(t, tid)
			assert.Equal(t, 1, stored(t, d.direct, comment))
		} else {
			assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
			assert.Zero(t, stored(t, d.direct, comment))
		}
		again, err := tx.Outcome(ctx)
		assert.Equal(t, lands, err == nil)
		assert.Equal(t, tid, again)
	}
	d.DB.SetMaxOpenConns(0)
	d.Follow()
	last := d.Say(t, "last", 1)
	require.NoError(t, d.Wait(ctx, last))
	_, primary := d.Heard()
	assert.Equal(t, []string{"lands: true", "last"}, desk.Comments(primary))
}

// waitingFor begins a commit and returns the server process that waits in it.
func waitingFor(t *testing.T, d *distant, begin func()) (pid int64) {
	t.Helper()
	begin()
	require.Eventually(t, func() bool {
		err := d.direct.QueryRowContext(testkit.Within(t),
			`SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted`).Scan(&pid)
		return err == nil
	}, testkit.Patience, 5*time.Millisecond)
	return pid
}

// TestCommitOutOfReach lets nobody reach the server after the answer to COMMIT
// was lost.
func TestCommitOutOfReach(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	d := sitFarAway(t, s, testdatabase.MySQLParameters)
	tx, err := d.Begin(testkit.Within(t))
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "out of reach")))
	d.proxy.DropReplies()
	d.proxy.Refuse()
	committed := make(chan error, 1)
	go func() {
		short, cancel := context.WithTimeout(testkit.Within(t), 300*time.Millisecond)
		defer cancel()
		_, err := tx.Commit(short)
		committed <- err
	}()
	require.Eventually(t, func() bool { return stored(t, d.direct, "out of reach") == 1 }, testkit.Patience, time.Millisecond)
	err = <-committed
	require.ErrorIs(t, err, tracbus.ErrCommitUnknown)
	var unknown *tracbus.CommitUnknownError
	require.ErrorAs(t, err, &unknown)
	require.Same(t, tx, unknown.Transaction)
	d.proxy.Resume()
	d.proxy.Accept()
	tid, err := tx.Outcome(testkit.Within(t))
	require.NoError(t, err)
	assert.NotZero(t, tid)
}

// deaf is SQLite with a driver that does not hear the answer to COMMIT.
type deaf struct {
	sqlite driver.Driver
	dsn    string
	deaf   bool // from the next COMMIT on, once
}

func (d *deaf) Connect(context.Context) (driver.Conn, error) {
	conn, err := d.sqlite.Open(d.dsn)
	return &deafConn{conn, d}, err
}

func (d *deaf) Driver() driver.Driver { return d.sqlite }

type deafConn struct {
	driver.Conn
	of *deaf
}

func (c *deafConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	if query == "COMMIT" && c.of.deaf {
		c.of.deaf = false
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return result, err
}

func (c *deafConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

// TestCommitUnheard is what a full disk or a failing one does to SQLite.
func TestCommitUnheard(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	real := s.Open(t, dsn)
	fault := &deaf{sqlite: real.Driver(), dsn: dsn}
	db := sql.OpenDB(fault)
	bus := tracbus.NewBus("desk")
	var heard testkit.Diary
	tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.Event) error {
		heard.Write("%s", e.About().Comment)
		return nil
	})
	j, err := tracbus.OpenJournal(testkit.Within(t), db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite, Logger: testkit.Quiet})
	require.NoError(t, err)
	ran := make(chan error, 1)
	go func() { ran <- j.Run(testkit.Within(t)) }()

	fault.deaf = true
	tid, err := j.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		return tx.Record(testkit.Within(t), desk.Remark(1, "unheard"))
	})
	require.NoError(t, err)
	require.NoError(t, j.Wait(testkit.Within(t), tid))
	assert.Equal(t, []string{"unheard"}, heard.Read())

	require.NoError(t, j.Close(testkit.Within(t)))
	require.NoError(t, <-ran)
	require.NoError(t, bus.Close(testkit.Within(t)))
	require.NoError(t, db.Close())
}
