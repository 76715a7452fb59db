// Package journal_test tests the journal on each database.
package journal_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestJournal is what every database must do. After each test the invariants of
// its journal are checked.
func TestJournal(t *testing.T) {
	tests := []struct {
		name string
		run  func(*testing.T, *testdatabase.Server, string)
	}{
		{"a commit is told once, here as primary and there as secondary", testPrimaryAndSecondary},
		{"what is rolled back is told to nobody", testRollback},
		{"a swallowed error cannot be committed", testPoison},
		{"a transaction that was lost on the way cannot be committed", testLostTransaction},
		{"misuse is refused", testMisuse},
		{"changes of one resource in a transaction are one", testMerge},
		{"the application's own transaction", testJoin},
		{"the application's own statements", testOwnSQL},
		{"nothing overtakes a transaction that is held open", testHeldOpen},
		{"a slow listener loses nothing", testSlowListener},
		{"load, then follow, without a gap", testLoad},
		{"reading back", testReadBack},
		{"reading back, the newest first", testReadBefore},
		{"going on behind a change that was seen", testResume},
		{"prune", testPrune},
		{"close tells what was committed", testClose},
		{"the trace of a request is stored with its changes", testTrace},
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				dsn := s.DSN(s.Name())
				test.run(t, s, dsn)
				desk.CheckJournal(t, s.Open(t, dsn), s.Dialect, "ticket", "wiki")
			})
		}
	})
}

func testPrimaryAndSecondary(t *testing.T, s *testdatabase.Server, dsn string) {
	a, b := desk.Seat(t, s, dsn, desk.Config{}), desk.Seat(t, s, dsn, desk.Config{})
	var last int64
	var want []string
	for i := range 10 {
		d := []*desk.Desk{a, b}[i%2]
		want = append(want, fmt.Sprint(i), fmt.Sprint(i))
		last = d.Say(t, fmt.Sprint(i), 1, 2)
	}
	for _, d := range []*desk.Desk{a, b} {
		require.NoError(t, d.Wait(testkit.Within(t), last))
		all, primary := d.Heard()
		assert.Equal(t, want, desk.Comments(all))
		assert.Len(t, primary, 10)
		for i, e := range all {
			assert.Equal(t, i%2, e.About().Seq, "place in the transaction of %s", desk.Line(e))
			assert.Equal(t, desk.Joe, tracbus.Actor{Author: e.About().Author, IPNR: e.About().IPNR, Authenticated: e.About().Authenticated})
		}
	}
	allA, primaryA := a.Heard()
	allB, primaryB := b.Heard()
	assert.Equal(t, []string{"0", "0", "2", "2", "4", "4", "6", "6", "8", "8"}, desk.Comments(primaryA))
	assert.Equal(t, []string{"1", "1", "3", "3", "5", "5", "7", "7", "9", "9"}, desk.Comments(primaryB))
	for i := range allA {
		as := func(e tracbus.Event) tracbus.Event {
			c := e.About()
			c.Primary = false
			return e.WithChange(c)
		}
		assert.Equal(t, as(allA[i]), as(allB[i]), "the same event but for who made it")
		assert.NotEqual(t, allA[i].About().Primary, allB[i].About().Primary, "primary in one process: %s", desk.Line(allA[i]))
	}
}

func testRollback(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{})
	no := errors.New("no")
	tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "never")))
		return no
	})
	assert.ErrorIs(t, err, no)
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
	assert.Zero(t, tid)

	assert.PanicsWithValue(t, "no", func() {
		_, _ = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "never")))
			panic("no")
		})
	})

	tx, err := d.Begin(testkit.Within(t))
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "never")))
	tx.Rollback()
	_, err = tx.Outcome(testkit.Within(t))
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)

	tid, err = d.Update(testkit.Within(t), desk.Joe, func(*tracbus.ModelTransaction) error { return nil })
	assert.NoError(t, err)
	assert.Zero(t, tid, "nothing to tell")

	last := d.Say(t, "once", 1)
	require.NoError(t, d.Wait(testkit.Within(t), last))
	all, primary := d.Heard()
	assert.Equal(t, []string{"once"}, desk.Comments(all))
	assert.Equal(t, []string{"once"}, desk.Comments(primary))
}

// failing is a Model that fails, after it has written what it can.
type failing struct{ err error }

func (failing) Resource() tracbus.Resource {
	return tracbus.Resource{Realm: tracbus.RealmTicket, ID: "7"}
}

