// Package blackhole_test has connections die in silence: nothing gets through, and
// neither end learns of it.
package blackhole_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// limits are short, and differ, so that an error shows which of them ended a wait.
var limits = store.Limits{
	Answer: 300 * time.Millisecond, Lock: 500 * time.Millisecond, Commit: 400 * time.Millisecond,
	Writer: 300 * time.Millisecond, Rollback: 200 * time.Millisecond,
}

// hangs is how long is waited for what has bounds of some hundred milliseconds: a machine
// that is busy may need more than these, but not this much.
const hangs = 40 * time.Second

const (
	answer = "no answer from the database for 300ms"
	lock   = "no answer from the database for 500ms"
)

// rig is a process whose way to the database can become a black hole.
type rig struct {
	t     *testing.T
	desk  *desk.Desk
	proxy *testserver.TCPProxy
	dsn   string
	s     *testdatabase.Server
	notes *testkit.Notes
	held  chan struct{} // closed when Load may go on
	begun chan struct{} // closed when Load has begun
	load  chan error    // what Load met
}

// wait is a row of the table in docs/internals.md: prepare is called while all is well, and
// the function that it returns when the connections are black holes.
type wait struct {
	says    string // what the error says
	prepare func(*rig) func() error
}

func begun(r *rig) *tracbus.ModelTransaction {
	tx, err := r.desk.Begin(testkit.Within(r.t))
	require.NoError(r.t, err)
	require.NoError(r.t, tx.Prepare(desk.Joe, ""))
	return tx
}

func changed(r *rig) *tracbus.ModelTransaction {
	tx := begun(r)
	require.NoError(r.t, tx.Record(testkit.Within(r.t), desk.Remark(1, "changed")))
	return tx
}

var ever = context.Background()

// drained returns the first error of a sequence.
func drained[T any](all func(func(T, error) bool)) (err error) {
	for _, err = range all {
	}
	return err
}

// waits are the cases by the rows of the table.
var waits = map[string]wait{
	"OpenJournal": {answer, func(r *rig) func() error {
		db := r.s.Open(r.t, r.dsn)
		return func() error {
			_, err := tracbus.OpenJournal(limit.With(ever, limits), db, tracbus.NewBus("other"), tracbus.JournalConfig{Dialect: tracbus.Dialect(r.s.Dialect)})
			return err
		}
	}},
	"connect": {answer, func(r *rig) func() error {
		r.desk.DB.SetMaxIdleConns(0)
		return func() error { _, err := r.desk.Begin(ever); return err }
	}},
	"Begin": {answer, func(r *rig) func() error {
		return func() error {
			for { // on a connection of MySQL that was used just now, it asks with the first statement
				tx, err := r.desk.Begin(ever)
				if err != nil {
					return err
				}
				tx.Rollback()
				runtime.Gosched()
			}
		}
	}},
	"Lock": {lock, func(r *rig) func() error {
		tx := begun(r)
		return func() error { defer tx.Rollback(); return tx.Lock(ever, desk.Remark(1, "never").Resource()) }
	}},
	"Save": {lock, func(r *rig) func() error {
		tx := begun(r)
		return func() error {
			defer tx.Rollback()
			return tx.Save(limit.With(ever, limits), trac.TicketCreate{Set: tracbus.Fields{"summary": "never"}})
		}
	}},
	"SQL": {"could not be ended within 300ms", func(r *rig) func() error {
		tx := changed(r)
		rows, err := tx.SQL().QueryContext(ever, "SELECT a.table_name FROM information_schema.columns a, information_schema.columns b")
		require.NoError(r.t, err)
		require.True(r.t, rows.Next())
		return func() error { _, err := tx.Commit(ever); return err }
	}},
	"Commit": {"its outcome", func(r *rig) func() error {
		tx := changed(r)
		return func() error {
			_, err := tx.Commit(ever)
			if !errors.Is(err, tracbus.ErrNotCommitted) && !errors.Is(err, tracbus.ErrCommitUnknown) {
				return errors.New("nothing is said of what became of it")
			}
			return fmt.Errorf("its outcome: %w", err)
		}
	}},
	"Flush": {answer, func(r *rig) func() error {
		q, err := r.desk.DB.BeginTx(ever, nil)
		require.NoError(r.t, err)
		tx, err := r.desk.Join(q)
		require.NoError(r.t, err)
		require.NoError(r.t, tx.Prepare(desk.Joe, ""))
		require.NoError(r.t, tx.Record(ever, desk.Remark(1, "never")))
		return func() error { defer q.Rollback(); _, err := tx.Flush(ever); return err }
	}},
	"Outcome": {"commit unknown", func(r *rig) func() error {
		q, err := r.desk.DB.BeginTx(ever, nil)
		require.NoError(r.t, err)
		tx, err := r.desk.Join(q)
		require.NoError(r.t, err)
		require.NoError(r.t, tx.Prepare(desk.Joe, ""))
		require.NoError(r.t, tx.Record(ever, desk.Remark(1, "never")))
		_, err = tx.Flush(ever)
		require.NoError(r.t, err)
		require.NoError(r.t, q.Commit())
		return func() error { _, err := tx.Outcome(ever); return err }
	}},
	"Rollback": {"over", func(r *rig) func() error {
		tx := changed(r)
		return func() error { tx.Rollback(); return errors.New("over") }
	}},
	"Load": {lock, func(r *rig) func() error {
		<-r.begun
		return func() error { close(r.held); return <-r.load }
	}},
	"Run": {answer, func(r *rig) func() error {
		return func() error {
			r.notes.Until(r.t, "the journal cannot be followed, which is tried again")
			noticed := time.Now()
			status, _ := r.desk.Status(ever)
			assert.GreaterOrEqual(r.t, noticed.Sub(status.ErrSince), limits.Answer, "it is said since when there is no answer")
			return status.Err
		}
	}},
	"Wait": {"the journal cannot be followed for", func(r *rig) func() error {
		return func() error { return r.desk.Wait(ever, 1<<40) }
	}},
	"Status": {answer, func(r *rig) func() error {
		return func() error {
			status, err := r.desk.Status(ever)
			assert.True(r.t, status.Running, "the process knows that by itself")
			return err
		}
	}},
	"Since, History, Before": {answer, func(r *rig) func() error {
		return func() error {
			return errors.Join(drained(r.desk.Since(ever, 0)), drained(r.desk.Before(ever, 0)),
				drained(r.desk.History(ever, tracbus.TicketResource(1))), drained(r.desk.HistoryBefore(ever, tracbus.TicketResource(1), 0)))
		}
	}},
	"Prune": {lock, func(r *rig) func() error {
		return func() error { _, err := r.desk.Prune(ever, tracbus.Retention{KeepLast: 1}); return err }
	}},
	"DeadLetters, Redeliver, DropConsumer": {"no answer", func(r *rig) func() error {
		return func() error {
			_, err := r.desk.Redeliver(ever, "log")
			return errors.Join(drained(r.desk.DeadLetters(ever, "log")), err, r.desk.DropConsumer(ever, "log"))
		}
	}},
	"lease": {"over", func(r *rig) func() error {
		r.notes.Until(r.t, "this process has acquired a consumer's lease")
		return func() error {
			r.notes.Until(r.t, "this process gives up a consumer's lease")
			return errors.New("over")
		}
	}},
	"Journal.Close": {"context deadline exceeded", func(r *rig) func() error {
		tx := changed(r)
		return func() error {
			defer tx.Rollback()
			ctx, cancel := context.WithTimeout(ever, limits.Answer)
			defer cancel()
			return r.desk.Journal.Close(ctx)
		}
	}},
}

