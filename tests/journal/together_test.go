package journal_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// What follows is about transactions of one process that SQLite commits together: each is
// a savepoint, and none is told of before the COMMIT.

// office is a process whose transactions all wait for each other, in a database whose
// COMMITs are counted.
type office struct {
	*desk.Desk
	commits atomic.Int32
	refuse  atomic.Pointer[error] // of COMMIT: then it is not run
	lose    atomic.Pointer[error] // of COMMIT and ROLLBACK
}

func openOffice(t *testing.T, parameters string, l limit.Limits) *office {
	t.Helper()
	s := testdatabase.New(t, "sqlite")
	o := &office{}
	db := s.HookedRuns(t, s.DSN(s.Name())+parameters, func(_ context.Context, query string) error {
		if lost := o.lose.Load(); lost != nil && (query == "COMMIT" || query == "ROLLBACK") {
			return *lost
		}
		if query != "COMMIT" {
			return nil
		}
		o.commits.Add(1)
		if refused := o.refuse.Load(); refused != nil {
			return *refused
		}
		return nil
	})
	_, err := db.ExecContext(t.Context(), "CREATE TABLE note (text TEXT PRIMARY KEY)")
	require.NoError(t, err)
	l.Together = 24 * time.Hour
	o.Desk = desk.Seat(t, s, "", desk.Config{DB: db, Opening: func(ctx context.Context) context.Context { return limit.With(ctx, l) }})
	for _, text := range []string{"a statement", "stays prepared", "when it comes again"} {
		require.NoError(t, o.update(t.Context(), text, notes(text)).err)
	}
	return o
}

// work is what a transaction does, but for what says that it did.
type work func(ctx context.Context, tx *tracbus.ModelTransaction) error

// notes writes a text into the application's table.
func notes(text string) work {
	return func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		_, err := tx.SQL().ExecContext(ctx, "INSERT INTO note VALUES (?)", text)
		return err
	}
}

// runs runs a statement of the application's.
func runs(query string) work {
	return func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		_, err := tx.SQL().ExecContext(ctx, query)
		return err
	}
}

// all does one work after the other.
func all(works ...work) work {
	return func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		for _, w := range works {
			if err := w(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	}
}

type result struct {
	name string
	tid  int64
	err  error
}

func (o *office) update(ctx context.Context, name string, w work) (r result) {
	r.name = name
	defer func() {
		if p := recover(); p != nil {
			r.err = fmt.Errorf("%w: %v", tracbus.ErrNotCommitted, p)
		}
	}()
	r.tid, r.err = o.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
		if err := w(ctx, tx); err != nil {
			return err
		}
		return tx.Record(ctx, desk.Remark(1, name))
	})
	return r
}

// waiting is how many transactions of this test program wait for their turn.
func waiting() int {
	stacks := make([]byte, 1<<22)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "turns.(*queue).take(")
}

// member is one of those that do their work one after the other.
type member struct {
	name string
	ctx  context.Context // zero means that of the test
	work work
}

// meet has members begin in their order, each while those before it are in their turns or
// wait for them. It returns what became of them.
func (o *office) meet(t *testing.T, members ...member) []result {
	t.Helper()
	results, open := make([]result, len(members)), make(chan struct{})
	var going sync.WaitGroup
	for i, m := range members {
		if m.ctx == nil {
			m.ctx = testkit.Within(t)
		}
		begun := make(chan struct{})
		going.Go(func() {
			results[i] = o.update(m.ctx, m.name, func(ctx context.Context, tx *tracbus.ModelTransaction) error {
				if i == 0 {
					close(begun)
					<-open
				}
				return m.work(ctx, tx)
			})
		})
		if i == 0 {
			<-begun
		}
		testkit.Until(t, m.name+" waits for its turn", func() bool { return waiting() == i })
	}
	close(open)
	going.Wait()
	return results
}

