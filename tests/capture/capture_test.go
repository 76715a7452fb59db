// Package capture_test has what others write to Trac's tables reach a journal.
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
	"github.com/tracbus/tracbus/trac/realms"
)

// rig is a database with Trac's tables, a journal that takes in what others write, and db, with
// which the others write.
type rig struct {
	t       *testing.T
	dialect tracbus.Dialect
	db      *sql.DB
	journal *tracbus.Journal
	told    chan tracbus.Event
}

func allRealms() []tracbus.JournalRealm {
	return []tracbus.JournalRealm{trac.Tickets{}, tracbus.Pages{}, realms.Milestones{}, realms.Components{}, realms.Versions{}, realms.Attachments{}}
}

func newRig(t *testing.T, s *testdatabase.Server) *rig { return newRigIn(t, s, s.Name()) }

// newRigIn makes one in a database that is empty.
func newRigIn(t *testing.T, s *testdatabase.Server, name string) *rig {
	r := &rig{t: t, dialect: tracbus.Dialect(s.Dialect), db: s.Open(t, s.DSN(name)), told: make(chan tracbus.Event, 10_000)}
	for _, statement := range tracdatabase.Schema(r.dialect) {
		r.exec(statement)
	}
	bus := tracbus.NewBus("test")
	tracbus.On(bus, tracbus.Everywhere, func(_ context.Context, e tracbus.Event) error {
		r.told <- e
		return nil
	})
	j, err := tracbus.OpenJournal(t.Context(), s.Open(t, s.DSN(name)), bus, tracbus.JournalConfig{
		Dialect: r.dialect, Realms: allRealms(), Capture: trac.Capture{Install: true},
	})
	require.NoError(t, err)
	r.journal = j
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, errors.Join(<-done, j.Close(context.Background()), bus.Close(context.Background())))
	})
	return r
}

func (r *rig) exec(statement string, args ...any) {
	r.t.Helper()
	_, err := r.db.ExecContext(r.t.Context(), statement, args...)
	require.NoError(r.t, err, statement)
}

// transaction runs statements in one.
func (r *rig) transaction(statements ...string) {
	r.t.Helper()
	tx, err := r.db.BeginTx(r.t.Context(), nil)
	require.NoError(r.t, err)
	for _, s := range statements {
		_, err := tx.ExecContext(r.t.Context(), s)
		require.NoError(r.t, err, s)
	}
	require.NoError(r.t, tx.Commit())
}

// next returns the next event.
func (r *rig) next() tracbus.Event {
	r.t.Helper()
	select {
	case e := <-r.told:
		return e
	case <-r.t.Context().Done():
		r.t.Fatal("the test has ended")
		return nil
	}
}

func TestOthersAreHeard(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newRig(t, s)
		r.transaction(
			`INSERT INTO ticket (id, type, time, changetime, reporter, summary, status) VALUES (1, 'bug', 1000000, 1000000, 'joe', 'first', 'new')`,
			`INSERT INTO ticket_custom (ticket, name, value) VALUES (1, 'colour', 'red')`,
		)
		e := r.next()
		created, ok := e.(tracbus.TicketCreated)
		require.True(t, ok, "%#v", e)
		assert.Equal(t, "first", created.Values["summary"])
		assert.Equal(t, "joe", created.Author)
		assert.False(t, created.Primary)
		assert.Equal(t, tracbus.AttrAddress, created.Absent)
		r.transaction(
			`UPDATE ticket SET changetime=2000000 WHERE id=1`,
			`UPDATE ticket SET milestone='m1' WHERE id=1`,
			`INSERT INTO ticket_change (ticket,time,author,field,oldvalue,newvalue) VALUES (1,2000000,'sue','milestone',NULL,'m1')`,
			`INSERT INTO ticket_change (ticket,time,author,field,oldvalue,newvalue) VALUES (1,2000000,'sue','comment','1','why')`,
		)
		e = r.next()
		changed, ok := e.(tracbus.TicketChanged)
		require.True(t, ok, "%#v", e)
		assert.Equal(t, tracbus.Fields{"milestone": "m1"}, changed.New)
		assert.Equal(t, tracbus.Fields{"milestone": ""}, changed.Old)
		assert.Equal(t, "why", changed.Comment)
		assert.Equal(t, "sue", changed.Author)
		r.exec(`INSERT INTO wiki (name, version, time, author, text, comment, readonly) VALUES ('Page', 1, 3000000, 'ann', 'text', NULL, 0)`)
		e = r.next()
		page, ok := e.(tracbus.WikiPageCreated)
		require.True(t, ok, "%#v", e)
		assert.Equal(t, "text", page.Page.Text)

		_, err := r.journal.Update(t.Context(), tracbus.Actor{Author: "go"}, func(tx *tracbus.ModelTransaction) error {
			return tx.Save(t.Context(), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"owner": "me"}})
		})
		require.NoError(t, err)
		e = r.next()
		changed, ok = e.(tracbus.TicketChanged)
		require.True(t, ok, "%#v", e)
		assert.True(t, changed.Primary)
		r.exec(`UPDATE ticket SET component = 'c' WHERE id = 1`)
		e = r.next()
		changed, ok = e.(tracbus.TicketChanged)
		require.True(t, ok, "%#v", e)
		assert.Equal(t, tracbus.Fields{"component": "c"}, changed.New, "and nothing of the library's own")
		r.exec(`DELETE FROM wiki WHERE name = 'Page'`)
		require.IsType(t, tracbus.WikiPageDeleted{}, r.next())
		r.exec(`INSERT INTO attachment (type, id, filename, size, time, description, author) VALUES ('ticket', '1', 'a/%b.txt', 5, 1, 'd', 'joe')`)
		e = r.next()
		added, ok := e.(realms.AttachmentAdded)
		require.True(t, ok, "%#v", e)
		assert.Equal(t, "a/%b.txt", added.Attachment.Filename)
		status, err := r.journal.Status(t.Context())
		require.NoError(t, err)
		assert.Empty(t, status.Capture.Wrong)
		assert.Zero(t, status.Capture.Waiting)
		assert.Equal(t, []string{"ticket", "ticket_custom", "ticket_change", "wiki", "milestone", "component", "version", "attachment"}, status.Capture.Captured, "the tables that there are")
	})
}
