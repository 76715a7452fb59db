package journal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestCommitWithChained: if commit begins the next transaction, and then fails, what becomes of
// the first one is said, and not of the next.
func TestCommitWithChained(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
		chain := map[string][]string{
			"sqlite": {"COMMIT", "BEGIN"}, "postgresql": {"COMMIT AND CHAIN"}, "mysql": {"COMMIT AND CHAIN"},
		}[s.Dialect]
		conn, err := d.DB.Conn(testkit.Within(t))
		require.NoError(t, err)
		defer conn.Close()
		exec := func(text string) {
			t.Helper()
			_, err := conn.ExecContext(testkit.Within(t), text)
			require.NoError(t, err)
		}
		begin := map[string]string{"sqlite": "BEGIN IMMEDIATE"}[s.Dialect]
		if begin == "" {
			begin = "BEGIN"
		}
		no := errors.New("no")
		exec(begin)
		tid, err := d.CommitWith(testkit.Within(t), conn, desk.Joe, func() error {
			for _, text := range chain {
				exec(text)
			}
			return no
		}, desk.Remark(1, "chained"))
		require.NoError(t, err, "it is committed")
		assert.NotZero(t, tid)
		exec("ROLLBACK")
		assert.Equal(t, 1, stored(t, d.DB, "chained"))

		exec(begin)
		_, err = d.CommitWith(testkit.Within(t), conn, desk.Joe, func() error { return no }, desk.Remark(1, "never"))
		require.ErrorIs(t, err, tracbus.ErrNotCommitted)
		exec("ROLLBACK")

		// If no other connection is free to ask on, what says no is believed.
		exec(begin)
		d.DB.SetMaxOpenConns(1)
		defer d.DB.SetMaxOpenConns(0)
		_, err = d.CommitWith(testkit.Within(t), conn, desk.Joe, func() error { return no }, desk.Remark(1, "never"))
		require.ErrorIs(t, err, tracbus.ErrNotCommitted)
		exec("ROLLBACK")
	})
}

// TestResetMarks: PostgreSQL's RESET ALL takes the marks away, which is not taken for a rollback.
func TestResetMarks(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Idle: true})
	_, err := d.DB.Exec("CREATE TABLE note (text VARCHAR(200))")
	require.NoError(t, err)
	for name, spoil := range map[string]func(w *within){
		"at the end": func(w *within) { w.note("a"); w.exec("RESET ALL") },
		"of one":     func(w *within) { w.note("a"); w.exec("RESET tracbus.marks") },
		"before another change": func(w *within) {
			w.note("a")
			w.exec("RESET ALL")
			_ = w.tx.Record(testkit.Within(t), desk.Remark(7, "b"))
		},
		"after the first was rolled back": func(w *within) {
			w.exec("SAVEPOINT a")
			w.note("a")
			w.exec("ROLLBACK TO SAVEPOINT a")
			w.note("b")
			w.exec("RESET ALL")
		},
	} {
		t.Run(name, func(t *testing.T) {
			q, _, rollback := begin(t, d, s.Dialect)
			defer rollback()
			tx, err := d.Join(q)
			require.NoError(t, err)
			defer tx.Rollback()
			require.NoError(t, tx.Prepare(desk.Joe, ""))
			spoil(&within{t, d, q, tx, new(int64(100))})
			_, err = tx.Flush(testkit.Within(t))
			assert.ErrorContains(t, err, "settings were reset")
		})
	}
}