// check compares what was said with what is stored and delivered.
func (o *office) check(t *testing.T, results []result, held ...string) {
	t.Helper()
	var said, inOrder []string
	last := int64(0)
	for _, r := range results {
		is := stored(t, o.DB, r.name)
		if r.err != nil {
			assert.ErrorIs(t, r.err, tracbus.ErrNotCommitted, r.name)
			assert.Zero(t, is, "%s: %v", r.name, r.err)
			continue
		}
		said = append(said, r.name)
		assert.Equal(t, 1, is, r.name)
		assert.Greater(t, r.tid, last, "tids follow the turns: %s", r.name)
		last = r.tid
	}
	assert.Equal(t, held, said)
	end := o.Say(t, "the end", 2)
	require.NoError(t, o.Wait(testkit.Within(t), end))
	everything, _ := o.Heard()
	for _, name := range desk.Comments(everything) {
		if slices.ContainsFunc(results, func(r result) bool { return r.name == name }) {
			inOrder = append(inOrder, name)
		}
	}
	assert.Equal(t, held, inOrder, "delivered once, in the order of the turns")
}

func (o *office) noted(t *testing.T) (all []string) {
	t.Helper()
	var text string
	testkit.Scan(t, o.DB, "SELECT text FROM note WHERE length(text) = 1 ORDER BY text", func() { all = append(all, text) }, &text)
	return all
}

// TestOneCommitForMany: those that wait for each other are committed by one COMMIT, and none
// is told before it.
func TestOneCommitForMany(t *testing.T) {
	o := openOffice(t, "", limit.Limits{})
	before := o.commits.Load()
	results := o.meet(t, member{name: "a", work: notes("a")}, member{name: "b", work: notes("b")},
		member{name: "c", work: notes("c")}, member{name: "d", work: notes("d")})
	assert.EqualValues(t, 1, o.commits.Load()-before)
	o.check(t, results, "a", "b", "c", "d")
	assert.Equal(t, []string{"a", "b", "c", "d"}, o.noted(t))
}

// TestOneOfManyFails: who fails, in whatever way and place, is rolled back alone.
func TestOneOfManyFails(t *testing.T) {
	fails := errors.New("it fails")
	for name, ending := range map[string]work{
		"error":      func(context.Context, *tracbus.ModelTransaction) error { return fails },
		"panic":      func(context.Context, *tracbus.ModelTransaction) error { panic(fails) },
		"constraint": runs("INSERT INTO note VALUES ('a statement')"),
		"no SQL":     runs("INSERT OF note"),
		"swallowed": func(ctx context.Context, tx *tracbus.ModelTransaction) error { // of a Save or Record
			_ = tx.Record(ctx, tracbus.TicketChanged{ID: -1})
			return nil
		},
		"rows left open": func(ctx context.Context, tx *tracbus.ModelTransaction) error {
			rows, err := tx.SQL().QueryContext(ctx, "SELECT text FROM note")
			if err != nil || !rows.Next() {
				return errors.Join(err, errors.New("expected a row"))
			}
			return fails
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := openOffice(t, "", limit.Limits{})
			before := o.commits.Load()
			results := o.meet(t,
				member{name: "a", work: all(notes("a"), ending)}, member{name: "b", work: notes("b")},
				member{name: "c", work: all(notes("c"), ending)}, member{name: "d", work: notes("d")},
				member{name: "e", work: all(notes("e"), ending)})
			assert.EqualValues(t, 1, o.commits.Load()-before, "after the first, one for all")
			o.check(t, results, "b", "d")
			assert.Equal(t, []string{"b", "d"}, o.noted(t))
		})
	}
}

// TestManyCommitFails: if their COMMIT fails, nobody is told that it held.
func TestManyCommitFails(t *testing.T) {
	o := openOffice(t, "", limit.Limits{})
	full := errors.New("database or disk is full")
	o.refuse.Store(&full)
	results := o.meet(t, member{name: "a", work: notes("a")}, member{name: "b", work: notes("b")}, member{name: "c", work: notes("c")})
	o.refuse.Store(nil)
	for _, r := range results {
		assert.ErrorIs(t, r.err, full, r.name)
	}
	o.check(t, results)
	assert.Empty(t, o.noted(t))
	before := o.commits.Load()
	o.check(t, o.meet(t, member{name: "d", work: notes("d")}, member{name: "e", work: notes("e")}), "d", "e")
	assert.EqualValues(t, 2, o.commits.Load()-before, "one for all, and the end's")
}

