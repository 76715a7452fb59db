// Package testdatabase opens empty databases for a test: SQLite, PostgreSQL and
// MariaDB, the servers private to the test, through the drivers that this
// library is tested with. Only tests import it.
package testdatabase

import (
	"cmp"
	"database/sql"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/tracbus/tracbus/internal/testserver"
)

// Server is where a test's databases are: a private server, or a folder.
type Server struct {
	Dialect string // sqlite, postgresql or mysql
	Driver  string // as package sql knows it

	Postgres *testserver.PostgresServer // nil for the others
	MariaDB  *testserver.MariaDBServer

	folder  string
	counter atomic.Int32
}

// Each runs f as a subtest on each database; with -short on SQLite alone.
func Each(t *testing.T, f func(t *testing.T, s *Server)) {
	dialects := []string{"sqlite", "postgresql", "mysql"}
	if testing.Short() {
		dialects = dialects[:1]
	}
	for _, dialect := range dialects {
		t.Run(dialect, func(t *testing.T) { f(t, New(t, dialect)) })
	}
}

// New returns a server that ends with the test.
func New(t testing.TB, dialect string) *Server {
	t.Helper()
	s := &Server{Dialect: dialect}
	switch dialect {
	case "sqlite":
		s.Driver, s.folder = "sqlite", t.TempDir()
	case "postgresql":
		s.Driver, s.Postgres = "pgx", testserver.Postgres(t, testserver.PostgresOptions{})
	case "mysql":
		_ = mysql.SetLogger(log.New(io.Discard, "", 0)) // it tells of every connection that a test cuts
		s.Driver, s.MariaDB = "mysql", testserver.MariaDB(t, testserver.MariaDBOptions{})
	default:
		t.Fatalf("dialect %q", dialect)
	}
	return s
}

// Name makes a new, empty database and returns its name.
func (s *Server) Name() string {
	name := fmt.Sprintf("tracker%d", s.counter.Add(1))
	switch {
	case s.Postgres != nil:
		s.Postgres.CreateDatabase(name)
	case s.MariaDB != nil:
		s.MariaDB.CreateDatabase(name)
	}
	return name
}

// DSN returns the data source name of a database, as the README recommends it.
func (s *Server) DSN(name string) string {
	switch {
	case s.Postgres != nil:
		return s.Postgres.DSN(name)
	case s.MariaDB != nil:
		return s.MariaDB.DSN(name) + MySQLParameters
	}
	return SQLite(filepath.Join(s.folder, name+".db"))
}

// DSNVia is DSN through a proxy in front of the server.
func (s *Server) DSNVia(addr, name string) string {
	if s.Postgres != nil {
		return s.Postgres.DSNVia(addr, name)
	}
	return s.MariaDB.DSNVia(addr, name) + MySQLParameters
}

// MySQLParameters let everything that writers wait for go in one round trip.
const MySQLParameters = "?multiStatements=true&interpolateParams=true"

// SQLite returns the data source name of a file. TRACBUS_SQLITE_JOURNAL is its
// journal_mode, instead of WAL.
func SQLite(path string) string {
	return SQLiteOfTrac(path) + "&_pragma=journal_mode(" + cmp.Or(os.Getenv("TRACBUS_SQLITE_JOURNAL"), "WAL") + ")"
}

// SQLiteOfTrac returns the data source name of a file that is Trac's, as
// docs/databases.md recommends it: the journal_mode stays as Trac has it.
func SQLiteOfTrac(path string) string {
	return "file:" + path + "?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)"
}

// Open opens a database; the pool ends with the test.
func (s *Server) Open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(s.Driver, dsn)
	if err != nil {
		t.Fatalf("open %s: %v", s.Dialect, err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close %s: %v", s.Dialect, err)
		}
	})
	return db
}

// New opens a new, empty database.
func (s *Server) New(t testing.TB) *sql.DB {
	t.Helper()
	return s.Open(t, s.DSN(s.Name()))
}

// OpenPool opens a database for a process that is no test.
func (s *Server) OpenPool(dsn string) (*sql.DB, error) { return sql.Open(s.Driver, dsn) }