func (m failing) Save(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	if m.err == nil {
		return nil, tx.Save(ctx, m)
	}
	return nil, m.err
}

func (failing) Delete(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	panic("deleted")
}

func testPoison(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{})
	broken := errors.New("broken")
	_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "never")))
		err := tx.Save(testkit.Within(t), failing{broken})
		assert.EqualError(t, err, "save ticket 7: broken")
		assert.ErrorContains(t, tx.Record(testkit.Within(t), desk.Remark(1, "never")), "poisoned by: save ticket 7: broken")
		return nil
	})
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
	assert.ErrorIs(t, err, broken)

	_, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		assert.ErrorContains(t, tx.Save(testkit.Within(t), failing{}), "a Model must not save others")
		return nil
	})
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)

	_, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		assert.PanicsWithValue(t, "deleted", func() { _ = tx.Delete(testkit.Within(t), failing{}) })
		return nil
	})
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)

	last := d.Say(t, "after", 1)
	require.NoError(t, d.Wait(testkit.Within(t), last))
	all, _ := d.Heard()
	assert.Equal(t, []string{"after"}, desk.Comments(all))
}

// testLostTransaction has a transaction end before its commit, as servers end
// those that deadlock, and an application that does not look at errors.
func testLostTransaction(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{})
	_, err := d.DB.ExecContext(testkit.Within(t), "CREATE TABLE own (n INTEGER)")
	require.NoError(t, err)
	for _, tells := range []bool{true, false} {
		_, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			_, _ = tx.SQL().ExecContext(testkit.Within(t), "INSERT INTO own VALUES (1)")
			if s.Dialect == "postgresql" {
				_, _ = tx.SQL().ExecContext(testkit.Within(t), "INSERT INTO nowhere VALUES (1)") // fails, and all after it
				return nil
			}
			_, _ = tx.SQL().ExecContext(testkit.Within(t), "ROLLBACK")
			if tells {
				_ = tx.Record(testkit.Within(t), desk.Remark(1, "never"))
			}
			return nil
		})
		assert.ErrorIs(t, err, tracbus.ErrNotCommitted, "with something to tell: %t", tells)
	}
	var n int
	require.NoError(t, d.DB.QueryRowContext(testkit.Within(t), "SELECT (SELECT count(*) FROM own) + (SELECT count(*) FROM journal_change)").Scan(&n))
	assert.Zero(t, n, "rows that were left")
}

func testMisuse(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{})
	ctx := testkit.Within(t)
	require.NoError(t, d.Wait(ctx, d.Say(t, "it runs", 1)))
	begun := func() *tracbus.ModelTransaction {
		tx, err := d.Begin(ctx)
		require.NoError(t, err)
		return tx
	}
	tx := begun()
	assert.EqualError(t, tx.Record(ctx, desk.Remark(1, "x")), "record ticket 1: the transaction is begun, not prepared: expected one that is prepared")
	_, err := tx.Commit(ctx)
	assert.EqualError(t, err, "commit: the transaction is begun, not prepared: expected one that is prepared")
	assert.ErrorContains(t, tx.Prepare(desk.Joe, "moved"), `prepare: kind "moved": expected "created"`)
	require.NoError(t, tx.Prepare(desk.Joe, tracbus.KindCreated))
	assert.EqualError(t, tx.Prepare(desk.Joe, ""), "prepare: the transaction is prepared: expected one that was just begun")
	_, err = tx.Flush(ctx)
	assert.ErrorContains(t, err, "expected Commit")
	_, err = d.Join(tx.SQL())
	assert.ErrorContains(t, err, "it is the SQL of a ModelTransaction")
	assert.EqualError(t, tx.Record(ctx, desk.Remark(1, "x")), `record ticket 1: it is "changed", and the transaction was prepared for "created"`)
	_, err = tx.Commit(ctx)
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
	_, err = tx.Commit(ctx)
	assert.EqualError(t, err, "commit: the transaction is rolled back: expected one that is prepared")
	assert.ErrorContains(t, tx.Record(ctx, desk.Remark(1, "x")), "the transaction was poisoned by")

	tx = begun()
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	tid, err := tx.Commit(ctx)
	require.NoError(t, err)
	assert.Zero(t, tid)
	tx.Rollback()
	_, err = tx.SQL().ExecContext(ctx, "SELECT 1")
	assert.ErrorContains(t, err, "the ModelTransaction has ended")
	assert.ErrorContains(t, tx.Record(ctx, desk.Remark(1, "x")), "the transaction is committed")

	assert.ErrorIs(t, d.Bus.Notify(desk.Remark(1, "x")), tracbus.ErrBusHasJournal)
	_, err = tracbus.OpenJournal(ctx, d.DB, d.Bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect)})
	assert.EqualError(t, err, "open journal: the bus has a journal already")
	assert.EqualError(t, d.Run(ctx), "run: it runs already")
}

