package tracbus_test

import (
	"database/sql"
	"log"
	"os"
	"path/filepath"
)

// openFile returns a new SQLite file, after the statements. An application imports a
// driver: _ "modernc.org/sqlite". This module has none, so that the examples that end
// in "Prints:" are run by the module tests.
func openFile(statements string) (db *sql.DB, remove func()) {
	folder, err := os.MkdirTemp("", "tracbus")
	if err != nil {
		log.Fatal(err)
	}
	db, err = sql.Open("sqlite", "file:"+filepath.Join(folder, "tracker.db")+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(statements); err != nil {
		log.Fatal(err)
	}
	return db, func() { _ = os.RemoveAll(folder) }
}

// issues returns the database of an application that keeps issues.
func issues() (db *sql.DB, remove func()) {
	return openFile(`CREATE TABLE issue (id INTEGER PRIMARY KEY, title TEXT NOT NULL, status TEXT NOT NULL);
		INSERT INTO issue VALUES (17, 'It does not start.', 'open')`)
}