// TestManyAnswerLost: the answer to their COMMIT is lost, and each finds out.
func TestManyAnswerLost(t *testing.T) {
	for name, lands := range map[string]bool{"landed": true, "did not": false} {
		t.Run(name, func(t *testing.T) {
			o := openOffice(t, "", limit.Limits{})
			var ended atomic.Bool
			lost := errors.New("the answer is lost")
			o.refuse.Store(&lost)
			last := member{name: "c", work: func(ctx context.Context, tx *tracbus.ModelTransaction) error {
				if err := notes("c")(ctx, tx); err != nil {
					return err
				}
				ended.Store(true)
				return nil
			}}
			// It is as if COMMIT had ended the transaction, so that ROLLBACK finds none.
			how := "ROLLBACK"
			if lands {
				how = "COMMIT -- in other words"
			}
			results := o.meet(t, member{name: "a", work: notes("a")}, member{name: "b", work: notes("b")}, last,
				member{name: "z", work: runs(how)})
			o.refuse.Store(nil)
			require.True(t, ended.Load())
			if lands {
				o.check(t, results, "a", "b", "c")
			} else {
				o.check(t, results)
			}
		})
	}
}

// TestOneOfManyEndsTheTransaction, as it must not: it fails, and the others, whose work it has
// committed or rolled back, learn which.
func TestOneOfManyEndsTheTransaction(t *testing.T) {
	for how, held := range map[string][]string{
		"COMMIT":               {"a", "b"},
		"ROLLBACK":             nil,
		"ROLLBACK; BEGIN":      nil,
		"COMMIT; BEGIN":        {"a", "b"},
		"COMMIT; SAVEPOINT x":  {"a", "b"},
		"ROLLBACK;; BEGIN; --": nil,
	} {
		t.Run(how, func(t *testing.T) {
			o := openOffice(t, "", limit.Limits{})
			results := o.meet(t, member{name: "a", work: notes("a")}, member{name: "b", work: notes("b")},
				member{name: "c", work: runs(how)}, member{name: "d", work: notes("d")})
			o.check(t, results, append(slices.Clone(held), "d")...)
			assert.Equal(t, append(slices.Clone(held), "d"), o.noted(t))
		})
	}
	t.Run("a statement that rolls back all", func(t *testing.T) {
		o := openOffice(t, "", limit.Limits{})
		results := o.meet(t, member{name: "a", work: notes("a")}, member{name: "b", work: notes("b")},
			member{name: "c", work: func(ctx context.Context, tx *tracbus.ModelTransaction) error {
				_ = runs("INSERT OR ROLLBACK INTO note VALUES ('a statement')")(ctx, tx)
				return nil // the application passes over it
			}}, member{name: "d", work: notes("d")})
		o.check(t, results, "d")
		assert.Equal(t, []string{"d"}, o.noted(t))
	})
}

// pausing is the function pause of SQLite's: it runs what is stored here, in the midst of
// a statement.
var pausing atomic.Pointer[func()]

var registerPause = sync.OnceFunc(func() {
	sqlite.MustRegisterScalarFunction("pause", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		if f := pausing.Load(); f != nil {
			(*f)()
		}
		return int64(1), nil
	})
})

// TestOneOfManyCanceled: a context that ends in the midst of a statement that writes would
// have SQLite roll back the work of all.
func TestOneOfManyCanceled(t *testing.T) {
	registerPause()
	for name, query := range map[string]string{
		"direct": "INSERT INTO note WITH RECURSIVE n(i) AS (SELECT pause() UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT 'n' || i FROM n",
	} {
		for _, prepared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, prepared: %t", name, prepared), func(t *testing.T) {
				o := openOffice(t, "", limit.Limits{})
				ctx, cancel := context.WithCancel(t.Context())
				f := func() { cancel() }
				pausing.Store(&f)
				defer pausing.Store(nil)
				work := runs(query)
				if prepared {
					work = func(ctx context.Context, tx *tracbus.ModelTransaction) error {
						s, err := tx.SQL().PrepareContext(ctx, query)
						if err == nil {
							_, err = s.ExecContext(ctx)
						}
						return err
					}
				}
				results := o.meet(t, member{name: "a", work: notes("a")}, member{name: "b", work: notes("b")},
					member{name: "c", ctx: ctx, work: work}, member{name: "d", work: notes("d")})
				o.check(t, results, "a", "b", "d")
				assert.ErrorIs(t, results[2].err, context.Canceled)
				assert.Equal(t, []string{"a", "b", "d"}, o.noted(t))
			})
		}
	}
}

