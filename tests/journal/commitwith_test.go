package journal_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestCommitWith: an application's own transaction is committed with the journal's rows about it,
// in one call, and what becomes of it is said.
func TestCommitWith(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
		_, err := d.DB.Exec("CREATE TABLE own (n INTEGER)")
		require.NoError(t, err)
		own := func() (q tracbus.SQL, commit func() error, rollback func()) {
			q, end, undo := begin(t, d, s.Dialect)
			_, err := q.ExecContext(testkit.Within(t), "INSERT INTO own VALUES (1)")
			require.NoError(t, err)
			return q, func() error { end(); return nil }, undo
		}
		told := func(want ...string) {
			t.Helper()
			require.NoError(t, d.Wait(testkit.Within(t), d.Say(t, "end", 99)))
			all, _ := d.Heard()
			assert.Equal(t, append(want, "end"), desk.Comments(all))
			d.ForgetHeard()
		}

		q, commit, _ := own()
		tid, err := d.CommitWith(testkit.Within(t), q, desk.Joe, commit, desk.Remark(1, "one"), desk.Remark(2, "two"))
		require.NoError(t, err)
		require.NoError(t, d.Wait(testkit.Within(t), tid))
		_, primary := d.Heard()
		require.Len(t, primary, 2)
		assert.Equal(t, "joe", primary[0].About().Author)
		assert.Equal(t, tid, primary[1].About().TID)
		assert.Equal(t, 1, ownRows(t, d))
		told("one", "two")

		q, commit, _ = own() // nothing to tell
		tid, err = d.CommitWith(testkit.Within(t), q, desk.Joe, commit)
		require.NoError(t, err)
		assert.Zero(t, tid)
		assert.Equal(t, 2, ownRows(t, d))

		q, _, rollback := own() // an event that cannot be
		_, err = d.CommitWith(testkit.Within(t), q, desk.Joe, func() error { panic("not to be called") }, desk.Remark(0, "no ticket"))
		require.ErrorIs(t, err, tracbus.ErrNotCommitted)
		assert.ErrorContains(t, err, "expected a number from 1")
		rollback()

		q, _, rollback = own() // the application changes its mind
		no := errors.New("no")
		_, err = d.CommitWith(testkit.Within(t), q, desk.Joe, func() error { return no }, desk.Remark(1, "never"))
		require.ErrorIs(t, err, tracbus.ErrNotCommitted)
		assert.ErrorIs(t, err, no)
		rollback()

		q, commit, _ = own() // the answer is lost
		tid, err = d.CommitWith(testkit.Within(t), q, desk.Joe, func() error { _ = commit(); return no }, desk.Remark(1, "lost"))
		require.NoError(t, err)
		assert.NotZero(t, tid)
		assert.Equal(t, 3, ownRows(t, d))

		q, _, rollback = own()
		_, err = d.CommitWith(testkit.Within(t), q, desk.Joe, func() error { rollback(); return no }, desk.Remark(1, "never"))
		require.ErrorIs(t, err, tracbus.ErrNotCommitted)
		assert.ErrorIs(t, err, no)

		conn, err := d.DB.Conn(testkit.Within(t)) // no transaction
		require.NoError(t, err)
		defer conn.Close()
		_, err = d.CommitWith(testkit.Within(t), conn, desk.Joe, func() error { panic("not to be called") }, desk.Remark(1, "never"))
		require.ErrorIs(t, err, tracbus.ErrNotCommitted)
		assert.Equal(t, 3, ownRows(t, d))
		told("lost")
	})
}

// TestCommitWithCanceled: a context that ends between Flush and COMMIT rolls a *sql.Tx back, and
// the caller learns that.
func TestCommitWithCanceled(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		tx, err := d.DB.BeginTx(ctx, &sql.TxOptions{})
		require.NoError(t, err)
		_, err = d.CommitWith(ctx, tx, desk.Joe, func() error { cancel(); return tx.Commit() }, desk.Remark(1, "never"))
		require.ErrorIs(t, err, tracbus.ErrNotCommitted)
		if !errors.Is(err, sql.ErrTxDone) { // package sql has rolled it back before Commit looked
			assert.ErrorIs(t, err, context.Canceled)
		}
		assert.Zero(t, stored(t, d.DB, "never"))
	})
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestForgottenFlush: changes that were recorded in a joined transaction, and never flushed, are
// not lost in silence, whether the application calls Notify or drops the transaction.
func TestForgottenFlush(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		var log lines
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Journal: tracbus.JournalConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))}})
		forget := func(id int64, with func(tx *tracbus.ModelTransaction)) {
			q, commit, _ := begin(t, d, s.Dialect)
			tx, err := d.Join(q)
			require.NoError(t, err)
			require.NoError(t, tx.Prepare(desk.Joe, ""))
			if id > 0 {
				require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(id, "forgotten")))
			}
			with(tx)
			commit()
		}
		forget(1, func(tx *tracbus.ModelTransaction) { tx.Notify() })
		assert.Contains(t, log.String(), `a joined transaction was committed without Flush`)
		assert.Contains(t, log.String(), `resource="ticket 1"`)

		forget(2, func(*tracbus.ModelTransaction) {})
		testkit.Until(t, "the second is said to be dropped", func() bool {
			runtime.GC()
			return bytes.Contains([]byte(log.String()), []byte(`resource="ticket 2"`))
		})
		assert.Contains(t, log.String(), "a joined transaction was dropped without Flush")

		// Of these nothing is lost, or the application knows.
		forget(0, func(*tracbus.ModelTransaction) {})
		forget(3, func(tx *tracbus.ModelTransaction) { tx.Rollback() })
		forget(4, func(tx *tracbus.ModelTransaction) {
			_, err := tx.Flush(testkit.Within(t))
			require.NoError(t, err)
			tx.Notify()
		})
		forget(5, func(*tracbus.ModelTransaction) {})
		testkit.Until(t, "the last is said to be dropped", func() bool {
			runtime.GC()
			return bytes.Contains([]byte(log.String()), []byte(`resource="ticket 5"`))
		})
		for _, fine := range []string{"ticket 3", "ticket 4"} {
			assert.NotContains(t, log.String(), fine)
		}
	})
}
