package capture_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/capture"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// lines is a log whose messages can be waited for.
type lines struct {
	slog.Handler
	said chan string
}

func (l lines) Handle(_ context.Context, r slog.Record) error {
	l.said <- r.Message
	return nil
}

// TestCommittedWithoutFlush: a joined transaction that is committed without Flush does not keep what
// others write from being captured for ever.
func TestCommittedWithoutFlush(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newStill(t, s, 0)
		r.create()
		conn, err := r.db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		run := func(statement string) {
			t.Helper()
			_, err := conn.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		run(map[bool]string{true: "BEGIN IMMEDIATE", false: "BEGIN"}[s.Dialect == "sqlite"])
		tx, err := r.journal.Join(conn)
		require.NoError(t, err)
		require.NoError(t, tx.Lock(t.Context(), tracbus.TicketResource(1)))
		run("COMMIT")

		log := lines{slog.DiscardHandler, make(chan string, 100)}
		j, err := tracbus.OpenJournal(t.Context(), r.db, tracbus.NewBus("test"), tracbus.JournalConfig{
			Dialect: tracbus.Dialect(s.Dialect), Realms: allRealms(), Capture: trac.Capture{}, Logger: slog.New(loud{log}),
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- j.Run(ctx) }()
		if s.Dialect != "postgresql" { // where it ends with the transaction
			assert.Contains(t, <-log.said, "committed without Flush")
		}
		cancel()
		require.NoError(t, errors.Join(<-done, j.Close(context.Background())))
		run("UPDATE ticket SET owner = 'sue' WHERE id = 1") // on the connection that was joined
		assert.Equal(t, 1, r.waiting())
	})
}

// loud is a log that takes everything.
type loud struct{ lines }

func (loud) Enabled(context.Context, slog.Level) bool { return true }

// TestLostRow: the row that says who takes in what waits is missed, and made again.
func TestLostRow(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newStill(t, s, 0)
		r.exec("DELETE FROM journal_capture")
		status, err := r.journal.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"the row of table journal_capture is missing: nobody takes in what waits"}, status.Capture.Wrong)
		assert.Equal(t, s.Dialect == "sqlite", len(status.Capture.Captured) == 0, "its triggers look at that row")
		r.bus = tracbus.NewBus("test")
		r.open(trac.Capture{Install: true})
		status, err = r.journal.Status(t.Context())
		require.NoError(t, err)
		assert.Empty(t, status.Capture.Wrong)
		assert.Contains(t, status.Capture.Captured, "ticket")
	})
}

// takenIn takes in what waits with a journal that runs, until nothing does.
func (r *still) takenIn() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.journal.Run(ctx) }()
	for r.waiting() > 0 {
	}
	cancel()
	require.NoError(r.t, <-done)
}

// kinds returns what the journal has, as Resync is told of what it cannot keep.
func (r *still) kinds() (all []string) {
	r.t.Helper()
	for e, err := range r.journal.Since(r.t.Context(), 0) {
		if err != nil {
			all = append(all, "unreadable")
			continue
		}
		all = append(all, fmt.Sprintf("%s %s", e.Resource(), e.Kind()))
	}
	return all
}

