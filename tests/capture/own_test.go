package capture_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// still is a journal that takes in what others write only where a transaction asks for it, in a
// database with Trac's tables. Everything goes through one connection, so that what is left in its session matters.
type still struct {
	t       *testing.T
	dialect string
	db      *sql.DB
	bus     *tracbus.Bus
	journal *tracbus.Journal
}

func newStill(t *testing.T, s *testdatabase.Server, connections int) *still {
	r := &still{t: t, dialect: s.Dialect, db: s.Open(t, s.DSN(s.Name())), bus: tracbus.NewBus("test")}
	r.db.SetMaxOpenConns(connections)
	for _, statement := range tracdatabase.Schema(s.Dialect) {
		r.exec(statement)
	}
	r.open(trac.Capture{Install: true})
	return r
}

func (r *still) open(c tracbus.Capture) {
	r.t.Helper()
	j, err := tracbus.OpenJournal(r.t.Context(), r.db, r.bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(r.dialect), Capture: c, Realms: allRealms()})
	require.NoError(r.t, err)
	r.journal = j
	r.t.Cleanup(func() {
		require.NoError(r.t, errors.Join(j.Close(context.Background()), r.bus.Close(context.Background())))
	})
}

func (r *still) exec(statement string, args ...any) {
	r.t.Helper()
	_, err := r.db.ExecContext(r.t.Context(), statement, args...)
	require.NoError(r.t, err, statement)
}

func (r *still) waiting() (n int) {
	r.t.Helper()
	require.NoError(r.t, r.db.QueryRowContext(r.t.Context(), "SELECT count(*) FROM journal_inbox").Scan(&n))
	return n
}

func (r *still) update(f func(tx *tracbus.ModelTransaction) error) {
	r.t.Helper()
	_, err := r.journal.Update(r.t.Context(), tracbus.Actor{Author: "go"}, f)
	require.NoError(r.t, err)
}

// create makes ticket 1, in the library's own way.
func (r *still) create() {
	r.t.Helper()
	r.update(func(tx *tracbus.ModelTransaction) error {
		return tx.Save(r.t.Context(), trac.TicketCreate{Set: tracbus.Fields{"summary": "s", "owner": "joe"}})
	})
}

// all returns the journal's events.
func (r *still) all() (events []tracbus.Event) {
	r.t.Helper()
	for e, err := range r.journal.Since(r.t.Context(), 0) {
		require.NoError(r.t, err)
		events = append(events, e)
	}
	return events
}

// TestOwnWritesPass: what the library's transactions write is not captured, whatever ends them, and
// what the application writes on the same connection after that is.
func TestOwnWritesPass(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		const byHand = "UPDATE ticket SET keywords = 'own' WHERE id = 1"
		never := errors.New("never")
		for name, own := range map[string]func(r *still){
			"saved": func(r *still) {
				r.update(func(tx *tracbus.ModelTransaction) error {
					return tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"keywords": "own"}})
				})
			},
			"recorded after its statement": func(r *still) {
				r.update(func(tx *tracbus.ModelTransaction) error {
					if _, err := tx.SQL().ExecContext(t.Context(), byHand); err != nil {
						return err
					}
					return tx.Record(t.Context(), tracbus.TicketChanged{ID: 1, New: tracbus.Fields{"keywords": "own"}, Old: tracbus.Fields{"keywords": ""}})
				})
			},
			"without a change": func(r *still) {
				r.update(func(tx *tracbus.ModelTransaction) error {
					return tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"owner": "joe"}})
				})
			},
			"with statements alone": func(r *still) {
				r.update(func(tx *tracbus.ModelTransaction) error {
					_, err := tx.SQL().ExecContext(t.Context(), byHand)
					return err
				})
			},
			"rolled back": func(r *still) {
				_, err := r.journal.Update(t.Context(), tracbus.Actor{}, func(tx *tracbus.ModelTransaction) error {
					_, err := tx.SQL().ExecContext(t.Context(), byHand)
					return errors.Join(never, err)
				})
				require.ErrorIs(t, err, never)
			},
			"joined and flushed": func(r *still) { r.joined(true) },
			"joined and rolled back": func(r *still) {
				r.joined(false)
			},
		} {
			t.Run(name, func(t *testing.T) {
				r := newStill(t, s, 1)
				r.create()
				own(r)
				assert.Zero(t, r.waiting(), "the library's own writes are not captured")
				r.exec("UPDATE ticket SET milestone = 'm1' WHERE id = 1")
				assert.Equal(t, 1, r.waiting(), "what the application writes on the connection afterwards is captured")
			})
		}
	})
}

