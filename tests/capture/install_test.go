package capture_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// trigger returns the name of one on the table ticket.
func trigger(dialect string) string {
	return map[string]string{"sqlite": "journal_ticket_insert", "postgresql": "journal_ticket_insert", "mysql": "journal_ticket_insert"}[dialect]
}

// TestFoundOut: OpenJournal and Status say which trigger is missing, disabled or stale, and Install
// makes it as it was.
func TestFoundOut(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		const insert = "INSERT INTO ticket (time, changetime, summary) VALUES (1, 1, 's')"
		faults := map[string]map[string][]string{
			"is missing": {
				"sqlite": {"DROP TRIGGER journal_ticket_insert"}, "postgresql": {"DROP TRIGGER journal_ticket_insert ON ticket"}, "mysql": {"DROP TRIGGER journal_ticket_insert"},
			},
			"is disabled": {"postgresql": {"ALTER TABLE ticket DISABLE TRIGGER journal_ticket_insert"}},
			"is not the one that this release makes": {
				"sqlite":     {"DROP TRIGGER journal_ticket_insert", "CREATE TRIGGER journal_ticket_insert AFTER INSERT ON ticket BEGIN SELECT 1; END"},
				"postgresql": {"CREATE OR REPLACE FUNCTION journal_ticket() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NULL; END'"},
				"mysql":      {"DROP TRIGGER journal_ticket_insert", "CREATE TRIGGER journal_ticket_insert AFTER INSERT ON ticket FOR EACH ROW SET @x = 1"},
			},
			"calls a function without SECURITY DEFINER": {"postgresql": {"ALTER FUNCTION journal_ticket() SECURITY INVOKER"}},
		}
		r := newStill(t, s, 0)
		for want, breaks := range faults {
			if breaks[s.Dialect] == nil {
				continue
			}
			t.Run(want, func(t *testing.T) {
				for _, statement := range breaks[s.Dialect] {
					r.exec(statement)
				}
				want := fmt.Sprintf("trigger %s of table ticket %s", trigger(s.Dialect), want)
				status, err := r.journal.Status(t.Context())
				require.NoError(t, err)
				assert.Contains(t, status.Capture.Wrong, want)
				assert.NotContains(t, status.Capture.Captured, "ticket")
				assert.Contains(t, status.Capture.Captured, "wiki")

				var log bytes.Buffer
				open := func(c tracbus.Capture) {
					j, err := tracbus.OpenJournal(t.Context(), r.db, tracbus.NewBus("test"), tracbus.JournalConfig{
						Dialect: tracbus.Dialect(s.Dialect), Realms: allRealms(), Capture: c, Logger: slog.New(slog.NewTextHandler(&log, nil)),
					})
					require.NoError(t, err)
					require.NoError(t, j.Close(t.Context()))
				}
				open(trac.Capture{})
				assert.Contains(t, log.String(), "what others write is not captured")
				assert.Contains(t, log.String(), want)
				log.Reset()
				open(trac.Capture{Install: true})
				assert.NotContains(t, log.String(), "not captured")
				status, err = r.journal.Status(t.Context())
				require.NoError(t, err)
				assert.Empty(t, status.Capture.Wrong)
				before := r.waiting()
				r.exec(insert)
				assert.Equal(t, before+1, r.waiting())
			})
		}
	})
}

// TestTablesMadeAnew: an upgrade of Trac makes its tables again, and the triggers are gone with
// the old ones; they are installed again, and uninstalled, and nothing that is left is in Trac's way.
func TestTablesMadeAnew(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newStill(t, s, 0)
		r.exec("DROP TABLE wiki")
		for _, statement := range tracdatabase.Schema(s.Dialect) {
			if strings.Contains(statement, "CREATE TABLE "+quoted(s.Dialect, "wiki")) {
				r.exec(statement)
			}
		}
		page := func(version int) {
			r.exec(fmt.Sprintf("INSERT INTO wiki (name, version, time, author, text, comment, readonly) VALUES ('P', %d, 1, 'trac', 'a', '', 0)", version))
		}
		status := func() tracbus.CaptureStatus {
			st, err := r.journal.Status(t.Context())
			require.NoError(t, err)
			return st.Capture
		}
		page(1)
		assert.Zero(t, r.waiting(), "nobody hears of it")
		assert.NotEmpty(t, status().Wrong)
		again := &still{t: t, dialect: s.Dialect, db: r.db, bus: tracbus.NewBus("test")}
		again.open(trac.Capture{Install: true})
		assert.Empty(t, status().Wrong)
		page(2)
		assert.Equal(t, 1, r.waiting())

		err := trac.UninstallCapture(t.Context(), r.db, tracbus.Dialect(s.Dialect), "")
		require.ErrorIs(t, err, trac.ErrInboxNotEmpty)
		page(3)
		assert.Equal(t, 1, r.waiting(), "the triggers are gone, and what waits is still there")
		r.update(func(tx *tracbus.ModelTransaction) error { return tx.Lock(t.Context(), tracbus.PageResource("P")) })
		require.Len(t, r.all(), 1)
		require.NoError(t, trac.UninstallCapture(t.Context(), r.db, tracbus.Dialect(s.Dialect), ""))
		page(4)
		r.exec("UPDATE wiki SET text = 'b'")
		r.exec("DELETE FROM wiki")
		_, err = tracbus.OpenJournal(t.Context(), r.db, tracbus.NewBus("test"), tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect), Capture: trac.Capture{}})
		require.ErrorIs(t, err, tracbus.ErrSchema)
		j, err := tracbus.OpenJournal(t.Context(), r.db, tracbus.NewBus("test"), tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect)})
		require.NoError(t, err, "nothing is captured any more")
		require.NoError(t, j.Close(t.Context()))
		require.NoError(t, trac.UninstallCapture(t.Context(), r.db, tracbus.Dialect(s.Dialect), ""), "there is nothing to do")
	})
}

