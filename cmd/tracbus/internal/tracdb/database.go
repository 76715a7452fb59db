package tracdb

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pgxbus"
)

// Database is one that can be opened.
type Database struct {
	// Dialect is the database's.
	Dialect tracbus.Dialect

	// Schema is that of Trac's tables. Empty means the connection's own.
	Schema string

	// Name is for people: which database it is, without user and password.
	Name string

	// Warnings are for the log: parameters that are passed over.
	Warnings []string

	// One of these is set.
	file  string // an SQLite file's path
	pgx   *pgx.ConnConfig
	mysql *mysql.Config

	init string // a statement for each new connection to MySQL
}

// Parse reads a connection string as the Trac of an environment does; folder is the
// environment's, to which an SQLite file may be relative. It opens nothing. An error
// is an [ErrConnectionString].
func Parse(text, folder string) (*Database, error) {
	u, err := parse(text)
	if err != nil {
		return nil, err
	}
	switch u.scheme {
	case "sqlite":
		return sqliteDatabase(u, folder)
	case "postgres":
		return postgresDatabase(u)
	case "mysql":
		return mysqlDatabase(u)
	}
	return nil, wrong("Trac has no such type of database: want %s", forms)
}

// connections is how many a pool opens at most. Few are needed, as a relay's work is
// to read and to renew a lease.
const connections = 6

// Open makes a pool, which connects when it is first used. The caller closes it.
func (d *Database) Open() (*sql.DB, error) {
	var db *sql.DB
	var err error
	switch {
	case d.pgx != nil:
		db = stdlib.OpenDB(*d.pgx)
	case d.mysql != nil:
		db, err = d.openMySQL()
	default:
		db, err = openFile(d.file)
	}
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// Waker has relays hear of changes without a poll, over a pool that Open has made. It is nil if
// the database cannot do that.
func (d *Database) Waker(db *sql.DB) tracbus.Waker {
	if d.pgx == nil {
		return nil
	}
	return pgxbus.WakerConfig{}.NewWakerDB(db, d.pgx)
}

// name says which database it is.
func name(kind, database, host string, port int, socket string) string {
	var b strings.Builder
	b.WriteString(kind + " database " + database)
	switch {
	case socket != "":
		b.WriteString(" at " + socket)
	case host != "":
		b.WriteString(" at " + address(host, port))
	}
	return b.String()
}

func sqliteDatabase(u uri, folder string) (*Database, error) {
	switch {
	case u.path == ":memory:":
		return nil, wrong("sqlite::memory: is a database of Trac's process alone, which nobody else can read")
	case u.host != "" || u.user != "" || u.port != 0 || u.password != tracbus.Secret{}:
		return nil, wrong("want sqlite:PATH relative to the environment, or sqlite:/PATH; sqlite://… has a host, which SQLite has not")
	}
	path := u.path
	if !filepath.IsAbs(path) {
		path = filepath.Join(folder, path)
	}
	d := &Database{Dialect: tracbus.SQLite, Name: "SQLite file " + path, file: path}
	for _, p := range u.params {
		switch p.name {
		case "timeout", "cursor", "journal_mode", "synchronous", "cached_statements": // they are for Trac's own connections
		default:
			d.passOver(p.name)
		}
	}
	return d, nil
}

// openFile opens an SQLite file that exists.
func openFile(path string) (*sql.DB, error) {
	info, err := os.Stat(path) // SQLite's own error does not say what is wrong
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &os.PathError{Op: "open", Path: path, Err: errors.New("not a file")}
	}
	return sql.Open("sqlite", sqliteDSN(path))
}

// sqliteDSN returns the data source name of a file that exists. It leaves the journal
// mode as it is: Trac's backups (trac-admin hotcopy) leave out what is in a write-ahead log.
func sqliteDSN(path string) string {
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	return "file:" + escaped + "?mode=rw&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)"
}

// passOver warns of a parameter. A name that is none may be a part of a password.
func (d *Database) passOver(param string) {
	if !regexp.MustCompile(`^[a-z_]+$`).MatchString(param) {
		param = "whose name is not one"
	}
	d.Warnings = append(d.Warnings, "the connection string's parameter "+param+" is passed over")
}
