package crash_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// mood is how a database's administrator has set it up.
type mood string

const (
	usual        mood = "usual"
	serializable mood = "serializable by default" // SQLite is always
	shortLocks   mood = "locks waited for 1 s"
)

// moodOf returns that of a round: each database has all of them by turns, and of three
// databases each another.
func moodOf(round, database int) mood {
	return []mood{usual, serializable, shortLocks}[(round+database+2)%3]
}

// moods say it to a server; what is said holds for sessions that begin after it.
var moods = map[tracbus.Dialect]map[mood][]string{
	tracbus.PostgreSQL: {
		serializable: {"ALTER DATABASE NAME SET default_transaction_isolation = 'serializable'"},
		shortLocks:   {"ALTER DATABASE NAME SET lock_timeout = '1s'"},
	},
	tracbus.MySQL: {
		usual:        {"SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET GLOBAL innodb_lock_wait_timeout = 50"},
		serializable: {"SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET GLOBAL innodb_lock_wait_timeout = 50"},
		shortLocks:   {"SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET GLOBAL innodb_lock_wait_timeout = 1"},
	},
}

// set gives a database the mood of the round. MariaDB forgets it when it is killed: it
// is as usual from then on.
func (d *database) set(t testing.TB, name string) {
	t.Helper()
	db, err := sql.Open(record.Drivers[d.dialect], d.via(""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range moods[d.dialect][d.mood] {
		if _, err := db.ExecContext(context.Background(), replaceName(text, name)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}
