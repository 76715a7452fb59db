package journal_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestBentSessions: a session that would bend in silence what is written or read is
// refused when the journal is opened.
func TestBentSessions(t *testing.T) {
	strict := url.QueryEscape("'STRICT_TRANS_TABLES,EMPTY_STRING_IS_NULL'")
	for dialect, cases := range map[string][][2]string{
		"sqlite": {{"&_pragma=read_uncommitted(1)", "read_uncommitted is on"}},
		"postgresql": {
			{"&client_encoding=LATIN1", "client_encoding is LATIN1: expected UTF8"},
			{"&default_transaction_deferrable=on", "default_transaction_deferrable is on"},
		},
		"mysql": {
			{"&sql_select_limit=10", "sql_select_limit is 10"},
			{"&charset=latin1", "character_set_client is latin1"},
			{"&charset=utf8mb3", "character_set_client is utf8mb3: expected utf8mb4"},
			{"&character_set_results=latin1", "character_set_results is latin1"},
			{"&sql_mode=" + strict, "sql_mode has EMPTY_STRING_IS_NULL"},
			{"&sql_mode=ANSI", "cuts what is too long"},
		},
	} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			for _, c := range cases {
				err := open(t, s.Open(t, s.DSN(s.Name())+c[0]), tracbus.JournalConfig{Dialect: tracbus.Dialect(dialect)})
				assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase, c[0])
				assert.ErrorContains(t, err, c[1])
			}
		})
	}
}

// said has letters of one to four bytes, and what is special between quotes.
const said = `aä€😀 \ ' " ?`

// TestSessionsBentLater: what the application sets in the session of its transaction,
// between two changes, does not bend what is stored: it does no harm, or the commit is
// refused and says why. Then the session is not used again.
func TestSessionsBentLater(t *testing.T) {
	for dialect, cases := range map[string][][2]string{
		"sqlite": {
			{"CREATE TEMP TABLE journal_change (tid, seq)", ""},
			{"CREATE TEMP TABLE journal_facts (one, floor)", ""},
			{"PRAGMA reverse_unordered_selects = 1", ""},
			{"PRAGMA recursive_triggers = 1", ""},
		},
		"postgresql": {
			{"SET LOCAL TIME ZONE 'Asia/Kathmandu'", ""},
			{"SET LOCAL datestyle = 'German'", ""},
			{"SET LOCAL search_path = pg_temp, pg_catalog", ""},
			{"SET LOCAL standard_conforming_strings = off", ""},
			{"SET LOCAL bytea_output = escape", ""},
			{"SET LOCAL extra_float_digits = -15", ""},
			{"CREATE TEMP TABLE journal_change (tid bigint)", ""},
			{"SET client_encoding = 'LATIN1'", "client_encoding is LATIN1: expected UTF8"},
			{"SET default_transaction_deferrable = on", "default_transaction_deferrable is on"},
			{"SET LOCAL NAMES 'WIN1252'", "client_encoding is WIN1252: expected UTF8"},
		},
		"mysql": {
			{"SET time_zone = '+05:45'", ""},
			{"SET sql_mode = concat(@@sql_mode, ',ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE')", ""},
			{"SET sql_safe_updates = 1", ""},
			{"SET foreign_key_checks = 0", ""},
			{"SET div_precision_increment = 0", ""},
			{"SET NAMES latin1", "character_set_client is latin1: expected utf8mb4"},
			{"SET character_set_connection = latin1", "character_set_connection is latin1"},
			{"SET sql_select_limit = 0", ""}, // a procedure does without it
			{"SET sql_mode = ''", "cuts what is too long"},
			{"SET sql_mode = concat(@@sql_mode, ',EMPTY_STRING_IS_NULL')", "sql_mode has EMPTY_STRING_IS_NULL"},
			{"SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "READ-UNCOMMITTED"},
		},
	} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			for _, c := range cases {
				t.Run(c[0], func(t *testing.T) {
					d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Idle: true})
					d.DB.SetMaxOpenConns(1)
					_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
						require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, said)))
						_, err := tx.SQL().ExecContext(testkit.Within(t), c[0])
						require.NoError(t, err)
						return tx.Record(testkit.Within(t), desk.Remark(2, said))
					})
					want := []string{said, said, said}
					if c[1] != "" {
						want = want[:1]
						assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
						assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase)
						assert.ErrorContains(t, err, c[1])
					} else {
						assert.NoError(t, err)
					}
					d.Say(t, said, 3)
					assert.Equal(t, want, desk.Comments(readBack(t, d)))
				})
			}
		})
	}
}

// TestReadsInBentSessions: whatever was set in a session of the pool since the journal
// was opened, what is read is what was stored.
func TestReadsInBentSessions(t *testing.T) {
	for dialect, cases := range map[string][]string{
		"sqlite":     {"PRAGMA reverse_unordered_selects = 1", "CREATE TEMP TABLE journal_change (tid, seq)"},
		"postgresql": {"SET client_encoding = 'LATIN1'", "SET TIME ZONE 'Asia/Kathmandu'", "SET search_path = pg_temp"},
		"mysql":      {"SET sql_select_limit = 0", "SET sql_select_limit = 1", "SET NAMES latin1", "SET character_set_results = latin1"},
	} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			dsn := s.DSN(s.Name())
			writer := desk.Seat(t, s, dsn, desk.Config{Idle: true})
			for _, setting := range cases {
				t.Run(setting, func(t *testing.T) {
					d := desk.Seat(t, s, dsn, desk.Config{Idle: true})
					d.DB.SetMaxOpenConns(1)
					_, err := d.DB.Exec(setting)
					require.NoError(t, err)
					d.Follow()
					writer.Say(t, said, 1, 2)
					last := writer.Say(t, said, 1)
					require.NoError(t, d.Wait(testkit.Within(t), last))
					all, _ := d.Heard()
					assert.Equal(t, []string{said, said, said}, desk.Comments(all))
					assert.Equal(t, states(readBack(t, writer)), states(readBack(t, d)))
					var history []tracbus.Event
					for e, err := range d.History(testkit.Within(t), tracbus.Resource{Realm: tracbus.RealmTicket, ID: "1"}) {
						require.NoError(t, err)
						history = append(history, e)
					}
					assert.GreaterOrEqual(t, len(history), 2)
					st, err := d.Status(testkit.Within(t))
					assert.NoError(t, err)
					assert.Equal(t, last, st.Position)
				})
			}
		})
	}
}

// states returns what events say of their tickets.
func states(events []tracbus.Event) (all []any) {
	for _, e := range events {
		c := e.(tracbus.TicketChanged)
		all = append(all, c.Author, c.Values, c.Old)
	}
	return all
}