func testMerge(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{})
	f := func(pairs ...string) tracbus.Fields {
		fields := tracbus.Fields{}
		for i := 0; i < len(pairs); i += 2 {
			fields[pairs[i]] = pairs[i+1]
		}
		return fields
	}
	last, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		return errors.Join(
			tx.Record(testkit.Within(t), tracbus.TicketChanged{ID: 1, Change: tracbus.Change{Comment: "first"}, Values: f("a", "2", "b", "2", "c", "1"), Old: f("a", "1", "b", "1")}),
			tx.Record(testkit.Within(t), tracbus.TicketCreated{ID: 2, Values: f("a", "1", "b", "1")}),
			tx.Record(testkit.Within(t), tracbus.TicketChanged{ID: 1, Values: f("a", "3", "b", "1", "c", "2"), Old: f("a", "2", "b", "2", "c", "1")}),
			tx.Record(testkit.Within(t), tracbus.TicketChanged{ID: 2, Change: tracbus.Change{Comment: "second"}, Values: f("a", "2", "b", "1"), Old: f("a", "1")}),
			tx.Record(testkit.Within(t), tracbus.TicketCreated{ID: 3, Values: f("a", "1")}),
			tx.Record(testkit.Within(t), tracbus.TicketDeleted{ID: 3, Values: f("a", "1")}),
			tx.Record(testkit.Within(t), tracbus.TicketChanged{ID: 4, Values: f("a", "2"), Old: f("a", "1")}),
			tx.Record(testkit.Within(t), tracbus.TicketDeleted{ID: 4, Values: f("a", "2")}),
		)
	})
	require.NoError(t, err)
	require.NoError(t, d.Wait(testkit.Within(t), last))
	all, _ := d.Heard()
	require.Len(t, all, 3, "%s", desk.Lines(all))
	changed := all[0].(tracbus.TicketChanged)
	assert.Equal(t, f("a", "3", "b", "1", "c", "2"), changed.Values)
	assert.Equal(t, f("a", "3", "c", "2"), changed.New)
	assert.Equal(t, f("a", "1", "c", "1"), changed.Old)
	assert.Equal(t, "first", changed.Comment)
	created := all[1].(tracbus.TicketCreated)
	assert.Equal(t, f("a", "2", "b", "1"), created.Values)
	assert.Equal(t, "second", created.Comment)
	assert.Equal(t, f("a", "2"), all[2].(tracbus.TicketDeleted).Values)
}

// begin begins a transaction as an application does, for writing.
func begin(t *testing.T, d *desk.Desk, dialect string) (q tracbus.SQL, commit, rollback func()) {
	t.Helper()
	ctx := testkit.Within(t)
	if dialect == "sqlite" { // database/sql knows no BEGIN IMMEDIATE
		conn, err := d.DB.Conn(ctx)
		require.NoError(t, err)
		_, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE")
		require.NoError(t, err)
		end := func(how string) func() {
			return func() {
				_, err := conn.ExecContext(ctx, how)
				require.NoError(t, err)
				require.NoError(t, conn.Close())
			}
		}
		return conn, end("COMMIT"), end("ROLLBACK")
	}
	tx, err := d.DB.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	require.NoError(t, err)
	return tx, func() { require.NoError(t, tx.Commit()) }, func() { require.NoError(t, tx.Rollback()) }
}

// joined flushes a remark into the application's transaction q.
func joined(t *testing.T, d *desk.Desk, q tracbus.SQL, comment string) *tracbus.ModelTransaction {
	t.Helper()
	tx, err := d.Join(q)
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, comment)))
	_, err = tx.Commit(testkit.Within(t))
	require.ErrorContains(t, err, "expected Flush, and its own commit")
	tid, err := tx.Flush(testkit.Within(t))
	require.NoError(t, err)
	require.NotZero(t, tid)
	return tx
}