// TestOneOfManyHangs: those that are done wait for it for as long as for any COMMIT, and
// can ask afterwards.
func TestOneOfManyHangs(t *testing.T) {
	o := openOffice(t, "", limit.Limits{Commit: 200 * time.Millisecond})
	hangs, end := make(chan struct{}), make(chan struct{})
	var first result
	var done sync.WaitGroup
	done.Go(func() {
		first = o.meet(t, member{name: "a", work: notes("a")}, member{name: "b", work: func(ctx context.Context, tx *tracbus.ModelTransaction) error {
			close(hangs)
			<-end
			return notes("b")(ctx, tx)
		}})[0]
	})
	<-hangs
	testkit.Until(t, "a no longer waits", func() bool {
		stacks := make([]byte, 1<<22)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "turns.(*Line).await(")
	})
	close(end)
	done.Wait()
	var unknown *tracbus.CommitUnknownError
	if errors.As(first.err, &unknown) { // unless it was found out in time
		_, err := unknown.Transaction.Outcome(testkit.Within(t))
		require.NoError(t, err)
	} else {
		require.NoError(t, first.err)
	}
	assert.Equal(t, []string{"a", "b"}, o.noted(t))
}

// TestForeignKeyOfOneOfMany: a foreign key that is looked at in COMMIT alone does not say whose
// it is, so that whoever may have one commits alone.
func TestForeignKeyOfOneOfMany(t *testing.T) {
	o := openOffice(t, "&_pragma=foreign_keys(1)", limit.Limits{})
	_, err := o.DB.ExecContext(t.Context(), "CREATE TABLE answer (text TEXT REFERENCES note (text))")
	require.NoError(t, err)
	alone := runs("INSERT INTO answer VALUES ('to nothing')")

	before := o.commits.Load()
	o.check(t, o.meet(t, member{name: "a", work: notes("a")}, member{name: "b", work: all(notes("b"), alone)}, member{name: "c", work: notes("c")}), "a", "c")
	assert.EqualValues(t, 2, o.commits.Load()-before, "it is looked at in the statement: one for all, and the end's")

	_, err = o.DB.ExecContext(t.Context(), "CREATE TABLE later (text TEXT REFERENCES note (text) DEFERRABLE INITIALLY DEFERRED)")
	require.NoError(t, err)
	before = o.commits.Load()
	o.check(t, o.meet(t, member{name: "d", work: notes("d")}, member{name: "e", work: all(notes("e"), runs("INSERT INTO later VALUES ('to nothing')"))},
		member{name: "f", work: notes("f")}), "d", "f")
	assert.EqualValues(t, 4, o.commits.Load()-before, "one each")
	assert.Equal(t, []string{"a", "c", "d", "f"}, o.noted(t))

	o = openOffice(t, "&_pragma=foreign_keys(1)", limit.Limits{})
	_, err = o.DB.ExecContext(t.Context(), "CREATE TABLE answer (text TEXT REFERENCES note (text))")
	require.NoError(t, err)
	deferred := all(runs("PRAGMA defer_foreign_keys = 1"), alone)
	results := o.meet(t, member{name: "h", work: notes("h")}, member{name: "i", work: all(deferred, notes("i"))}, member{name: "j", work: notes("j")})
	o.check(t, results, "j")
	assert.ErrorContains(t, results[0].err, "FOREIGN KEY", "it was committed with the one that must not be")
	results = o.meet(t, member{name: "k", work: notes("k")}, member{name: "l", work: all(deferred, notes("l"))}, member{name: "m", work: notes("m")})
	o.check(t, results, "k", "m")
	assert.Equal(t, []string{"j", "k", "m"}, o.noted(t))
}

