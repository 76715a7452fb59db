package journal_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestMisusedTransactions does to transactions what applications do by mistake:
// what is told must be what is stored, and nobody may wait for ever.
func TestMisusedTransactions(t *testing.T) {
	tests := []struct {
		name string
		run  func(*testing.T, *testdatabase.Server, *desk.Desk)
	}{
		{"the application rolls back by itself", testRollbackInside},
		{"a text with the word for chaining, in a savepoint", testChainInText},
		{"a joined transaction that ended before Flush", testJoinedEnded},
		{"what is no transaction is not joined", testJoinNothing},
		{"Notify after a rollback", testNotifyAfterRollback},
		{"rows that are left open", testOpenRows},
		{"rows that are open at the commit", testOpenAtCommit},
		{"rows that are open at the next statement", testOpenAtStatement},
		{"rows that are open at the commit of the application", testOpenAtFlush},
		{"rows that a Load leaves open", testOpenAfterLoad},
		{"Commit within Update", testCommitInside},
		{"a transaction of two goroutines", testTwoGoroutines},
		{"a transaction of another goroutine", testOtherGoroutine},
		{"the usual deferred Rollback", testDeferredRollback},
		{"Fields that change before the commit", testFieldsChange},
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				dsn := s.DSN(s.Name())
				d := desk.Seat(t, s, dsn, desk.Config{})
				_, err := d.DB.ExecContext(testkit.Within(t), "CREATE TABLE own (n INTEGER)")
				require.NoError(t, err)
				test.run(t, s, d)
				last := d.Say(t, "last", 1) // nobody is held up
				require.NoError(t, d.Wait(testkit.Within(t), last))
				desk.CheckJournal(t, s.Open(t, dsn), s.Dialect, "ticket", "wiki")
			})
		}
	})
}

// ownRows counts what the application wrote.
func ownRows(t *testing.T, d *desk.Desk) (n int) {
	t.Helper()
	require.NoError(t, d.DB.QueryRowContext(testkit.Within(t), "SELECT count(*) FROM own").Scan(&n))
	return n
}

func testRollbackInside(t *testing.T, s *testdatabase.Server, d *desk.Desk) {
	sizes := []int{10}
	if s.Dialect == "mysql" {
		sizes = append(sizes, 9<<20) // too long for one round trip
	}
	ends := map[string][][]string{
		"postgresql": {{"ROLLBACK"}, {"ROLLBACK", "BEGIN"}, {"ROLLBACK", "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE"}, {"ROLLBACK AND CHAIN"},
			{"rollback /* and */ and chain"}, {"SAVEPOINT a", "ABORT AND Chain"}, {"SELECT 'chain'", "ROLLBACK AND CHAIN"}},
		"mysql":  {{"ROLLBACK"}, {"ROLLBACK", "BEGIN"}, {"ROLLBACK", "START TRANSACTION READ WRITE"}, {"ROLLBACK AND CHAIN"}},
		"sqlite": {{"ROLLBACK"}, {"ROLLBACK", "BEGIN"}, {"ROLLBACK", "BEGIN IMMEDIATE"}},
	}[s.Dialect]
	for _, size := range sizes {
		for _, statements := range ends {
			_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				if err := tx.Record(testkit.Within(t), desk.Remark(1, "never")); err != nil {
					return err
				}
				_, err := tx.SQL().ExecContext(testkit.Within(t), "INSERT INTO own VALUES (1)")
				require.NoError(t, err)
				for _, statement := range statements {
					_, err = tx.SQL().ExecContext(testkit.Within(t), statement)
					require.NoError(t, err)
				}
				return tx.Record(testkit.Within(t), desk.Remark(2, strings.Repeat("x", size)))
			})
			assert.ErrorIs(t, err, tracbus.ErrNotCommitted, "%d bytes, after %q", size, statements)
		}
	}
	assert.Zero(t, ownRows(t, d))
	assert.Zero(t, stored(t, d.DB, "never"))
}