// elsewhere are rows that other tests of this package show.
var elsewhere = []string{"Bus.Close, Registration.Close", "wake", "subscriber", "publisher"}

// TestBlackHole has every connection become a black hole at each operation: it ends with an
// error, within its bound.
func TestBlackHole(t *testing.T) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			for name, w := range waits {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					r := newRig(t, s)
					op := w.prepare(r)
					r.proxy.Swallow()
					done := make(chan error, 1)
					go func() { done <- op() }()
					select {
					case err := <-done:
						require.Error(t, err)
						assert.ErrorContains(t, err, w.says)
					case <-time.After(hangs):
						t.Errorf("it hangs")
					}
				})
			}
		})
	}
}

func newRig(t *testing.T, s *testdatabase.Server) *rig {
	t.Helper()
	name := s.Name()
	r := &rig{t: t, s: s, notes: testkit.NewNotes(), held: make(chan struct{}), begun: make(chan struct{}), load: make(chan error, 1)}
	r.proxy = testserver.Proxy(t, addr(s))
	r.dsn = s.DSNVia(r.proxy.Addr(), name)
	db := s.Open(t, r.dsn)
	for _, statement := range tracdatabase.Schema(s.Dialect) {
		_, err := db.ExecContext(testkit.Within(t), statement)
		require.NoError(t, err)
	}
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	if strings.HasSuffix(t.Name(), "/Run") || strings.HasSuffix(t.Name(), "/lease") {
		logger = r.notes.Logger()
	}
	r.desk = desk.Seat(t, s, "", desk.Config{
		DB: db, Opening: func(ctx context.Context) context.Context { return store.WithLimits(ctx, limits) },
		Journal: tracbus.JournalConfig{Logger: logger, Realms: []tracbus.JournalRealm{trac.Tickets{}, tracbus.Pages{}}},
		Before: func(b *tracbus.Bus) {
			if strings.HasSuffix(t.Name(), "/Load") {
				b.Ticket(tracbus.Everywhere, loads{rig: r})
			}
			if strings.HasSuffix(t.Name(), "/lease") {
				tracbus.On(b, tracbus.DurableConfig{LeaseFor: 300 * time.Millisecond}.Durable("log"), func(context.Context, tracbus.Event) error { return nil })
			}
		},
	})
	r.desk.Say(t, "first", 1)
	r.desk.Say(t, "second", 1)
	t.Cleanup(func() { // before the desk leaves, in good order
		r.proxy.Resume()
		r.proxy.Cut()
	})
	return r
}

