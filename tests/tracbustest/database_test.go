package tracbustest_test

import (
	"database/sql"
	"database/sql/driver"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tracbustest"
)

// opener opens pools of one database.
func opener(s *testdatabase.Server, dsn string) func() (*sql.DB, error) {
	return func() (*sql.DB, error) { return sql.Open(s.Driver, dsn) }
}

// Every database passes, nothing is left in it, and what was there before is as it was.
func TestDatabase(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		dsn := s.DSN(s.Name())
		tracbustest.Database(t, tracbus.Dialect(s.Dialect), opener(s, dsn))
		var n int
		query := "SELECT count(*) FROM information_schema.schemata WHERE schema_name LIKE 'tracbustest%'"
		if s.Dialect == "sqlite" {
			query = "SELECT count(*) FROM sqlite_master"
		}
		require.NoError(t, s.Open(t, dsn).QueryRow(query).Scan(&n))
		require.Zero(t, n)
	})
}

// What is not as it has to be is found, and said.
func TestDatabaseSeesFaults(t *testing.T) {
	sqlite := testdatabase.New(t, "sqlite")
	for name, c := range map[string]struct {
		dialect tracbus.Dialect
		open    func(t *testing.T) func() (*sql.DB, error)
		want    []string
	}{
		"no dialect": {"oracle", func(t *testing.T) func() (*sql.DB, error) { return opener(sqlite, sqlite.DSN(sqlite.Name())) }, []string{`dialect "oracle"`}},
		"the wrong dialect": {
			tracbus.PostgreSQL, func(t *testing.T) func() (*sql.DB, error) { return opener(sqlite, sqlite.DSN(sqlite.Name())) },
			[]string{"a place of its own", "CREATE SCHEMA"},
		},
		"no database": {
			tracbus.SQLite, func(t *testing.T) func() (*sql.DB, error) { return opener(sqlite, "file:/nowhere/at/all.db") },
			[]string{"a place of its own", "connect"},
		},
		"another database each time": {
			tracbus.SQLite, func(t *testing.T) func() (*sql.DB, error) {
				return func() (*sql.DB, error) { return sql.Open("sqlite", sqlite.DSN(sqlite.Name())) }
			},
			[]string{"every process opens the journal", "are in another database"},
		},
		"a database in memory": {
			tracbus.SQLite, func(t *testing.T) func() (*sql.DB, error) { return opener(sqlite, ":memory:") },
			[]string{"every process opens the journal", "memory"},
		},
		"a read that shows what may be rolled back": {
			tracbus.SQLite, func(t *testing.T) func() (*sql.DB, error) {
				return opener(sqlite, sqlite.DSN(sqlite.Name())+"&_pragma=read_uncommitted(1)")
			},
			[]string{"every process opens the journal", "read_uncommitted is on"},
		},
		"a COMMIT that rolls back": {
			tracbus.SQLite, func(t *testing.T) func() (*sql.DB, error) {
				return lies(t, sqlite, sqlite.DSN(sqlite.Name()), instead("COMMIT", "ROLLBACK"))
			},
			[]string{"the answer is true", "and the table does not have it"},
		},
		"a ROLLBACK that commits": {
			tracbus.SQLite, func(t *testing.T) func() (*sql.DB, error) {
				return lies(t, sqlite, sqlite.DSN(sqlite.Name()), instead("ROLLBACK", "COMMIT"))
			},
			[]string{"the answer is true", "and the table has it", "exactly what is committed, once"},
		},
		"letters that are lost": {
			tracbus.SQLite, func(t *testing.T) func() (*sql.DB, error) {
				return lies(t, sqlite, sqlite.DSN(sqlite.Name()), func(_ *lyingConn, query string, args []driver.NamedValue) string {
					for i, a := range args {
						if s, ok := a.Value.(string); ok {
							args[i].Value = strings.ReplaceAll(s, "🎫", "?")
						}
					}
					return query
				})
			},
			[]string{"texts are kept"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			f := testkit.ExpectFailures(t)
			tracbustest.DatabaseConfig{Timeout: time.Minute}.Database(f, c.dialect, c.open(t))
			f.Want(append(c.want, "contract: ", "why: ", "seen: ")...)
		})
	}
}

// A file that has tables is not touched.
func TestDatabaseTouchesNothing(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	db := s.Open(t, dsn)
	_, err := db.Exec("CREATE TABLE ticket (id INTEGER PRIMARY KEY); INSERT INTO ticket VALUES (17)")
	require.NoError(t, err)
	f := testkit.ExpectFailures(t)
	tracbustest.Database(f, tracbus.SQLite, opener(s, dsn))
	f.Want(`the file has the tables ["TABLE \"ticket\""]`)
	var all string
	require.NoError(t, db.QueryRow("SELECT group_concat(name) FROM sqlite_master").Scan(&all))
	require.Equal(t, "ticket", all)
}

// Servers that cannot give the guarantees are refused, and the check says why.
func TestDatabaseRefused(t *testing.T) {
	if testing.Short() {
		t.SkipNow()
	}
	t.Run("standby", func(t *testing.T) {
		s := testdatabase.New(t, "postgresql")
		dsn := s.Postgres.Standby(t).DSN("postgres")
		f := testkit.ExpectFailures(t)
		tracbustest.Database(f, tracbus.PostgreSQL, opener(s, dsn))
		f.Want("a place of its own", "read-only")
	})
	t.Run("rights", func(t *testing.T) {
		s := testdatabase.New(t, "postgresql")
		dsn := s.DSN(s.Name())
		_, err := s.Open(t, dsn).Exec("CREATE ROLE worker LOGIN")
		require.NoError(t, err)
		f := testkit.ExpectFailures(t)
		tracbustest.Database(f, tracbus.PostgreSQL, opener(s, strings.Replace(dsn, "postgres@", "worker@", 1)))
		f.Want("a place of its own", "CREATE SCHEMA", "permission denied")
	})
	t.Run("sql_mode", func(t *testing.T) {
		s := testdatabase.New(t, "mysql")
		f := testkit.ExpectFailures(t)
		tracbustest.Database(f, tracbus.MySQL, opener(s, s.DSN(s.Name())+"&sql_mode=ANSI"))
		f.Want("every process opens the journal", "cuts what is too long")
	})
}
