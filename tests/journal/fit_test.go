package journal_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestFitSessions: MySQL's sessions must neither show what may be rolled back nor
// keep showing what was.
func TestFitSessions(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	dsn := s.DSN(s.Name())
	config := tracbus.JournalConfig{Dialect: tracbus.MySQL}
	db := s.Open(t, dsn)
	var name, value string
	require.NoError(t, db.QueryRow("SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')").Scan(&name, &value))
	for setting, word := range map[string]string{
		"autocommit=0": "autocommit is OFF",
		name + "=" + url.QueryEscape("'READ-UNCOMMITTED'"): name + " is READ-UNCOMMITTED",
	} {
		err := open(t, s.Open(t, dsn+"&"+setting), config)
		assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase)
		assert.ErrorContains(t, err, word)
	}
	for _, level := range []string{"READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"} {
		assert.NoError(t, open(t, s.Open(t, dsn+"&"+name+"="+url.QueryEscape("'"+level+"'")), config), level)
	}
}

// TestFitParts: a journal without one of its tables, the rows to lock or the functions
// is not opened.
func TestFitParts(t *testing.T) {
	for dialect, cases := range map[string][][2]string{
		"mysql": {
			{"DROP TABLE journal_lock", "journal_lock"},
			{"DROP TABLE journal_decided", "journal_decided"},
			{"DELETE FROM journal_lock", "journal_lock has 0 of its 4096 rows"},
			{"DELETE FROM journal_lock WHERE slot = 7", "journal_lock has 4095 of its 4096 rows"},
			{"DELETE FROM journal_decided", "journal_decided has no row"},
		},
		"postgresql": {
			{"DROP FUNCTION journal_bound", "function journal_bound is missing"},
			{"DROP FUNCTION journal_bound", "function journal_bound is missing"},
		},
	} {
		s := testdatabase.New(t, dialect)
		for _, c := range cases {
			db := s.New(t)
			config := tracbus.JournalConfig{Dialect: tracbus.Dialect(dialect)}
			require.NoError(t, open(t, db, config))
			_, err := db.Exec(c[0])
			require.NoError(t, err)
			for _, config.NoMigrate = range []bool{true, false} {
				err = open(t, db, config)
				assert.ErrorIs(t, err, tracbus.ErrSchema, "%s, manual %t", c[0], config.NoMigrate)
				assert.ErrorContains(t, err, c[1])
			}
		}
	}
}

// TestFitSchemas: tenants with a schema and a role each do not see each other, and
// a table of another kind with the name of the journal's is no journal.
func TestFitSchemas(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	name := s.Name()
	admin := s.Open(t, s.DSN(name))
	for _, text := range []string{
		"CREATE ROLE one LOGIN", "CREATE ROLE two LOGIN", "CREATE SCHEMA one AUTHORIZATION one", "CREATE SCHEMA two AUTHORIZATION two",
		"CREATE SCHEMA other", "GRANT USAGE ON SCHEMA other TO PUBLIC", "CREATE TABLE other.journal_facts (fact text)", "GRANT SELECT ON other.journal_facts TO PUBLIC",
		"CREATE SCHEMA texts", "GRANT USAGE ON SCHEMA texts TO PUBLIC", "CREATE TABLE texts.journal_facts (lock_class text)", "GRANT SELECT ON texts.journal_facts TO PUBLIC",
		// Whoever may read every table need not be let into every schema.
		"ALTER DEFAULT PRIVILEGES FOR ROLE one, two GRANT SELECT ON TABLES TO PUBLIC",
	} {
		_, err := admin.Exec(text)
		require.NoError(t, err, text)
	}
	for _, role := range []string{"one", "two"} {
		d := desk.Seat(t, s, strings.Replace(s.DSN(name), "postgres@", role+"@", 1), desk.Config{Journal: tracbus.JournalConfig{Schema: role}})
		require.NoError(t, d.Wait(testkit.Within(t), d.Say(t, "of "+role, 1)))
		all, _ := d.Heard()
		assert.Equal(t, []string{"of " + role}, desk.Comments(all))
	}
}

// TestFitPrune: a process that does not know all realms prunes whole transactions.
func TestFitPrune(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		all := desk.Seat(t, s, dsn, desk.Config{})
		some := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Realms: []tracbus.JournalRealm{tracbus.Tickets{}}}})
		for i := range 3 {
			_, err := all.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				if err := tx.Record(testkit.Within(t), desk.Remark(1, "")); err != nil {
					return err
				}
				return tx.Record(testkit.Within(t), desk.NewPage(fmt.Sprint(i)))
			})
			require.NoError(t, err)
		}
		n, err := some.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1})
		assert.NoError(t, err)
		assert.EqualValues(t, 2, n)
		var left int
		require.NoError(t, all.DB.QueryRowContext(testkit.Within(t), "SELECT count(*) FROM journal_change").Scan(&left))
		assert.Equal(t, 2, left)
		n, err = some.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1})
		assert.NoError(t, err, "nothing is left to prune")
		assert.Zero(t, n)
	})
}

// TestFitUndone: of two changes that undo each other nothing is stored or told,
// unless somebody said something, or the rest of the state differs.
func TestFitUndone(t *testing.T) {
	change := func(id int64, from, to, owner, comment string) tracbus.TicketChanged {
		values := tracbus.Fields{"status": to, "owner": owner, "changetime": time.Unix(int64(len(to)), 0).UTC()}
		return tracbus.TicketChanged{Change: tracbus.Change{Comment: comment}, ID: id, Values: values, Old: tracbus.Fields{"status": from}}
	}
	alone := func(id int64, from, to string) tracbus.TicketChanged {
		return tracbus.TicketChanged{ID: id, New: tracbus.Fields{"status": to}, Old: tracbus.Fields{"status": from}}
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
		record := func(events ...tracbus.Event) int64 {
			tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				for _, e := range events {
					if err := tx.Record(testkit.Within(t), e); err != nil {
						return err
					}
				}
				return nil
			})
			require.NoError(t, err)
			return tid
		}
		assert.Zero(t, record(change(1, "new", "closed", "ann", ""), change(1, "closed", "new", "ann", "")))
		assert.Zero(t, record(alone(1, "new", "closed"), alone(1, "closed", "new")))
		assert.Zero(t, record(change(1, "a", "bb", "ann", ""), change(1, "bb", "ccc", "ann", ""), change(1, "ccc", "a", "ann", "")))
		last := record(
			change(2, "new", "closed", "ann", "why"), change(2, "closed", "new", "ann", ""),
			change(3, "new", "closed", "ann", ""), change(3, "closed", "new", "joe", ""),
			change(4, "new", "closed", "ann", ""), change(4, "closed", "new", "ann", ""),
			change(5, "new", "closed", "ann", ""), change(5, "closed", "new", "ann", ""), change(5, "new", "fixed", "ann", ""),
			change(6, "new", "new", "ann", ""), change(6, "new", "new", "ann", ""),
		)
		require.NoError(t, d.Wait(testkit.Within(t), last))
		all, _ := d.Heard()
		var told []int64
		for _, e := range all {
			told = append(told, e.(tracbus.TicketChanged).ID)
		}
		assert.Equal(t, []int64{2, 3, 5, 6}, told)
		assert.Equal(t, tracbus.Fields{"status": "fixed"}, all[2].(tracbus.TicketChanged).New)
		assert.Equal(t, all, readBack(t, d))
	})
}