// TestConnectionGivenUp: if a transaction can be neither committed nor rolled back, its
// connection is closed, with what is prepared there. The next transaction has another one.
func TestConnectionGivenUp(t *testing.T) {
	o := openOffice(t, "", limit.Limits{})
	lost := errors.New("no answer")
	o.lose.Store(&lost)
	require.ErrorIs(t, o.update(t.Context(), "a", notes("a")).err, tracbus.ErrNotCommitted)
	o.lose.Store(nil)
	require.NoError(t, o.update(t.Context(), "b", notes("b")).err)
	assert.Equal(t, []string{"b"}, o.noted(t))
}

// TestConnectionGivenBack: nothing is kept of a pool that has few connections, nor for long,
// nor after Close.
func TestConnectionGivenBack(t *testing.T) {
	o := openOffice(t, "", limit.Limits{})
	o.Pause(t)
	for _, size := range []int{1, 2} {
		o.DB.SetMaxOpenConns(size)
		o.Say(t, "few", 1)
		assert.Zero(t, o.DB.Stats().InUse, "%d", size)
	}
	for _, size := range []int{0, 3, 8} {
		o.DB.SetMaxOpenConns(size)
		o.Say(t, "more", 1)
		testkit.Until(t, "the connection is given back", func() bool { return o.DB.Stats().InUse == 0 })
	}
	o.DB.SetMaxOpenConns(0)
	o.Say(t, "the last", 1)
	require.NoError(t, o.Close(testkit.Within(t)))
	assert.Zero(t, o.DB.Stats().InUse)
	o.Follow() // which Leave expects
}

// TestStatementsInStatements runs the same statement while its rows are open, which must not
// be the same prepared one.
func TestStatementsInStatements(t *testing.T) {
	o := openOffice(t, "", limit.Limits{})
	for range 4 {
		r := o.update(testkit.Within(t), "nested", func(ctx context.Context, tx *tracbus.ModelTransaction) error {
			const query = "SELECT text FROM note ORDER BY text"
			outer, inner := 0, 0
			rows, err := tx.SQL().QueryContext(ctx, query)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				outer++
				within, err := tx.SQL().QueryContext(ctx, query)
				if err != nil {
					return err
				}
				for within.Next() {
					inner++
				}
				if err := within.Close(); err != nil {
					return err
				}
				if _, err := tx.SQL().ExecContext(ctx, query); err != nil {
					return err
				}
			}
			assert.Equal(t, []int{3, 9}, []int{outer, inner})
			return rows.Err()
		})
		require.NoError(t, r.err)
	}
}

