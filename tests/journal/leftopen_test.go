package journal_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// leavings are ways in which an application leaves something open. Each returns what uses
// it after the transaction, which must be an error.
var leavings = map[string]func(t *testing.T, q tracbus.SQL) func() error{
	"rows": func(t *testing.T, q tracbus.SQL) func() error {
		return leaveRows(t, func(ctx context.Context) (*sql.Rows, error) { return q.QueryContext(ctx, manyNumbers) })
	},
	"a row": func(t *testing.T, q tracbus.SQL) func() error {
		row := q.QueryRowContext(context.Background(), manyNumbers)
		var n int
		return func() error { return row.Scan(&n) }
	},
	"rows of a prepared statement": func(t *testing.T, q tracbus.SQL) func() error {
		stmt, err := q.PrepareContext(context.Background(), manyNumbers)
		require.NoError(t, err)
		return leaveRows(t, func(ctx context.Context) (*sql.Rows, error) { return stmt.QueryContext(ctx) })
	},
	"a prepared statement": func(t *testing.T, q tracbus.SQL) func() error {
		stmt, err := q.PrepareContext(context.Background(), "SELECT count(*) FROM own")
		require.NoError(t, err)
		var n int
		read := func() error { return stmt.QueryRowContext(context.Background()).Scan(&n) }
		require.NoError(t, read())
		return read
	},
}

// manyNumbers has more rows than a driver reads at once.
const manyNumbers = "SELECT a.n FROM own a, own b, own c"

func leaveRows(t *testing.T, query func(context.Context) (*sql.Rows, error)) func() error {
	rows, err := query(context.Background())
	require.NoError(t, err)
	require.True(t, rows.Next())
	var n sql.RawBytes // which package sql protects from being closed
	require.NoError(t, rows.Scan(&n))
	return func() error {
		for rows.Next() {
		}
		return rows.Err()
	}
}

// fill gives manyNumbers its rows.
func fill(t *testing.T, d *desk.Desk) {
	t.Helper()
	for n := range 30 {
		_, err := d.DB.ExecContext(testkit.Within(t), fmt.Sprintf("INSERT INTO own VALUES (%d)", n))
		require.NoError(t, err)
	}
}

// eachLeaving leaves something open within a transaction that ends with the function that
// leave is given to.
func eachLeaving(t *testing.T, d *desk.Desk, end func(t *testing.T, what string, leave func(tracbus.SQL))) {
	fill(t, d)
	for what, leave := range leavings {
		t.Run(what, func(t *testing.T) {
			var use func() error
			end(t, what, func(q tracbus.SQL) { use = leave(t, q) })
			assert.Error(t, use(), "it was closed")
		})
	}
}

func testOpenAtCommit(t *testing.T, _ *testdatabase.Server, d *desk.Desk) {
	eachLeaving(t, d, func(t *testing.T, what string, leave func(tracbus.SQL)) {
		_, err := d.Update(context.Background(), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, what)))
			leave(tx.SQL())
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, 1, stored(t, d.DB, what))

		_, err = d.Update(context.Background(), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "never")))
			leave(tx.SQL())
			return errors.New("no")
		})
		require.EqualError(t, err, "update: not committed: no")
		assert.Zero(t, stored(t, d.DB, "never"))

		_, err = d.Update(context.Background(), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			leave(tx.SQL())
			return nil
		})
		require.NoError(t, err, "nothing is told")
	})
}

func testOpenAtFlush(t *testing.T, s *testdatabase.Server, d *desk.Desk) {
	eachLeaving(t, d, func(t *testing.T, what string, leave func(tracbus.SQL)) {
		q, commit, _ := begin(t, d, s.Dialect)
		tx, err := d.Join(q)
		require.NoError(t, err)
		require.NoError(t, tx.Prepare(desk.Joe, ""))
		require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, what)))
		leave(tx.SQL())
		_, err = tx.Flush(context.Background())
		require.NoError(t, err)
		commit()
		tx.Notify()
		assert.Equal(t, 1, stored(t, d.DB, what))
	})
}

