package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// within is a transaction with savepoints: one that the application began and the library
// joins, or one of the library's own.
type within struct {
	t  *testing.T
	d  *desk.Desk
	q  tracbus.SQL
	tx *tracbus.ModelTransaction
	n  *int64 // the last ticket: each note is of another one
}

func (w *within) exec(text string) {
	w.t.Helper()
	_, err := w.q.ExecContext(testkit.Within(w.t), text)
	require.NoError(w.t, err, text)
}

// note writes a row of the application's own, and records a change with the same text.
func (w *within) note(text string) {
	w.t.Helper()
	w.exec("INSERT INTO note VALUES ('" + text + "')")
	*w.n++
	require.NoError(w.t, w.tx.Record(testkit.Within(w.t), desk.Remark(*w.n, text)))
}

// again joins the same transaction once more.
func (w *within) again() *within {
	w.t.Helper()
	tx, err := w.d.Join(w.q)
	require.NoError(w.t, err)
	require.NoError(w.t, tx.Prepare(desk.Joe, ""))
	return &within{w.t, w.d, w.q, tx, w.n}
}

// savepointCases have statements and changes; what is told is what the table then has.
var savepointCases = map[string]func(w *within){
	"released": func(w *within) {
		w.note("a")
		w.exec("SAVEPOINT a")
		w.note("b")
		w.exec("RELEASE SAVEPOINT a")
	},
	"released, and the first was within": func(w *within) {
		w.exec("SAVEPOINT a")
		w.note("a")
		w.exec("RELEASE SAVEPOINT a")
	},
	"rolled back to": func(w *within) {
		w.note("a")
		w.exec("SAVEPOINT a")
		w.note("b")
		w.exec("ROLLBACK TO SAVEPOINT a")
		w.note("c")
	},
	"all rolled back to": func(w *within) {
		w.exec("SAVEPOINT a")
		w.note("a")
		w.exec("ROLLBACK TO SAVEPOINT a")
	},
	"all rolled back to, and then one": func(w *within) {
		w.exec("SAVEPOINT a")
		w.note("a")
		w.note("b")
		w.exec("ROLLBACK TO SAVEPOINT a")
		w.note("c")
	},
	"nested, inner rolled back to": func(w *within) {
		w.exec("SAVEPOINT a")
		w.note("a")
		w.exec("SAVEPOINT b")
		w.note("b")
		w.exec("ROLLBACK TO SAVEPOINT b")
		w.note("c")
		w.exec("RELEASE SAVEPOINT a")
		w.note("d")
	},
	"nested, inner released and outer rolled back to": func(w *within) {
		w.note("a")
		w.exec("SAVEPOINT a")
		w.exec("SAVEPOINT b")
		w.note("b")
		w.exec("RELEASE SAVEPOINT b")
		w.note("c")
		w.exec("ROLLBACK TO SAVEPOINT a")
		w.note("d")
	},
	"rolled back to twice": func(w *within) {
		w.exec("SAVEPOINT a")
		w.note("a")
		w.exec("ROLLBACK TO SAVEPOINT a")
		w.note("b")
		w.exec("ROLLBACK TO SAVEPOINT a")
		w.note("c")
		w.exec("RELEASE SAVEPOINT a")
	},
	"one of many": func(w *within) {
		for i := range 20 {
			w.exec(fmt.Sprint("SAVEPOINT s", i))
			w.note(fmt.Sprint("n", i))
			if i%3 == 1 {
				w.exec(fmt.Sprint("ROLLBACK TO SAVEPOINT s", i))
			}
		}
	},
	"names that are the library's own": func(w *within) {
		for _, name := range []string{"tracbus", "tracbus_turn", "tracbus_in_transaction"} {
			w.exec("SAVEPOINT " + name)
			w.note(name)
			w.exec("RELEASE SAVEPOINT " + name)
			w.exec("SAVEPOINT " + name)
			w.note("not " + name)
			w.exec("ROLLBACK TO SAVEPOINT " + name)
		}
		w.exec("SAVEPOINT tracbus")
		w.note("last")
	},
	"a change that is rolled back undoes nothing": func(w *within) {
		record := func(status, old string) {
			err := w.tx.Record(testkit.Within(w.t), tracbus.TicketChanged{ID: 2, Values: tracbus.Fields{"status": status}, Old: tracbus.Fields{"status": old}, Change: tracbus.Change{Comment: status}})
			require.NoError(w.t, err)
			w.exec("INSERT INTO note VALUES ('" + status + "')")
		}
		record("closed", "new")
		w.exec("SAVEPOINT a")
		record("new", "closed")
		w.exec("ROLLBACK TO SAVEPOINT a")
	},
	"a failed call that is rolled back to": func(w *within) {
		w.note("a")
		w.exec("SAVEPOINT a")
		w.exec("INSERT INTO note VALUES ('b')")
		require.Error(w.t, w.tx.Save(testkit.Within(w.t), failing{errors.New("no")}))
		w.exec("ROLLBACK TO SAVEPOINT a")
		w.note("c")
	},
}