func testChainInText(t *testing.T, _ *testdatabase.Server, d *desk.Desk) {
	_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		for _, statement := range []string{"SAVEPOINT a", "INSERT INTO own SELECT 1 WHERE 'rollback and chain' <> ''", "ROLLBACK TO SAVEPOINT a", "INSERT INTO own VALUES (2)"} {
			if _, err := tx.SQL().ExecContext(testkit.Within(t), statement); err != nil {
				return err
			}
		}
		return tx.Record(testkit.Within(t), desk.Remark(1, "told"))
	})
	require.NoError(t, err)
	assert.Equal(t, 1, ownRows(t, d))
	assert.Equal(t, 1, stored(t, d.DB, "told"))
}

func testJoinedEnded(t *testing.T, s *testdatabase.Server, d *desk.Desk) {
	conn, err := d.DB.Conn(testkit.Within(t))
	require.NoError(t, err)
	defer conn.Close()
	how := "BEGIN"
	if s.Dialect == "sqlite" {
		how = "BEGIN IMMEDIATE"
	}
	_, err = conn.ExecContext(testkit.Within(t), how)
	require.NoError(t, err)
	tx, err := d.Join(conn)
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "never")))
	_, err = conn.ExecContext(testkit.Within(t), "ROLLBACK") // as a server does that finds a deadlock
	require.NoError(t, err)
	_, err = tx.Flush(testkit.Within(t))
	assert.ErrorContains(t, err, "flush: ")
	assert.Zero(t, stored(t, d.DB, "never"))
}

func testJoinNothing(t *testing.T, _ *testdatabase.Server, d *desk.Desk) {
	_, err := d.Join(d.DB)
	assert.EqualError(t, err, "join: expected a transaction that was begun, such as *sql.Tx, got *sql.DB")
	_, err = d.Join(nil)
	assert.ErrorContains(t, err, "got <nil>")

	conn, err := d.DB.Conn(testkit.Within(t))
	require.NoError(t, err)
	defer conn.Close()
	tx, err := d.Join(conn) // without BEGIN
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	err = tx.Record(testkit.Within(t), desk.Remark(1, "never"))
	if err == nil {
		_, err = tx.Flush(testkit.Within(t))
	}
	assert.Error(t, err)
	assert.Zero(t, stored(t, d.DB, "never"))
}

func testNotifyAfterRollback(t *testing.T, s *testdatabase.Server, _ *desk.Desk) {
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
	q, _, rollback := begin(t, d, s.Dialect)
	tx := joined(t, d, q, "never")
	rollback()
	tx.Notify()
	idle, cancel := context.WithTimeout(testkit.Within(t), 15*time.Second)
	defer cancel()
	assert.NoError(t, d.Journal.Close(idle), "it does not wait for a tid that never comes")
}

func testOpenRows(t *testing.T, _ *testdatabase.Server, d *desk.Desk) {
	for _, how := range []string{"error", "panic", "row"} {
		run := func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = p.(error)
				}
			}()
			_, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				if how == "row" {
					_ = tx.SQL().QueryRowContext(testkit.Within(t), "SELECT uuid FROM journal_facts") // and no Scan
					return errors.New("row")
				}
				rows, err := tx.SQL().QueryContext(testkit.Within(t), "SELECT uuid FROM journal_facts")
				require.NoError(t, err)
				require.True(t, rows.Next())
				if how == "panic" {
					panic(errors.New("panic"))
				}
				return errors.New("error")
			})
			return err
		}
		assert.ErrorContains(t, run(), how)
	}
}

func testCommitInside(t *testing.T, _ *testdatabase.Server, d *desk.Desk) {
	_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "inside")))
		_, err := tx.Commit(testkit.Within(t))
		assert.EqualError(t, err, "commit: Update commits this transaction when its function returns")
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, 1, stored(t, d.DB, "inside"))

	_, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		tx.Rollback()
		return nil
	})
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
}

