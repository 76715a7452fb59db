package desk

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// Restorable is a database that can be put back to an older copy while processes
// follow it.
type Restorable struct {
	*testdatabase.Server
	Source string  // its data source name
	folder string  // of SQLite's files
	keeper *sql.DB // has it open, so that the newest changes are in the -wal file
}

// NewRestorable makes a database with a table of the names that were seen.
func NewRestorable(t *testing.T, dialect string) *Restorable {
	k := &Restorable{Server: testdatabase.New(t, dialect)}
	if dialect == "sqlite" {
		k.folder = t.TempDir()
		k.Source = testdatabase.SQLite(filepath.Join(k.folder, "t.db"))
	} else {
		k.Source = k.DSN(k.Name())
	}
	k.keeper = k.Open(t, k.Source)
	_, err := k.keeper.Exec("CREATE TABLE seen (name varchar(100) PRIMARY KEY)")
	require.NoError(t, err)
	return k
}

// Backup copies the database. What it returns puts it back to that copy, as
// often as it is called.
func (k *Restorable) Backup(t *testing.T) (restore func()) {
	switch {
	case k.Postgres != nil:
		return k.Postgres.Backup()
	case k.MariaDB != nil:
		return k.MariaDB.Backup()
	}
	copied := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(copied, os.DirFS(k.folder)))
	if os.Getenv("TRACBUS_SQLITE_JOURNAL") == "" {
		require.NoError(t, os.Remove(filepath.Join(copied, "t.db-shm")))
		wal, err := os.Stat(filepath.Join(copied, "t.db-wal"))
		require.NoError(t, err)
		require.NotZero(t, wal.Size())
	}
	return func() {
		source := filepath.Join(t.TempDir(), "source")
		require.NoError(t, os.CopyFS(source, os.DirFS(copied)))
		conn, err := k.keeper.Conn(testkit.Within(t))
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.Raw(func(c any) error {
			b, err := c.(interface {
				NewRestore(string) (*sqlite.Backup, error)
			}).NewRestore("file:" + filepath.Join(source, "t.db"))
			if err != nil {
				return err
			}
			_, err = b.Step(-1)
			return errors.Join(err, b.Finish())
		}))
	}
}

// Add makes pages, one transaction each, from a process that comes and goes.
func (k *Restorable) Add(t *testing.T, names ...string) (last int64) {
	t.Helper()
	db := k.Open(t, k.Source)
	d := Seat(t, k.Server, "", Config{DB: db, Idle: true})
	for _, name := range names {
		var err error
		last, err = d.Update(testkit.Within(t), Joe, func(tx *tracbus.ModelTransaction) error {
			_, err := tx.SQL().ExecContext(testkit.Within(t), Marks(tx.Dialect(), "INSERT INTO seen VALUES (?)"), name)
			return errors.Join(err, tx.Record(testkit.Within(t), NewPage(name)))
		})
		require.NoError(t, err)
	}
	return last
}
