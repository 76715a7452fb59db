package crash_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/campaign/record"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// server is what a round does to a database server.
type server interface {
	Addr() string
	Kill()
	Restart()
	Stop()
	Continue()
	LimitFiles(bytes int64) error
	Backup() (restore func())
}

// database makes databases for rounds.
type database struct {
	name    string
	dialect tracbus.Dialect
	server  server // nil on SQLite
	create  func(t testing.TB) (via func(addr string) string)
	via     func(addr string) string // of the last one that was made
	made    int
	mood    mood
}

// databases are all kinds; each starts its server when it is asked for.
var databases = []struct {
	name string
	open func(t testing.TB) *database
}{{"SQLite", onSQLite}, {"PostgreSQL", onPostgres}, {"MariaDB", onMariaDB}}

func onSQLite(testing.TB) *database {
	d := &database{name: "SQLite", dialect: tracbus.SQLite}
	d.create = func(t testing.TB) func(string) string {
		dsn := testdatabase.SQLite(filepath.Join(t.TempDir(), "crash.db"))
		if d.mood == shortLocks {
			dsn = strings.Replace(dsn, "busy_timeout(10000)", "busy_timeout(1000)", 1)
		}
		d.via = func(string) string { return dsn }
		return d.via
	}
	return d
}

func onPostgres(t testing.TB) *database {
	s := testserver.Postgres(t, testserver.PostgresOptions{Args: []string{"-c", "max_connections=500"}})
	d := &database{name: "PostgreSQL", dialect: tracbus.PostgreSQL, server: s}
	d.create = d.creator(s.CreateDatabase, s.DSNVia, s.Addr(), "")
	return d
}

func onMariaDB(t testing.TB) *database {
	_ = mysql.SetLogger(&mysql.NopLogger{}) // it would tell of every cut
	s := testserver.MariaDB(t, testserver.MariaDBOptions{Args: []string{"--log-warnings=0", "--max-connections=500"}})
	d := &database{name: "MariaDB", dialect: tracbus.MySQL, server: s}
	d.create = d.creator(s.CreateDatabase, s.DSNVia, s.Addr(), testdatabase.MySQLParameters)
	return d
}

func (d *database) creator(create func(string), dsn func(addr, name string) string, addr, parameters string) func(testing.TB) func(string) string {
	return func(t testing.TB) func(string) string {
		d.made++
		name := fmt.Sprintf("crash%d", d.made)
		create(name)
		d.via = func(via string) string {
			if via == "" {
				via = addr
			}
			return dsn(via, name) + parameters
		}
		d.set(t, name)
		return d.via
	}
}

// backUp copies the database. On SQLite, whose file is copied, all trackers are
// killed for that. The function that is returned puts it back.
func (r *rig) backUp() (restore func()) {
	r.t.Helper()
	if r.database.server != nil {
		restore = r.database.server.Backup()
		r.totals.databaseRestarts++
		return restore
	}
	copyFile := func(from, to string) {
		if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
			r.t.Fatalf("copy: %v: %s", err, out)
		}
	}
	path := r.sqlitePath()
	r.halted(func() { copyFile(path, path+".copy") })
	return func() { copyFile(path+".copy", path) }
}

func (r *rig) sqlitePath() string {
	r.t.Helper()
	var number, name, path string
	testkit.Scan(r.t, r.db, "PRAGMA database_list", func() {}, &number, &name, &path)
	return path
}

// halted kills all trackers, does something with a database of one file that
// nobody has open, and starts them again.
func (r *rig) halted(do func()) {
	r.t.Helper()
	path := r.sqlitePath()
	for process := range trackers {
		r.processes[process].Kill()
		delete(r.stopped, r.processes[process])
		r.totals.kills++
	}
	r.watch.pause()
	if _, err := r.db.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		r.t.Fatal(err)
	}
	_ = r.db.Close()
	for _, suffix := range []string{"-wal", "-shm"} {
		if info, err := os.Stat(path + suffix); err == nil && suffix == "-wal" && info.Size() > 0 {
			r.t.Fatalf("%s is not empty", path+suffix)
		}
		_ = os.Remove(path + suffix)
	}
	do()
	r.open()
	r.watch.resume(r.db)
	for process := range trackers {
		r.start(process)
	}
}

// putBack makes the database forget what was committed since the copy. It
// returns what it had before, and how many of these changes it still has.
func (r *rig) putBack(restore func()) (gone record.Truth, marks map[int64]string, kept int) {
	r.t.Helper()
	before := func() {
		gone, marks = record.ReadTruth(r.t, r.db, r.database.dialect), r.readMarks()
	}
	after := func() {
		kept = len(record.ReadTruth(r.t, r.db, r.database.dialect).Changes)
	}
	r.totals.restores++
	if r.database.server == nil {
		r.halted(func() {
			r.open()
			before()
			_ = r.db.Close()
			restore()
			r.open()
			after()
			_ = r.db.Close()
		})
		return gone, marks, kept
	}
	r.watch.pause()
	for _, p := range r.proxies {
		p.Refuse()
		p.Cut()
	}
	record.WaitForEnd(r.t, r.db, r.database.dialect)
	before()
	restore()
	r.reconnect()
	after()
	r.watch.resume(r.db)
	for _, p := range r.proxies {
		p.Accept()
	}
	return gone, marks, kept
}

// reconnect gets rid of connections that are dead.
func (r *rig) reconnect() {
	_ = r.db.Close()
	r.open()
	r.eventually("the database answers", func() bool { return r.db.Ping() == nil })
}
