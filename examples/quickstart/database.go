package main

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/tracbus/tracbus"
)

//go:embed trac.sql
var tracTables string

// How the databases differ: the driver, and a column that counts by itself.
var (
	drivers = map[tracbus.Dialect]string{tracbus.SQLite: "sqlite", tracbus.PostgreSQL: "pgx", tracbus.MySQL: "mysql"}
	counted = map[tracbus.Dialect]string{
		tracbus.SQLite:     "integer PRIMARY KEY",
		tracbus.PostgreSQL: "serial PRIMARY KEY",
		tracbus.MySQL:      "integer AUTO_INCREMENT PRIMARY KEY",
	}
)

// openDatabase opens the database, or a new SQLite file that is removed
// afterwards, and makes those of Trac's tables that are missing.
func openDatabase(ctx context.Context, dialect tracbus.Dialect, dsn string) (*sql.DB, func(), error) {
	if drivers[dialect] == "" {
		return nil, nil, fmt.Errorf("dialect %q: expected sqlite, postgresql or mysql", dialect)
	}
	folder := ""
	if dsn == "" {
		if dialect != tracbus.SQLite {
			return nil, nil, fmt.Errorf("-dialect %s needs -db", dialect)
		}
		var err error
		if folder, err = os.MkdirTemp("", "quickstart"); err != nil {
			return nil, nil, err
		}
		dsn = "file:" + filepath.ToSlash(filepath.Join(folder, "trac.db")) + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
	}
	db, err := sql.Open(drivers[dialect], dsn)
	if err != nil {
		return nil, nil, err
	}
	done := func() {
		_ = db.Close()
		if folder != "" {
			_ = os.RemoveAll(folder)
		}
	}
	for statement := range strings.SplitSeq(strings.ReplaceAll(tracTables, "{counted}", counted[dialect]), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			done()
			return nil, nil, fmt.Errorf("make Trac's tables: %w", err)
		}
	}
	return db, done, nil
}