// TestSavepoints: of a transaction with savepoints, what was released is told, and what was
// rolled back to before is not: on each database, in a transaction that is joined, joined
// twice, and in one of the library's own. What the application's own table has says what that is.
func TestSavepoints(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn, dialect := s.DSN(s.Name()), tracbus.Dialect(s.Dialect)
		d := desk.Seat(t, s, dsn, desk.Config{})
		other := desk.Seat(t, s, dsn, desk.Config{})
		_, err := d.DB.Exec("CREATE TABLE note (text VARCHAR(200))")
		require.NoError(t, err)
		for name, run := range savepointCases {
			for how, do := range map[string]func(t *testing.T, f func(*within)) int64{
				"joined": func(t *testing.T, f func(*within)) int64 { return inJoined(t, s, d, f) },
				"own":    func(t *testing.T, f func(*within)) int64 { return inOwn(t, d, f) },
			} {
				t.Run(name+", "+how, func(t *testing.T) {
					agrees(t, dialect, d, other, func() int64 { return do(t, run) })
				})
			}
		}
		t.Run("random", func(t *testing.T) {
			for range 40 {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				agrees(t, dialect, d, other, func() int64 { return inJoined(t, s, d, randomSavepoints(rand.New(rand.NewPCG(seed, 1)))) })
				agrees(t, dialect, d, other, func() int64 { return inOwn(t, d, randomSavepoints(rand.New(rand.NewPCG(seed, 1)))) })
			}
		})
		t.Run("two joins", func(t *testing.T) {
			agrees(t, dialect, d, other, func() (last int64) {
				return inJoined(t, s, d, func(w *within) {
					second := w.again()
					w.note("a")
					second.note("b")
					w.exec("SAVEPOINT a")
					second.note("c")
					w.note("d")
					w.exec("ROLLBACK TO SAVEPOINT a")
					second.note("e")
					w.note("f")
					_, err := second.tx.Flush(testkit.Within(t))
					require.NoError(t, err)
				})
			})
		})
	})
}

// agrees checks that listeners hear what the application's table has then.
func agrees(t *testing.T, dialect tracbus.Dialect, d, other *desk.Desk, do func() int64) {
	t.Helper()
	_, err := d.DB.Exec("DELETE FROM note")
	require.NoError(t, err)
	d.ForgetHeard()
	other.ForgetHeard()
	tid := do()
	want := texts(t, d)
	require.Zero(t, marksLeft(t, dialect, d))
	last := d.Say(t, "end", 99)
	require.Equal(t, len(want) > 0, tid > 0)
	for _, d := range []*desk.Desk{d, other} {
		require.NoError(t, d.Wait(testkit.Within(t), last))
		all, _ := d.Heard()
		got := slices.DeleteFunc(desk.Comments(all), func(comment string) bool { return comment == "end" })
		slices.Sort(got)
		require.Equal(t, append([]string{}, want...), got)
	}
}