func addr(s *testdatabase.Server) string {
	if s.Postgres != nil {
		return s.Postgres.Addr()
	}
	return s.MariaDB.Addr()
}

// loads is a listener whose Load meets with the black hole.
type loads struct {
	tracbus.TicketListener
	rig *rig
}

func (l loads) Load(ctx context.Context, s *tracbus.Snapshot) error {
	select {
	case <-l.rig.begun:
		return nil // the second time
	default:
	}
	close(l.rig.begun)
	<-l.rig.held
	rows, err := s.QueryContext(ctx, "SELECT 1")
	if err == nil {
		err = fmt.Errorf("there was an answer: %w", rows.Close())
	}
	l.rig.load <- err
	return nil
}

func (l loads) TicketCreated(context.Context, tracbus.TicketCreated) error { return nil }
func (l loads) TicketChanged(context.Context, tracbus.TicketChanged) error { return nil }
func (l loads) TicketDeleted(context.Context, tracbus.TicketDeleted) error { return nil }

// internals returns the section of docs/internals.md.
func internals(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash("../../docs/internals.md"))
	require.NoError(t, err)
	_, text2, found := strings.Cut(string(text), "## What is waited for\n")
	require.True(t, found)
	section, _, _ := strings.Cut(text2, "\n## ")
	return section
}

// The table in docs/internals.md has the waits that are tested here, and the limits that
// the code has.
func TestTableOfWaits(t *testing.T) {
	section := internals(t)
	var rows []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \| [^|]+ \| [^|]+ \| TestBlackHole \|$`).FindAllStringSubmatch(section, -1) {
		rows = append(rows, m[1])
	}
	assert.ElementsMatch(t, append(slices.Collect(maps.Keys(waits)), elsewhere...), rows)
	defaults := limit.From(t.Context())
	for name, d := range map[string]time.Duration{
		"Answer": defaults.Answer, "Lock": defaults.Lock, "Commit": defaults.Commit, "Writer": defaults.Writer, "Together": defaults.Together, "Spare": defaults.Spare, "Rollback": defaults.Rollback,
	} {
		assert.Contains(t, section, fmt.Sprintf("| `%s` | %s |", name, d))
	}
}

// Every method that asks the database has a bound.
func TestMethodsAreBounded(t *testing.T) {
	method := regexp.MustCompile(`(?ms)^func \(\w+ (?:\*Store|\*Tables|Rows)\) ([A-Z]\w*)\(ctx context\.Context.*?\{\n(.*?)^\}`)
	bounded := regexp.MustCompile(`[Ww]ithin\(|limits\.|t\.exec\(|t\.update\(|t\.consumers\(|t\.store\.(Exec|Transact|PrunedTo)\(|s\.begin\(|s\.line\.Begin\(|t\.Consumers\(|t\.FindConsumers\(`)
	n := 0
	for _, pattern := range []string{"../../internal/store/*.go", "../../internal/progress/*.go", "../../internal/retention/*.go"} {
		files, err := filepath.Glob(filepath.FromSlash(pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, m := range method.FindAllStringSubmatch(string(text), -1) {
				n++
				if m[1] != "Query" && !bounded.MatchString(m[2]) { // which its callers bound
					t.Errorf("%s: %s asks the database without a bound", file, m[1])
				}
			}
		}
	}
	assert.Greater(t, n, 40)
}

// Within an Update that has the pool's only connection, whatever needs another one waits
// for itself, and is told so.
func TestPoolOfOne(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		db := s.New(t)
		db.SetMaxOpenConns(1)
		d := desk.Seat(t, s, "", desk.Config{DB: db, Opening: func(ctx context.Context) context.Context { return store.WithLimits(ctx, limits) }})
		calls := map[string]func() error{
			"Status":       func() error { _, err := d.Status(ever); return err },
			"Prune":        func() error { _, err := d.Prune(ever, tracbus.Retention{KeepLast: 1}); return err },
			"Since":        func() error { return drained(d.Since(ever, 0)) },
			"History":      func() error { return drained(d.History(ever, tracbus.TicketResource(1))) },
			"Wait":         func() error { return d.Wait(ever, 1<<40) },
			"DropConsumer": func() error { return d.DropConsumer(ever, "log") },
			"Update": func() error {
				_, err := d.Update(ever, desk.Joe, func(*tracbus.ModelTransaction) error { return nil })
				return err
			},
		}
		_, err := d.Update(ever, desk.Joe, func(tx *tracbus.ModelTransaction) error {
			for name, call := range calls {
				err := call()
				require.Error(t, err, name)
				if name == "Update" && s.Dialect == "sqlite" {
					assert.ErrorContains(t, err, "no Update may wait within another")
					continue
				}
				assert.ErrorContains(t, err, "all connections of the pool are in use, 1 of 1 (SetMaxOpenConns)", name)
			}
			return tx.Record(ever, desk.Remark(1, "done"))
		})
		require.NoError(t, err)
	})
}
