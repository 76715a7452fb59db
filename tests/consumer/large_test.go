package consumer_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestLargeTransactionOneByOne counts the work that a listener makes which takes the
// changes of a large transaction one by one: the cursor is stored before each call, the
// transaction is read once, and on SQLite few of the commits wait for the disk. The
// connection on which the others do not has the pool's settings when it goes back.
func TestLargeTransactionOneByOne(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		changes := 300
		if s.Dialect == "sqlite" {
			changes = 1000
		}
		var moves, reads atomic.Int64 // statements that are sent by themselves
		var ending atomic.Int64       // of the reads: by a time that they do not put off
		dsn := s.DSN(s.Name())
		db := s.Hooked(t, dsn, func(ctx context.Context, query string) error {
			switch {
			case strings.HasPrefix(query, "UPDATE") && strings.Contains(query, "journal_consumer") && strings.Contains(query, "partial ="):
				moves.Add(1)
			case strings.HasPrefix(query, "SELECT tid, seq, changes") && strings.HasSuffix(query, "ORDER BY seq"):
				reads.Add(1)
				if _, ends := ctx.Deadline(); ends {
					ending.Add(1)
				}
			}
			return nil
		})
		own := s.Open(t, dsn)
		var called atomic.Int64
		var stored func(seq int64)
		var began time.Time
		d := desk.Seat(t, s, dsn, desk.Config{DB: db, Idle: true, Before: func(b *tracbus.Bus) {
			tracbus.On(b, tracbus.DurableConfig{LeaseFor: time.Minute}.Durable("log"), func(_ context.Context, e tracbus.TicketChanged) error {
				if n := called.Add(1); n%97 == 5 {
					stored(int64(e.Seq))
				}
				return nil
			})
		}})
		stored = func(seq int64) {
			var is int64
			testkit.Scan(t, own, "SELECT seq FROM journal_consumer WHERE name = 'log'", func() {}, &is)
			assert.Equal(t, seq-1, is, "the cursor before the call with seq %d", seq)
		}
		tickets := make([]int64, changes)
		for i := range tickets {
			tickets[i] = int64(i + 1)
		}
		tid := d.Say(t, "one of many", tickets...)
		moves.Store(0)
		reads.Store(0)
		ending.Store(0)
		began = time.Now()
		d.Follow()
		testkit.Until(t, "all are handled", func() bool { return d.Consumer(t, "log").TID == tid && d.Consumer(t, "log").Lag == 0 })
		took := time.Since(began)

		assert.EqualValues(t, changes, called.Load())
		assert.LessOrEqual(t, reads.Load(), int64(5), "by the follower and by the consumer")
		assert.Zero(t, ending.Load(), "a transaction is read for as long as its rows come")
		if s.Dialect != "sqlite" {
			return
		}
		most := 10 + int64(took/(20*time.Millisecond))
		assert.LessOrEqual(t, moves.Load(), most, "commits that wait for the disk, in %v", took)
		d.Leave(t)
		var conns []interface{ Close() error }
		for range db.Stats().OpenConnections {
			conn, err := db.Conn(testkit.Within(t))
			require.NoError(t, err)
			conns = append(conns, conn)
			var synchronous int
			require.NoError(t, conn.QueryRowContext(testkit.Within(t), "PRAGMA synchronous").Scan(&synchronous))
			assert.Equal(t, 2, synchronous)
		}
		for _, c := range conns {
			require.NoError(t, c.Close())
		}
	})
}

// TestLeaseLostWithinTransaction: where the last lease of a process is lost while its
// cursor moves within a transaction, the connection that is kept for that goes back. The
// follower keeps one.
func TestLeaseLostWithinTransaction(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	db := s.Open(t, dsn)
	hang, hangs := make(chan struct{}), make(chan struct{})
	defer close(hang)
	var called atomic.Int64
	d := desk.Seat(t, s, dsn, desk.Config{DB: db, Before: func(b *tracbus.Bus) {
		tracbus.On(b, tracbus.DurableConfig{LeaseFor: 1500 * time.Millisecond, CallTimeout: time.Hour}.Durable("log"), func(context.Context, tracbus.TicketChanged) error {
			if called.Add(1) == 50 {
				close(hangs)
				<-hang
			}
			return nil
		})
	}})
	tickets := make([]int64, 60)
	for i := range tickets {
		tickets[i] = int64(i + 1)
	}
	d.Say(t, "one of many", tickets...)
	<-hangs
	_, err := s.Open(t, dsn).Exec("UPDATE journal_consumer SET token = token + 1, heartbeat = heartbeat + 1, holder = 'another', expires = expires + 3600000000")
	require.NoError(t, err)
	testkit.Until(t, "only the follower keeps a connection", func() bool { return db.Stats().InUse <= 1 })
}
