package drivers_test

import (
	"database/sql"
	"fmt"
	"io"
	"log"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/drivers"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestDrivers: what docs/databases.md lists as tested.
func TestDrivers(t *testing.T) {
	t.Run("postgresql", testPostgreSQL)
	t.Run("mysql", testMySQL)
	t.Run("sqlite", testSQLite)
}

func testPostgreSQL(t *testing.T) {
	server := testserver.Postgres(t, testserver.PostgresOptions{})
	bouncer := map[string]string{"session": pgbouncer(t, server, "session"), "transaction": pgbouncer(t, server, "transaction")}
	n := 0
	for _, c := range []struct {
		name, driver, parameters, mode string
		pool                           int
	}{
		{"pgx", "pgx", "", "", 0},
		{"pgx, cache_statement", "pgx", "&default_query_exec_mode=cache_statement", "", 0},
		{"pgx, cache_describe", "pgx", "&default_query_exec_mode=cache_describe", "", 0},
		{"pgx, describe_exec", "pgx", "&default_query_exec_mode=describe_exec", "", 0},
		{"pgx, exec", "pgx", "&default_query_exec_mode=exec", "", 0},
		{"pgx, simple_protocol", "pgx", "&default_query_exec_mode=simple_protocol", "", 0},
		{"pgx, two connections", "pgx", "", "", 2},
		{"pgx, one connection", "pgx", "", "", 1},
		{"lib/pq", "postgres", "", "", 0},
		{"lib/pq, binary_parameters", "postgres", "&binary_parameters=yes", "", 0},
		{"PgBouncer session, pgx", "pgx", "", "session", 0},
		{"PgBouncer session, lib/pq", "postgres", "", "session", 0},
		{"PgBouncer transaction, pgx, exec", "pgx", "&default_query_exec_mode=exec", "transaction", 0},
		{"PgBouncer transaction, pgx, simple_protocol", "pgx", "&default_query_exec_mode=simple_protocol", "transaction", 0},
		{"PgBouncer transaction, lib/pq, binary_parameters", "postgres", "&binary_parameters=yes", "transaction", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			n++
			name := fmt.Sprint("drivers", n)
			server.CreateDatabase(name)
			dsn := server.DSN(name)
			if c.mode != "" {
				dsn = server.DSNVia(bouncer[c.mode], name)
			}
			drivers.Essential(t, tracbus.PostgreSQL, c.pool, func() (*sql.DB, error) { return sql.Open(c.driver, dsn+c.parameters) })
		})
	}
}

func testMySQL(t *testing.T) {
	_ = mysql.SetLogger(log.New(io.Discard, "", 0))
	server := testserver.MariaDB(t, testserver.MariaDBOptions{})
	for i, c := range []struct {
		name, parameters string
		pool             int
	}{
		{"as recommended", "?multiStatements=true&interpolateParams=true", 0},
		{"without parameters", "", 0},
		{"interpolateParams", "?interpolateParams=true", 0},
		{"multiStatements", "?multiStatements=true", 0},
		{"parseTime, in another zone", "?parseTime=true&loc=America%2FNew_York", 0},
		{"clientFoundRows, columnsWithAlias", "?clientFoundRows=true&columnsWithAlias=true", 0},
		{"two connections", "?multiStatements=true&interpolateParams=true", 2},
		{"one connection", "?multiStatements=true&interpolateParams=true", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := fmt.Sprint("drivers", i)
			server.CreateDatabase(name)
			drivers.Essential(t, tracbus.MySQL, c.pool, func() (*sql.DB, error) { return sql.Open("mysql", server.DSN(name)+c.parameters) })
		})
	}
}

func testSQLite(t *testing.T) {
	for _, c := range []struct {
		name, parameters string
		pool             int
	}{
		{"modernc, WAL", "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate", 0},
		{"modernc, DELETE", "?_pragma=busy_timeout(10000)&_txlock=immediate", 0},
		{"modernc, two connections", "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate", 2},
		{"modernc, one connection", "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := "file:" + t.TempDir() + "/t.db"
			drivers.Essential(t, tracbus.SQLite, c.pool, func() (*sql.DB, error) { return sql.Open("sqlite", file+c.parameters) })
		})
	}
}

// TestRefusedAtOpen: what cannot work is said when the journal is opened, with what to set.
func TestRefusedAtOpen(t *testing.T) {
	open := func(t *testing.T, dialect tracbus.Dialect, driver, dsn string) error {
		db, err := sql.Open(driver, dsn)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, db.Close()) })
		bus := tracbus.NewBus("drivers")
		_, err = tracbus.OpenJournal(testkit.Within(t), db, bus, tracbus.JournalConfig{Dialect: dialect, Logger: testkit.Quiet})
		require.NoError(t, bus.Close(testkit.Within(t)))
		return err
	}
	t.Run("a shared cache of SQLite", func(t *testing.T) {
		file := "file:" + t.TempDir() + "/t.db?_pragma=busy_timeout(10000)"
		require.NoError(t, open(t, tracbus.SQLite, "sqlite", file))
		err := open(t, tracbus.SQLite, "sqlite", file+"&cache=shared")
		assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase)
		assert.ErrorContains(t, err, "without cache=shared")
		assert.ErrorIs(t, open(t, tracbus.SQLite, "sqlite", ":memory:"), tracbus.ErrUnsupportedDatabase)
	})
	t.Run("prepared statements through a pooler", func(t *testing.T) {
		server := testserver.Postgres(t, testserver.PostgresOptions{})
		addr := pgbouncer(t, server, "transaction")
		for driver, want := range map[string]string{"pgx": "default_query_exec_mode=exec", "postgres": "binary_parameters=yes"} {
			name := "pooled" + driver
			server.CreateDatabase(name)
			err := open(t, tracbus.PostgreSQL, driver, server.DSNVia(addr, name))
			assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase, driver)
			assert.ErrorContains(t, err, want)
		}
	})
}

// TestOpenWithOneConnectionFree: a journal is opened on a pool of which the application keeps all
// connections but one, and two journals at the same time on a pool of two.
func TestOpenWithOneConnectionFree(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		db := s.Open(t, s.DSN(s.Name()))
		db.SetMaxOpenConns(2)
		open := func() error {
			bus := tracbus.NewBus("test")
			defer bus.Close(testkit.Within(t))
			j, err := tracbus.OpenJournal(testkit.Within(t), db, bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect), Logger: testkit.Quiet})
			if err != nil {
				return err
			}
			return j.Close(testkit.Within(t))
		}
		held, err := db.Conn(testkit.Within(t))
		require.NoError(t, err)
		require.NoError(t, open())
		require.NoError(t, held.Close())
		opened := make(chan error, 2)
		for range 2 {
			go func() { opened <- open() }()
		}
		for range 2 {
			require.NoError(t, <-opened)
		}
	})
}