func quoted(dialect, name string) string {
	switch dialect {
	case "postgresql":
		return `"` + name + `"`
	case "mysql":
		return "`" + name + "`"
	}
	return name
}

// TestInstallHoldsNobodyUp: who installs while a transaction of Trac's is open gives way to others
// that write, and does it when that has ended.
func TestInstallHoldsNobodyUp(t *testing.T) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			name := s.Name()
			r := &still{t: t, dialect: dialect, db: s.Open(t, s.DSN(name)), bus: tracbus.NewBus("test")}
			for _, statement := range tracdatabase.Schema(dialect) {
				r.exec(statement)
			}
			long, err := r.db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = long.ExecContext(t.Context(), "INSERT INTO ticket (time, changetime, summary) VALUES (1, 1, 's')")
			require.NoError(t, err)
			opened := make(chan error, 1)
			go func() {
				j, err := tracbus.OpenJournal(context.Background(), s.Open(t, s.DSN(name)), tracbus.NewBus("test"), tracbus.JournalConfig{
					Dialect: tracbus.Dialect(dialect), Capture: trac.Capture{Install: true},
				})
				if err == nil {
					err = j.Close(context.Background())
				}
				opened <- err
			}()
			text := "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'CREATE TRIGGER%'"
			if dialect == "mysql" {
				text = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'CREATE TRIGGER%' AND id <> connection_id()"
			}
			for waits := 0; waits == 0; {
				require.NoError(t, r.db.QueryRowContext(t.Context(), text).Scan(&waits))
			}
			r.exec("INSERT INTO ticket (time, changetime, summary) VALUES (1, 1, 'other')") // else it would wait until the first one ends
			require.NoError(t, long.Commit())
			require.NoError(t, <-opened)
			r.exec("INSERT INTO ticket (time, changetime, summary) VALUES (1, 1, 'captured')")
			assert.Equal(t, 1, r.waiting())
		})
	}
}

// TestCaptureSchema: the statements for those who migrate by hand make what Install makes.
func TestCaptureSchema(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		schema := ""
		if s.Dialect == "postgresql" {
			_, _, err := trac.CaptureSchema(tracbus.PostgreSQL, "")
			require.ErrorContains(t, err, "expected its name")
			schema = "public"
		}
		install, uninstall, err := trac.CaptureSchema(tracbus.Dialect(s.Dialect), schema)
		require.NoError(t, err)
		db := s.New(t)
		r := &still{t: t, dialect: s.Dialect, db: db, bus: tracbus.NewBus("test")}
		for _, statement := range tracdatabase.Schema(s.Dialect) {
			r.exec(statement)
		}
		for _, statement := range strings.Split(strings.TrimSpace(install), "\n\n") {
			r.exec(statement)
		}
		r.open(trac.Capture{})
		status, err := r.journal.Status(t.Context())
		require.NoError(t, err)
		assert.Empty(t, status.Capture.Wrong)
		assert.Len(t, status.Capture.Captured, 8)
		r.exec("UPDATE ticket SET summary = 'x'")
		for _, statement := range strings.Split(strings.TrimSpace(uninstall), "\n\n") {
			r.exec(statement)
		}
		r.exec("INSERT INTO ticket (time, changetime, summary) VALUES (1, 1, 's')")
		_, _, err = trac.CaptureSchema("oracle", "")
		require.ErrorContains(t, err, "expected sqlite, postgresql or mysql")
	})
}