func testDeferredRollback(t *testing.T, s *testdatabase.Server, d *desk.Desk) {
	q, commit, _ := begin(t, d, s.Dialect)
	tx := joined(t, d, q, "joined")
	commit()
	tx.Rollback()
	tid, err := tx.Outcome(testkit.Within(t))
	require.NoError(t, err)
	assert.NotZero(t, tid)
}

// TestRefusedCommit has the database refuse a COMMIT, which is an answer.
func TestRefusedCommit(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgresql"} { // MySQL knows no constraint that is checked at the end
		s := testdatabase.New(t, dialect)
		dsn := s.DSN(s.Name())
		if dialect == "sqlite" {
			dsn += "&_pragma=foreign_keys(1)"
		}
		d := desk.Seat(t, s, dsn, desk.Config{})
		for _, statement := range []string{
			"CREATE TABLE parent (id INTEGER PRIMARY KEY)",
			"CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
		} {
			_, err := d.DB.ExecContext(testkit.Within(t), statement)
			require.NoError(t, err)
		}
		for _, tells := range []bool{true, false} {
			_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				_, err := tx.SQL().ExecContext(testkit.Within(t), "INSERT INTO child VALUES (7)")
				require.NoError(t, err)
				if tells {
					return tx.Record(testkit.Within(t), desk.Remark(1, "orphan"))
				}
				return nil
			})
			assert.ErrorIs(t, err, tracbus.ErrNotCommitted, "with something to tell: %t", tells)
			assert.NotErrorIs(t, err, tracbus.ErrCommitUnknown)
		}
		assert.Zero(t, stored(t, d.DB, "orphan"))
	}
}

// TestShortDeadlines ends the caller's context at any moment of an Update: the
// word is found out all the same.
func TestShortDeadlines(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
		committed := 0
		for i := range 60 {
			ctx, cancel := context.WithTimeout(testkit.Within(t), time.Duration(i)*100*time.Microsecond)
			_, err := d.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
				return tx.Record(ctx, desk.Remark(1, "short"))
			})
			cancel()
			if err == nil {
				committed++
			} else {
				require.ErrorIs(t, err, tracbus.ErrNotCommitted)
			}
		}
		assert.Equal(t, committed, stored(t, d.DB, "short"))
	})
}

// TestJoinedGivenUp: an application that rolls its own transaction back need not tell the
// library: nothing is left of what it prepared.
func TestJoinedGivenUp(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Idle: true})
		_, err := d.DB.ExecContext(testkit.Within(t), "CREATE TABLE own (n INTEGER)")
		require.NoError(t, err)
		q, _, rollback := begin(t, d, s.Dialect)
		tx, err := d.Join(q)
		require.NoError(t, err)
		stmt, err := tx.SQL().PrepareContext(testkit.Within(t), "INSERT INTO own VALUES (1)")
		require.NoError(t, err)
		for range 2 {
			_, err = stmt.ExecContext(testkit.Within(t))
			require.NoError(t, err)
		}
		require.NoError(t, stmt.Close())
		rollback()
		assert.Zero(t, ownRows(t, d))
	})
}

// testFieldsChange changes the Fields of an event that was recorded: they are the
// caller's again.
func testFieldsChange(t *testing.T, _ *testdatabase.Server, d *desk.Desk) {
	all := []tracbus.Fields{{"status": "closed", "owner": "joe"}, {"status": "closed"}, {"status": "new"}}
	tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		err := tx.Record(testkit.Within(t), tracbus.TicketChanged{ID: 1, Values: all[0], New: all[1], Old: all[2]})
		for _, f := range all {
			f["status"], f["owner"] = "changed", "after Record"
		}
		return err
	})
	require.NoError(t, err)
	require.NoError(t, d.Wait(testkit.Within(t), tid))
	events, _ := d.Heard()
	require.Len(t, events, 1)
	e := events[0].(tracbus.TicketChanged)
	assert.Equal(t, []tracbus.Fields{{"status": "closed", "owner": "joe"}, {"status": "closed"}, {"status": "new"}}, []tracbus.Fields{e.Values, e.New, e.Old})
}