// TestByHand: what somebody writes by hand that Trac would not is taken in, told as what it is, and
// keeps nothing else waiting.
func TestByHand(t *testing.T) {
	const ticket = "INSERT INTO ticket (id, time, changetime, summary) VALUES (1, 1, 1, 's')"
	all := []string{"sqlite", "postgresql", "mysql"}
	for name, c := range map[string]struct {
		on      []string
		written []string
		want    []string
	}{
		"a page without a name":      {all, []string{"INSERT INTO wiki VALUES ('', 1, 1, 'u', 'a', '', 0)"}, []string{"unreadable"}},
		"a milestone without a name": {all, []string{"INSERT INTO milestone VALUES ('', 0, 0, '')"}, []string{"unreadable"}},
		"a ticket that gets another number": {
			all, []string{ticket, "!", "UPDATE ticket SET id = 9 WHERE id = 1", "UPDATE ticket SET owner = 'x' WHERE id = 9"},
			[]string{"ticket 1 created", "ticket 1 deleted", "ticket 9 created"},
		},
		"a new ticket that gets another number": {all, []string{ticket, "UPDATE ticket SET id = 9 WHERE id = 1"}, []string{"ticket 9 created"}},
		"a history that goes to another ticket": {
			all, []string{
				ticket, "INSERT INTO ticket (id, time, changetime, summary) VALUES (2, 1, 1, 's')", "INSERT INTO ticket_change VALUES (2, 5, 'joe', 'comment', '1', 'c')", "!",
				"UPDATE ticket SET owner = 'x' WHERE id = 1", "UPDATE ticket_change SET ticket = 1 WHERE ticket = 2", "DELETE FROM ticket WHERE id = 2",
			},
			[]string{"ticket 1 created", "ticket 2 created", "ticket 2 changed", "ticket 1 changed", "ticket 2 deleted"},
		},
		"NULL for a page's name": {all[:1], []string{"INSERT INTO wiki VALUES (NULL, 1, 1, 'u', 'a', '', 0)"}, []string{"unreadable"}},
		"NULL for a field":       {all[:1], []string{ticket, "INSERT INTO ticket_custom VALUES (1, NULL, 'x')", "UPDATE ticket SET owner = 'x'"}, []string{"ticket 1 created", "ticket 1 changed"}},
		"NULL for a ticket":      {all[:1], []string{"INSERT INTO ticket_custom VALUES (NULL, 'a', 'x')"}, nil},
		"a text for a ticket":    {all[:1], []string{"INSERT INTO ticket_custom VALUES ('abc', 'a', 'x')"}, nil},
		"a text for a version":   {all[:1], []string{"INSERT INTO wiki VALUES ('A', 'v', 1, 'u', 'a', '', 0)"}, []string{"wiki A changed"}},
		"bytes for a name":       {all[:1], []string{"INSERT INTO wiki VALUES (x'ff00fe', 1, 1, 'u', 'a', '', 0)"}, []string{"unreadable"}},
		"a fraction for a time":  {all[:1], []string{"INSERT INTO ticket (id, time, changetime) VALUES (1, 1.5, 2.5)"}, []string{"ticket 1 created"}},
	} {
		t.Run(name, func(t *testing.T) {
			testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
				if len(c.on) == 1 && s.Dialect != "sqlite" {
					t.Skip("it refuses that")
				}
				r := newStill(t, s, 0)
				for _, statement := range c.written {
					if statement == "!" {
						r.takenIn()
					} else {
						r.exec(statement)
					}
				}
				r.takenIn()
				assert.Equal(t, c.want, r.kinds())
			})
		})
	}
}

// refuses is a Capture that cannot read one page.
type refuses struct{ trac.Capture }

func (c refuses) Events(ctx context.Context, tx *tracbus.ModelTransaction, rows []capture.Row, late bool, yield func(tracbus.Event, []int64) error) error {
	if rows[0].ID == "bad" {
		return errors.New("nobody can read it")
	}
	return c.Capture.Events(ctx, tx, rows, late, yield)
}

// TestNoneKeepsOthersWaiting: more rows than are looked at at once, of a page that cannot be taken in,
// do not keep from being taken in what comes after them.
func TestNoneKeepsOthersWaiting(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newStill(t, s, 0)
		for i := range 11 {
			var rows []string
			for j := range 100 {
				rows = append(rows, fmt.Sprintf("('bad', %d, 1, 'u', 'a', '', 0)", i*100+j+1))
			}
			r.exec("INSERT INTO wiki VALUES " + strings.Join(rows, ", "))
		}
		r.exec("INSERT INTO ticket (id, time, changetime, summary) VALUES (1, 1, 1, 's')")
		told := make(chan tracbus.Event, 1)
		r.bus = tracbus.NewBus("test")
		tracbus.On(r.bus, tracbus.Everywhere, func(_ context.Context, e tracbus.TicketCreated) error {
			told <- e
			return nil
		})
		r.open(refuses{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.journal.Run(ctx) }()
		assert.Equal(t, tracbus.TicketResource(1), (<-told).Resource())
		assert.Equal(t, 1100, r.waiting())
		cancel()
		require.NoError(t, <-done)
	})
}
