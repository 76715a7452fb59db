// Package tracfile knows what Trac does with its SQLite file.
package tracfile

import (
	"context"
	"database/sql"

	"github.com/tracbus/tracbus/internal/limit"
)

// CopiesLack says whether an SQLite database is a file of Trac's that has a write-ahead log,
// which is not in the copies that trac-admin hotcopy makes of the file.
func CopiesLack(ctx context.Context, db *sql.DB) (lack bool, err error) {
	var mode string
	if err := limit.QueryRow(ctx, db, "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		return false, err
	}
	const system = "SELECT COUNT(*) = 2 FROM pragma_table_info('system') WHERE name IN ('name', 'value')"
	if err := limit.QueryRow(ctx, db, system).Scan(&lack); err != nil || !lack {
		return false, err
	}
	err = limit.QueryRow(ctx, db, "SELECT COUNT(*) > 0 FROM system WHERE name = 'database_version'").Scan(&lack)
	return lack, err
}
