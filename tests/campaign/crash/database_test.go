package tracbus_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testdatabase"
	"github.com/tracbus/tracbus/internal/testserver"
)

// crashServer is what a round does to a database server.
type crashServer interface {
	Addr() string
	Kill()
	Restart()
	Backup() (restore func())
}

// crashDatabase makes databases for rounds.
type crashDatabase struct {
	name    string
	dialect tracbus.Dialect
	server  crashServer // nil on SQLite
	create  func(t testing.TB) (via func(addr string) string)
	via     func(addr string) string // of the last one that was made
	made    int
}

// crashDatabases are all kinds; each starts its server when it is asked for.
var crashDatabases = []struct {
	name string
	open func(t testing.TB) *crashDatabase
}{{"SQLite", crashSQLite}, {"PostgreSQL", crashPostgres}, {"MariaDB", crashMariaDB}}

func crashSQLite(testing.TB) *crashDatabase {
	d := &crashDatabase{name: "SQLite", dialect: tracbus.SQLite}
	d.create = func(t testing.TB) func(string) string {
		dsn := testdatabase.SQLite(filepath.Join(t.TempDir(), "crash.db"))
		d.via = func(string) string { return dsn }
		return d.via
	}
	return d
}

func crashPostgres(t testing.TB) *crashDatabase {
	s := testserver.Postgres(t, testserver.PostgresOptions{Args: []string{"-c", "max_connections=500"}})
	d := &crashDatabase{name: "PostgreSQL", dialect: tracbus.PostgreSQL, server: s}
	d.create = d.creator(s.CreateDatabase, s.DSNVia, s.Addr(), "")
	return d
}

func crashMariaDB(t testing.TB) *crashDatabase {
	_ = mysql.SetLogger(&mysql.NopLogger{}) // it would tell of every cut
	s := testserver.MariaDB(t, testserver.MariaDBOptions{Args: []string{"--log-warnings=0", "--max-connections=500"}})
	d := &crashDatabase{name: "MariaDB", dialect: tracbus.MySQL, server: s}
	d.create = d.creator(s.CreateDatabase, s.DSNVia, s.Addr(), testdatabase.MySQLParameters)
	return d
}

func (d *crashDatabase) creator(create func(string), dsn func(addr, name string) string, addr, parameters string) func(testing.TB) func(string) string {
	return func(testing.TB) func(string) string {
		d.made++
		name := fmt.Sprintf("crash%d", d.made)
		create(name)
		d.via = func(via string) string {
			if via == "" {
				via = addr
			}
			return dsn(via, name) + parameters
		}
		return d.via
	}
}

// backUp copies the database. On SQLite, whose file is copied, all trackers are
// killed for that. The function that is returned puts it back.
func (r *crashRig) backUp() (restore func()) {
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

func (r *crashRig) sqlitePath() string {
	r.t.Helper()
	var number, name, path string
	scan(r.t, r.db, "PRAGMA database_list", func() {}, &number, &name, &path)
	return path
}

// halted kills all trackers, does something with a database of one file that
// nobody has open, and starts them again.
func (r *crashRig) halted(do func()) {
	r.t.Helper()
	path := r.sqlitePath()
	for process := range crashTrackers {
		r.processes[process].kill()
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
	for process := range crashTrackers {
		r.start(process)
	}
}

// putBack makes the database forget what was committed since the copy. It
// returns what it had before, and how many of these changes it still has.
func (r *crashRig) putBack(restore func()) (gone attackTruth, marks map[int64]string, kept int) {
	r.t.Helper()
	before := func() {
		gone, marks = readAttackTruth(r.t, r.db, r.database.dialect), r.readMarks()
	}
	after := func() {
		kept = len(readAttackTruth(r.t, r.db, r.database.dialect).changes)
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
	waitForAttackEnd(r.t, r.db, r.database.dialect)
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
func (r *crashRig) reconnect() {
	_ = r.db.Close()
	r.open()
	r.eventually("the database answers", func() bool { return r.db.Ping() == nil })
}