// A server cannot be asked while it is answering: who tries is told at once.
func testOpenAtStatement(t *testing.T, s *testdatabase.Server, d *desk.Desk) {
	fill(t, d)
	for _, prepared := range []bool{false, true} {
		_, err := d.Update(context.Background(), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			leavings[map[bool]string{false: "rows", true: "rows of a prepared statement"}[prepared]](t, tx.SQL())
			_, exec := tx.SQL().ExecContext(context.Background(), "INSERT INTO own VALUES (99)")
			record := tx.Record(context.Background(), desk.Remark(1, "meanwhile"))
			if s.Dialect == "sqlite" {
				return errors.Join(exec, record)
			}
			const open = "rows of an earlier query are open: expected that they are closed before the next statement"
			assert.EqualError(t, exec, open)
			assert.EqualError(t, record, "record ticket 1: lock: "+open)
			return record
		})
		if s.Dialect != "sqlite" {
			require.ErrorIs(t, err, tracbus.ErrNotCommitted)
			continue
		}
		require.NoError(t, err)
	}
}

// loaded leaves something open in its first Load.
type loaded struct {
	tracbus.TicketListener
	leave func(tracbus.SQL)
	once  sync.Once
	done  chan struct{}
}

func (l *loaded) Load(_ context.Context, s *tracbus.Snapshot) error {
	l.once.Do(func() {
		l.leave(s)
		close(l.done)
	})
	return nil
}

func testOpenAfterLoad(t *testing.T, _ *testdatabase.Server, d *desk.Desk) {
	eachLeaving(t, d, func(t *testing.T, _ string, leave func(tracbus.SQL)) {
		l := &loaded{leave: leave, done: make(chan struct{})}
		r := d.Bus.Ticket(tracbus.Everywhere, l)
		<-l.done
		ctx := testkit.Within(t)
		require.NoError(t, r.Close(ctx))
	})
}

// Of two goroutines that end a transaction, one does and the other is told.
func testTwoGoroutines(t *testing.T, s *testdatabase.Server, d *desk.Desk) {
	for range 20 {
		tx, err := d.Begin(testkit.Within(t))
		require.NoError(t, err)
		require.NoError(t, tx.Prepare(desk.Joe, ""))
		require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "both")))
		var running sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			running.Go(func() {
				switch i % 4 {
				case 0, 1:
					_, errs[i] = tx.Commit(testkit.Within(t))
				case 2:
					errs[i] = tx.Record(testkit.Within(t), desk.Remark(2, "too late"))
				case 3:
					_, _ = tx.Outcome(testkit.Within(t))
					tx.Notify()
				}
			})
		}
		running.Wait()
		committed := 0
		for _, i := range []int{0, 1, 4, 5} {
			if errs[i] == nil {
				committed++
			}
		}
		assert.LessOrEqual(t, committed, 1)
		if committed == 0 { // a Record went on each time
			_, err := tx.Commit(testkit.Within(t))
			require.NoError(t, err)
		}
		_, err = tx.Outcome(testkit.Within(t))
		assert.NoError(t, err)

		tx, err = d.Begin(testkit.Within(t))
		require.NoError(t, err)
		for range 4 {
			running.Go(tx.Rollback)
		}
		running.Wait()
	}
	assert.Equal(t, 20, stored(t, d.DB, "both"))
}

// Who uses a transaction in another goroutine is told, and harms nobody.
func testOtherGoroutine(t *testing.T, _ *testdatabase.Server, d *desk.Desk) {
	var kept *tracbus.ModelTransaction
	_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		kept = tx
		return tx.Record(testkit.Within(t), desk.Remark(1, "kept"))
	})
	require.NoError(t, err)
	kept.Rollback()
	assert.ErrorContains(t, kept.Record(testkit.Within(t), desk.Remark(1, "late")), "the transaction is committed")
	assert.ErrorContains(t, kept.Lock(testkit.Within(t), tracbus.TicketResource(1)), "lock: ")
	_, err = kept.SQL().ExecContext(testkit.Within(t), "INSERT INTO own VALUES (1)")
	assert.EqualError(t, err, "the ModelTransaction has ended")
	_, err = kept.SQL().QueryContext(testkit.Within(t), "SELECT n FROM own")
	assert.EqualError(t, err, "the ModelTransaction has ended")
	_, err = kept.SQL().PrepareContext(testkit.Within(t), "SELECT n FROM own")
	assert.EqualError(t, err, "the ModelTransaction has ended")
	assert.EqualError(t, kept.SQL().QueryRowContext(testkit.Within(t), "SELECT n FROM own").Err(), "the ModelTransaction has ended")
	_, err = d.Join(kept.SQL())
	assert.ErrorContains(t, err, "join: it is the SQL of a ModelTransaction")
}
