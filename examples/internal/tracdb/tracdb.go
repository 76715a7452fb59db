// Package tracdb opens the databases of the examples: SQLite, PostgreSQL or
// MariaDB, with Trac's tables in them. A program of your own has this already.
package tracdb

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/tracbus/tracbus"
)

//go:embed trac.sql
var tracTables string

// dialect is how the databases differ: the driver, and what stands in the
// statements that make tables.
type dialect struct {
	driver  string
	counted string // a column that counts by itself
	text    string // a long text
	options string // of a table
}

var dialects = map[tracbus.Dialect]dialect{
	tracbus.SQLite:     {"sqlite", "integer PRIMARY KEY", "text", ""},
	tracbus.PostgreSQL: {"pgx", "serial PRIMARY KEY", "text", ""},
	tracbus.MySQL:      {"mysql", "integer AUTO_INCREMENT PRIMARY KEY", "mediumtext", "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"},
}

// DB is a database, and which one it is.
type DB struct {
	*sql.DB
	Dialect tracbus.Dialect
}

// File returns the data source name of an SQLite file of an example's own, which has a
// write-ahead log. A file that is Trac's must have none: see docs/databases.md.
func File(path string) string {
	path = strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
	return "file:" + path + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
}

// Open opens a database and makes those of Trac's tables that are missing, and
// those of further statements, which are separated by ";" at the end of a line.
func Open(ctx context.Context, name tracbus.Dialect, dsn, further string) (*DB, error) {
	d, ok := dialects[name]
	if !ok {
		return nil, fmt.Errorf("dialect %q: expected sqlite, postgresql or mysql", name)
	}
	db, err := sql.Open(d.driver, dsn)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	db.SetMaxOpenConns(40) // a server has some 100 for all processes
	db.SetMaxIdleConns(20) // else most requests would wait for a new one
	text := strings.NewReplacer("{counted}", d.counted, "{text}", d.text, "{options}", d.options).Replace(tracTables + "\n" + further)
	for statement := range strings.SplitSeq(text, ";\n") {
		if statement = strings.TrimSpace(statement); statement == "" {
			continue
		}
		_, err := db.ExecContext(ctx, statement)
		if err != nil { // on PostgreSQL also where another process makes the same table
			_, err = db.ExecContext(ctx, statement)
		}
		if err != nil {
			_ = db.Close()
			return nil, fmt.Errorf("make tables: %w", err)
		}
	}
	return &DB{db, name}, nil
}

// SQL returns a statement, whose values stand as ?, as the database has them.
func (db *DB) SQL(statement string) string {
	if db.Dialect != tracbus.PostgreSQL {
		return statement
	}
	var b strings.Builder
	for i := 1; ; i++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(i))
		statement = after
	}
}