// joined is a transaction of the application that a journal joins.
func (r *still) joined(commit bool) {
	r.t.Helper()
	conn, err := r.db.Conn(r.t.Context())
	require.NoError(r.t, err)
	defer conn.Close()
	begin := "BEGIN"
	if r.dialect == "sqlite" {
		begin = "BEGIN IMMEDIATE"
	}
	_, err = conn.ExecContext(r.t.Context(), begin)
	require.NoError(r.t, err)
	tx, err := r.journal.Join(conn)
	require.NoError(r.t, err)
	require.NoError(r.t, tx.Prepare(tracbus.Actor{Author: "go"}, ""))
	require.NoError(r.t, tx.Save(r.t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"keywords": "own"}}))
	end := "ROLLBACK"
	if commit {
		end = "COMMIT"
		_, err = tx.Flush(r.t.Context())
		require.NoError(r.t, err)
	}
	_, err = conn.ExecContext(r.t.Context(), end)
	require.NoError(r.t, err)
	tx.Notify()
}

// TestInstalledWhileOthersRun: a process that opened its journal before what captures was
// installed does not have its own writes captured either.
func TestInstalledWhileOthersRun(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		name := s.Name()
		r := &still{t: t, dialect: s.Dialect, db: s.Open(t, s.DSN(name)), bus: tracbus.NewBus("test")}
		for _, statement := range tracdatabase.Schema(s.Dialect) {
			r.exec(statement)
		}
		r.open(nil)
		r.create()
		later := &still{t: t, dialect: s.Dialect, db: s.Open(t, s.DSN(name)), bus: tracbus.NewBus("test")}
		later.open(trac.Capture{Install: true})
		r.update(func(tx *tracbus.ModelTransaction) error {
			return tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"keywords": "own"}})
		})
		assert.Zero(t, r.waiting())
		r.exec("UPDATE ticket SET milestone = 'm1' WHERE id = 1")
		assert.Equal(t, 1, r.waiting())
		_, err := tracbus.OpenJournal(t.Context(), s.Open(t, s.DSN(name)), tracbus.NewBus("test"), tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect)})
		require.ErrorIs(t, err, tracbus.ErrSchema, "without Capture it would put its own changes before those that wait")
		require.ErrorContains(t, err, "expected JournalConfig.Capture")
	})
}

// TestSaveTakesInFirst: what others wrote comes before the change of the transaction that finds it,
// whose old values are what they wrote.
func TestSaveTakesInFirst(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newStill(t, s, 0)
		r.create()
		r.exec("UPDATE ticket SET owner = 'sue' WHERE id = 1")
		r.update(func(tx *tracbus.ModelTransaction) error {
			return tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"owner": "ann"}})
		})
		assert.Zero(t, r.waiting())
		events := r.all()
		require.Len(t, events, 3)
		theirs, ours := events[1].(tracbus.TicketChanged), events[2].(tracbus.TicketChanged)
		assert.Equal(t, tracbus.Fields{"owner": "joe"}, theirs.Old)
		assert.Equal(t, tracbus.Fields{"owner": "sue"}, theirs.New)
		assert.Equal(t, "sue", theirs.Values["owner"])
		assert.False(t, theirs.Primary, "secondary, although this process put it into the journal")
		assert.Equal(t, tracbus.AttrAddress|tracbus.AttrActor, theirs.Absent)
		assert.Equal(t, tracbus.Fields{"owner": "sue"}, ours.Old)
		assert.True(t, ours.Primary)
		assert.Zero(t, ours.Absent)
		assert.Equal(t, theirs.CommitID, ours.CommitID)

		r.exec("DELETE FROM ticket WHERE id = 1")
		_, err := r.journal.Update(t.Context(), tracbus.Actor{}, func(tx *tracbus.ModelTransaction) error {
			return tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"owner": "bob"}})
		})
		require.ErrorIs(t, err, tracbus.ErrNotFound)
		assert.Equal(t, 16, r.waiting(), "what was rolled back still waits: a row for each column")
		r.update(func(tx *tracbus.ModelTransaction) error { return tx.Lock(t.Context(), tracbus.TicketResource(1)) })
		gone := r.all()[3].(tracbus.TicketDeleted)
		assert.Equal(t, "ann", gone.Values["owner"])
	})
}