func testJoin(t *testing.T, s *testdatabase.Server, dsn string) {
	a, b := desk.Seat(t, s, dsn, desk.Config{}), desk.Seat(t, s, dsn, desk.Config{})
	for _, comment := range []string{"one", "two", "rolled back", "three"} {
		q, commit, rollback := begin(t, a, s.Dialect)
		tx := joined(t, a, q, comment)
		if comment == "rolled back" {
			rollback()
			_, err := tx.Outcome(testkit.Within(t))
			assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
			continue
		}
		commit()
		if comment != "two" { // the follower finds it without a hint
			tx.Notify()
		}
		tid, err := tx.Outcome(testkit.Within(t))
		require.NoError(t, err)
		require.NoError(t, a.Wait(testkit.Within(t), tid))
		require.NoError(t, b.Wait(testkit.Within(t), tid))
	}
	for _, d := range []*desk.Desk{a, b} {
		all, primary := d.Heard()
		assert.Equal(t, []string{"one", "two", "three"}, desk.Comments(all))
		if d == a {
			assert.Equal(t, []string{"one", "two", "three"}, desk.Comments(primary))
		} else {
			assert.Empty(t, primary)
		}
	}
}

func testOwnSQL(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{})
	ctx := testkit.Within(t)
	_, err := d.DB.ExecContext(ctx, "CREATE TABLE own (n INTEGER)")
	require.NoError(t, err)
	for _, ok := range []bool{true, false} {
		_, err := d.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
			statement, err := tx.SQL().PrepareContext(ctx, "INSERT INTO own VALUES (1)")
			require.NoError(t, err)
			defer statement.Close()
			_, err = statement.ExecContext(ctx)
			require.NoError(t, err)
			var n int
			require.NoError(t, tx.SQL().QueryRowContext(ctx, "SELECT count(*) FROM own").Scan(&n))
			rows, err := tx.SQL().QueryContext(ctx, "SELECT n FROM own")
			require.NoError(t, err)
			seen := 0
			for rows.Next() {
				seen++
			}
			require.NoError(t, errors.Join(rows.Err(), rows.Close()))
			assert.Equal(t, n, seen)
			if !ok {
				return errors.New("no")
			}
			return nil
		})
		assert.Equal(t, ok, err == nil)
	}
	var n int
	require.NoError(t, d.DB.QueryRowContext(ctx, "SELECT count(*) FROM own").Scan(&n))
	assert.Equal(t, 1, n)
}

func testHeldOpen(t *testing.T, s *testdatabase.Server, dsn string) {
	a, b := desk.Seat(t, s, dsn, desk.Config{}), desk.Seat(t, s, dsn, desk.Config{})
	for _, how := range []string{"commit", "rollback"} {
		q, commit, rollback := begin(t, a, s.Dialect)
		joined(t, a, q, "held "+how)

		var others []chan int64
		for i := range 3 { // behind it, on databases that let them; else they wait
			told := make(chan int64, 1)
			others = append(others, told)
			behind := func() { told <- b.Say(t, fmt.Sprint("behind ", how, i), int64(10+i)) }
			if s.Dialect != "sqlite" {
				behind()
			} else {
				go behind()
			}
		}
		if idle := map[string]string{"postgresql": "idle in transaction", "mysql": "sleep"}[s.Dialect]; idle != "" {
			st, err := b.Status(testkit.Within(t))
			require.NoError(t, err)
			require.Len(t, st.Blockers, 1)
			assert.Contains(t, st.Blockers[0].Session, idle)
			assert.Equal(t, st.Position+4, st.Head)
			all, _ := b.Heard()
			assert.NotContains(t, desk.Comments(all), "behind "+how+"0")
		}
		if how == "commit" {
			commit()
		} else {
			rollback()
		}
		for _, told := range others {
			tid := <-told
			require.NoError(t, a.Wait(testkit.Within(t), tid))
			require.NoError(t, b.Wait(testkit.Within(t), tid))
		}
	}
	allA, _ := a.Heard()
	allB, _ := b.Heard()
	assert.Equal(t, desk.Comments(allA), desk.Comments(allB))
	assert.Equal(t, "held commit", desk.Comments(allA)[0])
	assert.Len(t, allA, 7)
	assert.NotContains(t, desk.Comments(allA), "held rollback")
}