// TestNothingIsForgotten: a joined transaction of which nothing is to be told any more has no Flush
// that is missed.
func TestNothingIsForgotten(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		var log lines
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Idle: true, Journal: tracbus.JournalConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))}})
		_, err := d.DB.Exec("CREATE TABLE note (text VARCHAR(200))")
		require.NoError(t, err)
		change := func(w *within, status, old string) {
			require.NoError(t, w.tx.Record(testkit.Within(t), tracbus.TicketChanged{ID: 2, Values: tracbus.Fields{"status": status}, Old: tracbus.Fields{"status": old}}))
		}
		for name, c := range map[string]struct {
			do   func(w *within)
			want string
		}{
			"undone": {func(w *within) { change(w, "closed", "new"); change(w, "new", "closed") }, ""},
			"rolled back": {func(w *within) {
				w.exec("SAVEPOINT a")
				w.note("a")
				w.exec("ROLLBACK TO SAVEPOINT a")
				require.NoError(t, w.tx.Lock(testkit.Within(t), tracbus.TicketResource(1)))
			}, ""},
			"the first was rolled back": {func(w *within) {
				w.exec("SAVEPOINT a")
				w.note("a")
				w.exec("ROLLBACK TO SAVEPOINT a")
				change(w, "closed", "new")
			}, `resource="ticket 2"`},
		} {
			t.Run(name, func(t *testing.T) {
				q, _, rollback := begin(t, d, s.Dialect)
				defer rollback()
				tx, err := d.Join(q)
				require.NoError(t, err)
				require.NoError(t, tx.Prepare(desk.Joe, ""))
				c.do(&within{t, d, q, tx, new(int64(100))})
				before := log.String()
				tx.Notify()
				said := log.String()[len(before):]
				if c.want == "" {
					assert.Empty(t, said)
				} else {
					assert.Contains(t, said, c.want)
				}
			})
		}
	})
}

// TestWaitForJoined: a Wait for a consumer includes what the application has committed itself, also
// where nobody reads.
func TestWaitForJoined(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		release := make(chan struct{})
		listen := func(ctx context.Context, e tracbus.Event) error {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return ctx.Err()
		}
		var waits *tracbus.Registration
		a := desk.Seat(t, s, dsn, desk.Config{Before: func(b *tracbus.Bus) { tracbus.On(b, tracbus.Durable("log"), listen) }})
		a.Holds(t)
		bus := tracbus.NewBus("desk")
		waits = tracbus.On(bus, tracbus.Durable("log"), listen)
		db := s.Open(t, dsn)
		j, err := tracbus.OpenJournal(testkit.Within(t), db, bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect), WriteOnly: true, Logger: testkit.Quiet})
		require.NoError(t, err)
		require.NoError(t, waits.Wait(testkit.Within(t)), "there is nothing")
		q, commit, _ := begin(t, a, s.Dialect)
		tid, err := j.CommitWith(testkit.Within(t), q, desk.Joe, func() error { commit(); return nil }, desk.Remark(1, "joined"))
		require.NoError(t, err)
		soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		assert.ErrorContains(t, waits.Wait(soon), fmt.Sprintf("to handle tid %d", tid), "it is not handled")
		close(release)
		assert.NoError(t, waits.Wait(testkit.Within(t)))
		require.NoError(t, j.Close(testkit.Within(t)))
		require.NoError(t, bus.Close(testkit.Within(t)))
	})
}

// TestCommitWithInAnyOrder: whoever changes two resources and whoever changes them in the other order do not
// wait for each other.
func TestCommitWithInAnyOrder(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		if s.Dialect == "sqlite" {
			return // one writes at a time
		}
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Idle: true})
		ctx, failed := testkit.Within(t), make(chan error, 2)
		for _, tickets := range [][2]int64{{1, 2}, {2, 1}} {
			go func() {
				var all error
				for range 100 {
					tx, err := d.DB.BeginTx(ctx, nil)
					if err == nil {
						_, err = d.CommitWith(ctx, tx, desk.Joe, tx.Commit, desk.Remark(tickets[0], "one"), desk.Remark(tickets[1], "other"))
						_ = tx.Rollback() // after an error
					}
					all = errors.Join(all, err)
				}
				failed <- all
			}()
		}
		assert.NoError(t, <-failed)
		assert.NoError(t, <-failed)
	})
}