// TestTracNeverFails: whatever Trac's session has set, and whatever its rows hold, what captures
// does not make a statement fail that would succeed without.
func TestTracNeverFails(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		name := s.Name()
		r := &still{t: t, dialect: s.Dialect, db: s.Open(t, s.DSN(name)), bus: tracbus.NewBus("test")}
		for _, statement := range tracdatabase.Schema(s.Dialect) {
			r.exec(statement)
		}
		r.open(trac.Capture{Install: true})
		conn, err := s.Open(t, s.DSN(name)).Conn(t.Context()) // of a pool of its own: its session is not fit for others
		require.NoError(t, err)
		defer conn.Close()
		run := func(statement string, args ...any) {
			t.Helper()
			_, err := conn.ExecContext(t.Context(), statement, args...)
			require.NoError(t, err, "%.100s", statement)
		}
		schema := ""
		switch s.Dialect {
		case "sqlite":
			run("PRAGMA recursive_triggers = ON")
			run("PRAGMA foreign_keys = ON")
			run("PRAGMA case_sensitive_like = ON")
		case "postgresql":
			schema = "public."
			run("CREATE ROLE trac LOGIN")
			run("GRANT SELECT, INSERT, UPDATE, DELETE ON ticket, ticket_custom, ticket_change, wiki, attachment TO trac")
			run("GRANT USAGE ON SEQUENCE ticket_id_seq TO trac")
			// Somebody may have put what is called as we call it before what the database has.
			run("CREATE SCHEMA trap")
			run("GRANT USAGE ON SCHEMA trap TO trac")
			for _, f := range []string{"current_setting(text, boolean) RETURNS text", "substr(text, integer, integer) RETURNS text", "replace(text, text, text) RETURNS text", "same(text, text) RETURNS boolean", "joined(text, text) RETURNS text"} {
				run("CREATE FUNCTION trap." + f + " LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trapped''; END'")
			}
			run("CREATE OPERATOR trap.= (FUNCTION = trap.same, LEFTARG = text, RIGHTARG = text)")
			run("CREATE OPERATOR trap.|| (FUNCTION = trap.joined, LEFTARG = text, RIGHTARG = text)")
			run("SET SESSION AUTHORIZATION trac")
			run("SET search_path = trap, pg_catalog")
			run("SET DateStyle = 'German'")
			run("SET default_transaction_isolation = 'serializable'")
		case "mysql":
			run("SET sql_mode = 'ANSI,TRADITIONAL,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,NO_ZERO_DATE'")
			run("SET NAMES latin1")
			run("SET time_zone = '+05:00'")
		}
		long := strings.Repeat("x", 60_000)
		mark := func(n int) string {
			if s.Dialect == "postgresql" {
				return fmt.Sprintf("$%d", n)
			}
			return "?"
		}
		run("INSERT INTO "+schema+"ticket (id, summary, description) VALUES (1, "+mark(1)+", "+mark(2)+")", long, long)
		run("UPDATE "+schema+"ticket SET summary = NULL, description = ' ', keywords = "+mark(1), long)
		run("INSERT INTO "+schema+"ticket_custom (ticket, name, value) VALUES (1, "+mark(1)+", NULL)", long[:1500])
		run("INSERT INTO "+schema+"ticket_change (ticket, time, author, field, oldvalue, newvalue) VALUES (1, 0, "+mark(1)+", 'comment', NULL, "+mark(2)+")", long, long)
		run("INSERT INTO "+schema+"wiki (name, version, time, author, text, comment, readonly) VALUES ("+mark(1)+", 1, NULL, NULL, NULL, NULL, NULL)", long[:2000])
		run("UPDATE "+schema+"wiki SET name = "+mark(1), "y"+long[:2000])
		run("INSERT INTO "+schema+"attachment (type, id, filename) VALUES ('wiki', "+mark(1)+", "+mark(2)+")", long[:1000], strings.Repeat("/%", 400))
		run("UPDATE " + schema + "attachment SET id = 'P'")
		run("DELETE FROM " + schema + "attachment")
		run("DELETE FROM " + schema + "wiki")
		run("DELETE FROM " + schema + "ticket_change")
		run("DELETE FROM " + schema + "ticket")
		if s.Dialect == "postgresql" {
			run("RESET SESSION AUTHORIZATION")
		}
		resources := []tracbus.Resource{tracbus.TicketResource(1), tracbus.PageResource(long[:2000])}
		r.update(func(tx *tracbus.ModelTransaction) error { return tx.Lock(t.Context(), resources...) })
		var kinds []string
		for e, err := range r.journal.Since(t.Context(), 0) {
			if err != nil {
				kinds = append(kinds, "unreadable")
				break
			}
			kinds = append(kinds, string(e.Resource().Realm)+" "+string(e.Kind()))
		}
		assert.Equal(t, []string{"ticket created", "ticket changed", "ticket change_deleted", "ticket deleted", "unreadable"}, kinds,
			"a page with a name that no journal can keep is said to be missed")
	})
}