// TestManyWritersManyEnds: many transactions end in all ways at once, in two processes, and
// what was said of each is so.
func TestManyWritersManyEnds(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	dsn := testdatabase.SQLite(filepath.Join(t.TempDir(), "shared.db"))
	offices := []*office{
		{Desk: desk.Seat(t, s, dsn, desk.Config{})},
		{Desk: desk.Seat(t, s, dsn, desk.Config{})},
	}
	_, err := offices[0].DB.ExecContext(t.Context(), "CREATE TABLE note (text TEXT PRIMARY KEY)")
	require.NoError(t, err)
	fails := errors.New("it fails")
	var mu sync.Mutex
	var results []result
	var writers sync.WaitGroup
	for w := range 16 {
		o := offices[w/12] // twelve of one, four of the other
		writers.Go(func() {
			for n := range 20 {
				name := fmt.Sprintf("writer %d, change %d", w, n)
				ctx, cancel := context.WithCancel(t.Context())
				work := notes(name)
				switch (w + n) % 7 {
				case 1:
					work = all(work, func(context.Context, *tracbus.ModelTransaction) error { return fails })
				case 2:
					work = all(work, func(context.Context, *tracbus.ModelTransaction) error { panic(fails) })
				case 3:
					work = all(work, func(context.Context, *tracbus.ModelTransaction) error { cancel(); return nil })
				case 4:
					go cancel()
				case 5:
					work = all(work, func(ctx context.Context, tx *tracbus.ModelTransaction) error {
						_ = notes(name)(ctx, tx) // it exists
						return nil
					})
				}
				r := o.update(ctx, name, work)
				cancel()
				mu.Lock()
				results = append(results, r)
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	slices.SortFunc(results, func(a, b result) int { return int(a.tid - b.tid) })
	var want []string
	for _, r := range results {
		is := stored(t, offices[0].DB, r.name)
		var unknown *tracbus.CommitUnknownError
		if errors.As(r.err, &unknown) {
			r.tid, r.err = unknown.Transaction.Outcome(testkit.Within(t))
		}
		var noted int
		require.NoError(t, offices[0].DB.QueryRowContext(testkit.Within(t), "SELECT count(*) FROM note WHERE text = ?", r.name).Scan(&noted))
		if r.err == nil {
			want = append(want, r.name)
			assert.Equal(t, []int{1, 1}, []int{is, noted}, r.name)
		} else {
			assert.ErrorIs(t, r.err, tracbus.ErrNotCommitted, r.name)
			assert.Equal(t, []int{0, 0}, []int{is, noted}, "%s: %v", r.name, r.err)
		}
	}
	assert.NotEmpty(t, want)
	for _, o := range offices {
		require.NoError(t, o.Wait(testkit.Within(t), o.Say(t, "the end", 2)))
		everything, _ := o.Heard()
		heard := slices.DeleteFunc(desk.Comments(everything), func(c string) bool { return c == "the end" })
		assert.Equal(t, want, heard)
	}
}

// TestWhoHasLittleTimeCommits: who has to have an answer soon does not wait for what others do.
func TestWhoHasLittleTimeCommits(t *testing.T) {
	o := openOffice(t, "", limit.Limits{Spare: 24 * time.Hour})
	before := o.commits.Load()
	seen := func(name string, n int) work { // elsewhere, while the turn goes on
		return func(context.Context, *tracbus.ModelTransaction) error {
			assert.Equal(t, n, stored(t, o.DB, name), name)
			return nil
		}
	}
	results := o.meet(t, member{name: "a", work: notes("a")}, member{name: "b", ctx: t.Context(), work: all(notes("b"), seen("a", 1))},
		member{name: "c", work: all(notes("c"), seen("b", 0))}, member{name: "d", ctx: t.Context(), work: all(notes("d"), seen("c", 1))})
	assert.EqualValues(t, 3, o.commits.Load()-before, "one of a, one of b and c, and one of d")
	o.check(t, results, "a", "b", "c", "d")
}

// TestOneAloneIsInterrupted: a statement heeds its context however quick the same text was before,
// where it is nobody else's work that SQLite rolls back with it.
func TestOneAloneIsInterrupted(t *testing.T) {
	registerPause()
	const count = "WITH RECURSIVE n(i) AS (SELECT pause() UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT count(*) FROM n"
	for name, run := range map[string]func(context.Context, tracbus.SQL, int) error{
		"Exec": func(ctx context.Context, q tracbus.SQL, n int) error {
			_, err := q.ExecContext(ctx, "INSERT INTO note "+count, n)
			return err
		},
		"Query": func(ctx context.Context, q tracbus.SQL, n int) error {
			var counted int
			return q.QueryRowContext(ctx, count, n).Scan(&counted)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := openOffice(t, "", limit.Limits{})
			for n := range 4 {
				r := o.update(testkit.Within(t), "quick", func(ctx context.Context, tx *tracbus.ModelTransaction) error { return run(ctx, tx.SQL(), n+1) })
				require.NoError(t, r.err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			f := func() { cancel() }
			pausing.Store(&f)
			defer pausing.Store(nil)
			var said error
			r := o.update(ctx, "long", func(ctx context.Context, tx *tracbus.ModelTransaction) error {
				said = run(ctx, tx.SQL(), 20_000_000)
				return said
			})
			assert.Error(t, said, "it was run to its end")
			o.check(t, []result{r})
		})
	}
}
