package capture_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// TestJoinedCreateIsOurs: what a joined transaction creates first, of which no number is known
// before, is told once, as the journal's own.
func TestJoinedCreateIsOurs(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newRig(t, s)
		tx, err := r.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		joined, err := r.journal.Join(tx)
		require.NoError(t, err)
		require.NoError(t, joined.Prepare(tracbus.Actor{Author: "go"}, ""))
		require.NoError(t, joined.Save(t.Context(), trac.TicketCreate{Set: tracbus.Fields{"summary": "ours"}}))
		tid, err := joined.Flush(t.Context())
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		joined.Notify()
		e := r.next()
		require.IsType(t, tracbus.TicketCreated{}, e)
		assert.True(t, e.About().Primary)
		assert.Equal(t, tid, e.About().TID)
		r.exec(`UPDATE ticket SET component = 'c'`)
		require.IsType(t, tracbus.TicketChanged{}, r.next(), "and nothing before it")
	})
}

// join joins a transaction that goes on showing the tables as they are now.
func (r *still) join() (theirs *sql.Tx, tx *tracbus.ModelTransaction) {
	r.t.Helper()
	theirs, err := r.db.BeginTx(r.t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = theirs.Rollback() })
	var n int
	require.NoError(r.t, theirs.QueryRowContext(r.t.Context(), "SELECT count(*) FROM wiki").Scan(&n))
	tx, err = r.journal.Join(theirs)
	require.NoError(r.t, err)
	require.NoError(r.t, tx.Prepare(tracbus.Actor{Author: "go"}, ""))
	return theirs, tx
}

// TestJoinedKeepsNobodyWaiting: a joined transaction that has locked one ticket does not make Trac
// wait that saves another, also if it is one that locks what is between rows.
func TestJoinedKeepsNobodyWaiting(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		if s.Dialect == "sqlite" {
			t.Skip("on SQLite one transaction writes at a time")
		}
		r := newStill(t, s, 0)
		r.create()
		r.create()
		r.exec("TRUNCATE TABLE journal_inbox")
		ours, tx := r.join()
		require.NoError(t, tx.Lock(t.Context(), tracbus.TicketResource(1)))
		r.exec("UPDATE ticket SET owner = 'x' WHERE id = 2")
		require.NoError(t, tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"owner": "me"}}))
		_, err := tx.Flush(t.Context())
		require.NoError(t, err)
		require.NoError(t, ours.Commit())
	})
}

// TestJoinedTakesInWhatIsNew: a joined transaction that shows the tables as they were takes in what
// others wrote since as it is, or leaves it to others.
func TestJoinedTakesInWhatIsNew(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		if s.Dialect == "sqlite" {
			t.Skip("on SQLite one transaction writes at a time")
		}
		r := newStill(t, s, 0)
		ours, tx := r.join()
		r.exec("INSERT INTO ticket (id, time, changetime, summary) VALUES (1, 1, 1, 's')")
		r.exec("INSERT INTO wiki VALUES ('P', 1, 1, 'u', 'text', '', 0)")
		require.NoError(t, tx.Lock(t.Context(), tracbus.TicketResource(1), tracbus.PageResource("P")))
		_, err := tx.Flush(t.Context())
		require.NoError(t, err)
		require.NoError(t, ours.Commit())
		events := r.all()
		if s.Dialect == "postgresql" {
			assert.Empty(t, events, "it does not see it, and leaves it to others")
			assert.Equal(t, 2, r.waiting())
			return
		}
		require.Len(t, events, 2)
		assert.Equal(t, "s", events[0].(tracbus.TicketCreated).Values["summary"])
		assert.Equal(t, "text", events[1].(tracbus.WikiPageCreated).Page.Text)
	})
}

// TestJoinedWithTheRightsToRun: a joined transaction takes in what waits with the rights that docs/capture.md lists.
func TestJoinedWithTheRightsToRun(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	r := newStill(t, s, 0)
	r.create()
	for _, statement := range []string{
		"CREATE ROLE worker", "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker", "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO worker",
		"REVOKE ALL ON journal_inbox, journal_capture FROM worker", "GRANT SELECT, DELETE ON journal_inbox TO worker", "GRANT SELECT, UPDATE ON journal_capture TO worker",
		"UPDATE ticket SET owner = 'sue' WHERE id = 1",
	} {
		r.exec(statement)
	}
	tx, err := r.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.ExecContext(t.Context(), "SET LOCAL ROLE worker")
	require.NoError(t, err)
	joined, err := r.journal.Join(tx)
	require.NoError(t, err)
	require.NoError(t, joined.Prepare(tracbus.Actor{Author: "go"}, ""))
	require.NoError(t, joined.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"owner": "ann"}}))
	_, err = joined.Flush(t.Context())
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	require.Len(t, r.all(), 3)
}
