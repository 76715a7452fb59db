package ncruces_test

import (
	"database/sql"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/drivers"
)

// TestDrivers: what docs/databases.md lists as tested.
func TestDrivers(t *testing.T) {
	for name, pool := range map[string]int{"any number of connections": 0, "two connections": 2, "one connection": 1} {
		t.Run(name, func(t *testing.T) {
			file := "file:" + t.TempDir() + "/t.db"
			drivers.Essential(t, tracbus.SQLite, pool, func() (*sql.DB, error) {
				return sql.Open("sqlite3", file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
			})
		})
	}
}