// servers runs a test on the databases in which several transactions write at a time.
func servers(t *testing.T, f func(t *testing.T, s *testdatabase.Server)) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) { f(t, testdatabase.New(t, dialect)) })
	}
}

// TestSaveWaitsForTrac: a transaction of Trac's that has locked the ticket comes before the Save that
// waits for it.
func TestSaveWaitsForTrac(t *testing.T) {
	servers(t, func(t *testing.T, s *testdatabase.Server) {
		r := newStill(t, s, 0)
		r.create()
		theirs, err := r.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer theirs.Rollback()
		_, err = theirs.ExecContext(t.Context(), "UPDATE ticket SET owner = 'sue' WHERE id = 1")
		require.NoError(t, err)
		saved := make(chan error, 1)
		go func() {
			_, err := r.journal.Update(t.Context(), tracbus.Actor{Author: "go"}, func(tx *tracbus.ModelTransaction) error {
				return tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"owner": "ann"}})
			})
			saved <- err
		}()
		r.awaitLockWait()
		require.NoError(t, theirs.Commit())
		require.NoError(t, <-saved)
		events := r.all()
		require.Len(t, events, 3)
		assert.Equal(t, tracbus.Fields{"owner": "sue"}, events[1].(tracbus.TicketChanged).New)
		assert.Equal(t, tracbus.Fields{"owner": "sue"}, events[2].(tracbus.TicketChanged).Old)
	})
}

// awaitLockWait returns when a transaction waits for the row of another.
func (r *still) awaitLockWait() {
	r.t.Helper()
	text := "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
	if r.dialect == "mysql" {
		// What InnoDB itself shows of its locks is not refreshed while it is asked all the time.
		text = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT 1 FROM%FOR UPDATE' AND id <> connection_id()"
	}
	for waits := 0; waits == 0; {
		require.NoError(r.t, r.db.QueryRowContext(r.t.Context(), text).Scan(&waits))
	}
}

// TestPageThatTracWroteMeanwhile: a new version of a page by Trac, which locks nothing, between
// what is taken in and the commit makes the change a conflict, and not one that comes before it.
func TestPageThatTracWroteMeanwhile(t *testing.T) {
	servers(t, func(t *testing.T, s *testdatabase.Server) {
		const insert = "INSERT INTO wiki (name, version, time, author, text, comment, readonly) VALUES ('P', 1, 1, 'trac', 'a', '', 0)"
		r := newStill(t, s, 0)
		_, err := r.journal.Update(t.Context(), tracbus.Actor{Author: "go"}, func(tx *tracbus.ModelTransaction) error {
			if err := tx.Lock(t.Context(), tracbus.PageResource("P")); err != nil { // nothing waits
				return err
			}
			r.exec(insert)
			return tx.Save(t.Context(), trac.PageEdit{Name: "P", Text: new("b")})
		})
		require.ErrorIs(t, err, tracbus.ErrConflict)
		r.update(func(tx *tracbus.ModelTransaction) error {
			return tx.Save(t.Context(), trac.PageEdit{Name: "P", Text: new("b")})
		})
		events := r.all()
		require.Len(t, events, 2)
		assert.Equal(t, "a", events[0].(tracbus.WikiPageCreated).Page.Text)
		assert.Equal(t, "a", events[1].(tracbus.WikiPageChanged).OldText)
	})
}