func texts(t *testing.T, d *desk.Desk) (all []string) {
	t.Helper()
	rows, err := d.DB.Query("SELECT text FROM note ORDER BY text")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var text string
		require.NoError(t, rows.Scan(&text))
		all = append(all, text)
	}
	require.NoError(t, rows.Err())
	return all
}

func inJoined(t *testing.T, s *testdatabase.Server, d *desk.Desk, f func(*within)) int64 {
	t.Helper()
	q, commit, _ := begin(t, d, s.Dialect)
	tx, err := d.Join(q)
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	f(&within{t, d, q, tx, new(int64(100))})
	tid, err := tx.Flush(testkit.Within(t))
	require.NoError(t, err)
	commit()
	tx.Notify()
	return tid
}

func inOwn(t *testing.T, d *desk.Desk, f func(*within)) int64 {
	t.Helper()
	tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		f(&within{t, d, tx.SQL(), tx, new(int64(100))})
		return nil
	})
	require.NoError(t, err)
	return tid
}

// randomSavepoints returns a story with up to three savepoints in each other.
func randomSavepoints(r *rand.Rand) func(w *within) {
	return func(w *within) {
		var open []string
		for i := range 5 + r.IntN(20) {
			switch n := r.IntN(6); {
			case n < 3:
				w.note(fmt.Sprint("r", i))
			case n == 3 && len(open) < 3:
				open = append(open, fmt.Sprint("s", i))
				w.exec("SAVEPOINT " + open[len(open)-1])
			case n == 4 && len(open) > 0:
				at := r.IntN(len(open))
				w.exec("RELEASE SAVEPOINT " + open[at])
				open = open[:at]
			case n == 5 && len(open) > 0:
				at := r.IntN(len(open))
				w.exec("ROLLBACK TO SAVEPOINT " + open[at])
				open = open[:at+1]
			}
		}
	}
}

// marksLeft counts what is left of transactions that have ended, which is nothing.
func marksLeft(t *testing.T, dialect tracbus.Dialect, d *desk.Desk) (n int) {
	t.Helper()
	if text, err := tracbus.JournalSchema(dialect, ""); err != nil || !strings.Contains(text, "journal_mark") {
		return 0 // PostgreSQL needs no table
	}
	require.NoError(t, d.DB.QueryRowContext(testkit.Within(t), "SELECT count(*) FROM journal_mark").Scan(&n))
	return n
}

// TestPoisonStays: a call that fails before its change was marked, or a Flush that fails, poisons
// the transaction for good: it cannot be taken for one that was rolled back to a savepoint.
func TestPoisonStays(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Idle: true})
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for name, spoil := range map[string]func(w *within){
			"a call whose context is over": func(w *within) {
				w.exec("SAVEPOINT a")
				w.note("a")
				w.exec("ROLLBACK TO SAVEPOINT a")
				require.Error(t, w.tx.Record(over, desk.Remark(7, "never")))
			},
			"a flush that failed": func(w *within) {
				w.note("a")
				require.Error(t, w.tx.Save(testkit.Within(t), failing{errors.New("no")}))
				_, err := w.tx.Flush(testkit.Within(t))
				require.ErrorContains(t, err, "poisoned")
			},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := d.DB.Exec("CREATE TABLE IF NOT EXISTS note (text VARCHAR(200))")
				require.NoError(t, err)
				q, _, rollback := begin(t, d, s.Dialect)
				defer rollback()
				tx, err := d.Join(q)
				require.NoError(t, err)
				defer tx.Rollback()
				require.NoError(t, tx.Prepare(desk.Joe, ""))
				spoil(&within{t, d, q, tx, new(int64(100))})
				for range 2 {
					_, err = tx.Flush(testkit.Within(t))
					require.ErrorContains(t, err, "poisoned")
				}
			})
		}
	})
}