func testSlowListener(t *testing.T, s *testdatabase.Server, dsn string) {
	gate := make(chan struct{})
	var slow []int64
	d := desk.Seat(t, s, dsn, desk.Config{
		Bus:     tracbus.BusConfig{QueueSize: 3, BatchSize: 2},
		Journal: tracbus.JournalConfig{BatchSize: 4},
		Before: func(b *tracbus.Bus) {
			tracbus.On(b, tracbus.Everywhere, func(_ context.Context, e tracbus.TicketChanged) error {
				<-gate
				slow = append(slow, e.TID)
				return nil
			})
		},
	})
	var want []int64
	for i := range 40 {
		tid := d.Say(t, fmt.Sprint(i), 1, 2) // two events each
		want = append(want, tid, tid)
	}
	d.Until(t, "all of it, whatever another listener does", func(all, primary []tracbus.Event) bool {
		return len(all) == 80 && len(primary) == 80
	})
	close(gate)
	require.NoError(t, d.Wait(testkit.Within(t), want[len(want)-1]))
	assert.Equal(t, want, slow, "neither lost nor told twice")
	for _, st := range d.Bus.Status() {
		assert.Zero(t, st.Dropped, st.Listener)
	}
}

// tally is a LoadListener that counts: from the table what it is loaded with,
// and from events what comes after. Both must agree for ever.
type tally struct {
	loads int
	n     int64
	fail  bool // the next event asks to be loaded anew
}

func (l *tally) Load(ctx context.Context, s *tracbus.Snapshot) error {
	l.loads++
	return s.QueryRowContext(ctx, "SELECT n FROM tally").Scan(&l.n)
}

func (l *tally) TicketCreated(context.Context, tracbus.TicketCreated) error { return nil }
func (l *tally) TicketDeleted(context.Context, tracbus.TicketDeleted) error { return nil }

func (l *tally) TicketChanged(_ context.Context, e tracbus.TicketChanged) error {
	if l.fail {
		l.fail = false
		return tracbus.ErrNeedsLoad
	}
	l.n++
	if want := e.Values["n"]; want != json.Number(fmt.Sprint(l.n)) {
		return fmt.Errorf("at tid %d the table had %s, and the listener counts %d", e.TID, want, l.n)
	}
	return nil
}

func testLoad(t *testing.T, s *testdatabase.Server, dsn string) {
	a := desk.Seat(t, s, dsn, desk.Config{})
	ctx := testkit.Within(t)
	_, err := a.DB.ExecContext(ctx, "CREATE TABLE tally (n INTEGER)")
	require.NoError(t, err)
	_, err = a.DB.ExecContext(ctx, "INSERT INTO tally VALUES (0)")
	require.NoError(t, err)
	count := func(ctx context.Context) (int64, error) {
		return a.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
			if err := tx.Lock(ctx, tracbus.Resource{Realm: tracbus.RealmTicket, ID: "1"}); err != nil {
				return err
			}
			if _, err := tx.SQL().ExecContext(ctx, "UPDATE tally SET n = n + 1"); err != nil {
				return err
			}
			var n int64
			if err := tx.SQL().QueryRowContext(ctx, "SELECT n FROM tally").Scan(&n); err != nil {
				return err
			}
			return tx.Record(ctx, tracbus.TicketChanged{ID: 1, Values: tracbus.Fields{"n": n}, Old: tracbus.Fields{"n": n - 1}})
		})
	}
	stop, cancel := context.WithCancel(ctx)
	wrote := make(chan error, 1)
	go func() {
		for stop.Err() == nil {
			if _, err := count(ctx); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	var tallies []*tally
	var desks []*desk.Desk
	for i := range 8 { // each comes while the table changes
		l := &tally{fail: i%2 == 1}
		tallies = append(tallies, l)
		desks = append(desks, desk.Seat(t, s, dsn, desk.Config{Before: func(b *tracbus.Bus) {
			if i < 4 {
				b.Ticket(tracbus.Everywhere, l)
			}
		}}))
		if i >= 4 {
			desks[i].Bus.Ticket(tracbus.Everywhere, l)
		}
		desks[i].Until(t, "a few changes", func(all, _ []tracbus.Event) bool { return len(all) > 5 })
	}
	cancel()
	require.NoError(t, <-wrote)
	last, err := count(ctx)
	require.NoError(t, err)
	var n int64
	require.NoError(t, a.DB.QueryRowContext(ctx, "SELECT n FROM tally").Scan(&n))
	for i, d := range desks {
		require.NoError(t, d.Wait(ctx, last))
		assert.Equal(t, n, tallies[i].n, "listener %d, loaded %d times", i, tallies[i].loads)
		assert.Equal(t, 1+i%2, tallies[i].loads)
		for _, st := range d.Bus.Status() {
			assert.NoError(t, st.LastError)
		}
	}
}

func testReadBack(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{BatchSize: 3}})
	var tids []int64
	for i := range 10 {
		tids = append(tids, d.Say(t, fmt.Sprint(i), 1, int64(2+i%2)))
	}
	require.NoError(t, d.Wait(testkit.Within(t), tids[9]))
	all, _ := d.Heard()
	for _, after := range []int64{0, tids[0], tids[4], tids[9], tids[9] + 100} {
		var read, want []tracbus.Event
		for e, err := range d.Since(testkit.Within(t), after) {
			require.NoError(t, err)
			read = append(read, e)
		}
		for _, e := range all {
			if e.About().TID > after {
				want = append(want, e)
			}
		}
		assert.Equal(t, want, read, "since %d", after)
	}
	var history []tracbus.Event
	for e, err := range d.History(testkit.Within(t), tracbus.Resource{Realm: tracbus.RealmTicket, ID: "2"}) {
		require.NoError(t, err)
		history = append(history, e)
	}
	assert.Equal(t, []string{"0", "2", "4", "6", "8"}, desk.Comments(history))
	for _, err := range d.History(testkit.Within(t), tracbus.Resource{Realm: "milestone", ID: "2"}) {
		assert.EqualError(t, err, "history of milestone 2: the journal has no such realm: expected one of [ticket wiki]")
	}
	for e, err := range d.Since(testkit.Within(t), 0) { // leaving early leaves nothing behind
		require.NoError(t, err)
		assert.Equal(t, tids[0], e.About().TID)
		break
	}
}

func testPrune(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{})
	var tids []int64
	for i := range 10 {
		tids = append(tids, d.Say(t, fmt.Sprint(i), 1))
	}
	require.NoError(t, d.Wait(testkit.Within(t), tids[9]))
	_, err := d.Prune(testkit.Within(t), tracbus.Retention{})
	assert.ErrorContains(t, err, "expected KeepFor or KeepLast above zero")
	n, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepFor: testkit.Patience, KeepLast: 4})
	require.NoError(t, err)
	assert.Zero(t, n, "all are young")
	n, err = d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 4})
	require.NoError(t, err)
	assert.EqualValues(t, 6, n)
	since := func(tid int64) (read []string, err error) {
		for e, err := range d.Since(testkit.Within(t), tid) {
			if err != nil {
				return read, err
			}
			read = append(read, e.About().Comment)
		}
		return read, nil
	}
	_, err = since(0)
	assert.ErrorIs(t, err, tracbus.ErrPruned)
	_, err = since(tids[4])
	assert.ErrorIs(t, err, tracbus.ErrPruned)
	read, err := since(tids[5])
	assert.NoError(t, err, "the last that is pruned")
	assert.Equal(t, []string{"6", "7", "8", "9"}, read)

	n, err = d.Prune(testkit.Within(t), tracbus.Retention{KeepFor: 1})
	require.NoError(t, err)
	assert.EqualValues(t, 3, n, "never the last")
	late := desk.Seat(t, s, dsn, desk.Config{})
	last := d.Say(t, "more", 1)
	assert.Greater(t, last, tids[9])
	for _, d := range []*desk.Desk{d, late} {
		require.NoError(t, d.Wait(testkit.Within(t), last))
		all, _ := d.Heard()
		assert.Equal(t, "more", slices.Concat(desk.Comments(all))[len(all)-1])
	}
}

func testClose(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{PollInterval: testkit.Patience}})
	for i := range 20 {
		d.Say(t, fmt.Sprint(i), 1)
	}
	require.NoError(t, d.Journal.Close(testkit.Within(t)))
	require.NoError(t, d.Bus.Close(testkit.Within(t)))
	_, primary := d.Heard()
	assert.Len(t, primary, 20)
	_, err := d.Begin(testkit.Within(t))
	assert.ErrorIs(t, err, tracbus.ErrJournalClosed)
	assert.NoError(t, d.Run(testkit.Within(t)), "it returns at once")

	other := desk.Seat(t, s, dsn, desk.Config{})
	tx, err := other.Begin(testkit.Within(t))
	require.NoError(t, err)
	ended, cancel := context.WithCancel(testkit.Within(t))
	cancel()
	assert.ErrorContains(t, other.Journal.Close(ended), "transactions are open")
	tx.Rollback()
	require.NoError(t, other.Journal.Close(testkit.Within(t)))
}
