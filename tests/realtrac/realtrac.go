// Package realtrac runs a real Trac 1.6, so that tests hold the library against what
// Trac itself writes, reads and says. Only tests import it.
//
// The environment variable TRACBUS_TRAC names a checkout of Trac 1.6. Where it is not set,
// tests that need Trac are skipped in one line. TRACBUS_REQUIRE_SERVERS makes no difference
// to that: Trac is not installed as the servers are, and CI has none.
package realtrac

import (
	"bufio"
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

const checkoutEnv = "TRACBUS_TRAC"

// Trac is a checkout of Trac, and a Python that runs it.
type Trac struct {
	t      testing.TB
	python string
	path   []string // PYTHONPATH
}

// Find returns the Trac that TRACBUS_TRAC names, or skips the test.
func Find(t testing.TB) *Trac {
	t.Helper()
	checkout := os.Getenv(checkoutEnv)
	if checkout == "" {
		t.Skipf("%s skipped: it needs Trac 1.6, and %s does not name a checkout of it", t.Name(), checkoutEnv)
	}
	r := &Trac{t: t, python: pythonOf(t)}
	eggs, hidden := t.TempDir(), t.TempDir()
	// Trac finds its own parts by what setup.py says of them.
	command := exec.Command(r.python, "setup.py", "--quiet", "egg_info", "--egg-base", eggs)
	command.Dir = checkout
	run(t, command)
	r.path = []string{checkout, eggs}
	if r.Command("-c", "import multipart; multipart.parse_options_header").Run() != nil {
		// There are two packages named multipart. With the other one, no page of Trac
		// answers; without any, Python's own cgi does the work.
		if err := os.WriteFile(filepath.Join(hidden, "multipart.py"), []byte("raise ImportError\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.path = append([]string{hidden}, r.path...)
	}
	if got := strings.TrimSpace(run(t, r.Command("-c", "import trac; print(trac.__version__)"))); !strings.HasPrefix(got, "1.6") {
		t.Fatalf("%s=%s is Trac %s, expected 1.6", checkoutEnv, checkout, got)
	}
	return r
}

// pythonOf returns a Python that has what Trac and its three databases need.
func pythonOf(t testing.TB) string {
	t.Helper()
	var said []byte
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		out, err := exec.Command(name, "-c", "import jinja2, setuptools, psycopg2, pymysql").CombinedOutput()
		if err == nil {
			return name
		}
		said = append(said, out...)
	}
	t.Fatalf("%s is set, but no Python has what Trac needs: %s", checkoutEnv, said)
	return ""
}

// Command returns a command that runs Python with Trac on its path, in UTC.
func (r *Trac) Command(args ...string) *exec.Cmd {
	command := exec.Command(r.python, args...)
	command.Env = append(os.Environ(), "PYTHONPATH="+strings.Join(r.path, string(os.PathListSeparator)),
		"PYTHONDONTWRITEBYTECODE=1", "TZ=UTC", "LC_ALL=C.UTF-8")
	return command
}

// Environment is an environment of Trac's on a database of its own.
type Environment struct {
	Path     string
	Dialect  string
	Database string // its name on the server; empty on SQLite

	trac   *Trac
	server *testdatabase.Server
}

// NewEnvironment makes an environment on a new database of the server, with lines added to
// its trac.ini.
func (r *Trac) NewEnvironment(s *testdatabase.Server, ini ...string) *Environment {
	r.t.Helper()
	e := &Environment{Path: filepath.Join(r.t.TempDir(), "env"), Dialect: s.Dialect, trac: r, server: s}
	if s.Dialect != "sqlite" {
		e.Database = s.Name()
	}
	e.Init(ini...)
	return e
}

// OnDatabase makes an environment on an empty database that exists already.
func (r *Trac) OnDatabase(s *testdatabase.Server, name string, ini ...string) *Environment {
	r.t.Helper()
	e := &Environment{Path: filepath.Join(r.t.TempDir(), "env"), Dialect: s.Dialect, Database: name, trac: r, server: s}
	e.Init(ini...)
	return e
}

// Init makes the folder and the tables.
func (e *Environment) Init(ini ...string) {
	t := e.trac.t
	t.Helper()
	e.Admin("initenv", "--inherit=", "test", e.URI())
	file := filepath.Join(e.Path, "conf", "trac.ini")
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, strings.Join(ini, "\n")); err != nil {
		t.Fatal(err)
	}
}

// URI returns the database as Trac's option [trac] database names it.
func (e *Environment) URI() string {
	switch {
	case e.server.Postgres != nil:
		return (&url.URL{Scheme: "postgres", User: url.User("postgres"), Host: e.server.Postgres.Addr(), Path: "/" + e.Database}).String()
	case e.server.MariaDB != nil:
		return (&url.URL{Scheme: "mysql", User: url.User("root"), Host: e.server.MariaDB.Addr(), Path: "/" + e.Database}).String()
	}
	return "sqlite:db/trac.db"
}

// DSN returns the database as the library's drivers name it.
func (e *Environment) DSN() string {
	if e.Dialect == "sqlite" {
		return testdatabase.SQLiteOfTrac(e.File())
	}
	return e.server.DSN(e.Database)
}

// File returns the path of the SQLite file.
func (e *Environment) File() string { return filepath.Join(e.Path, "db", "trac.db") }

// Open opens the database; the pool ends with the test.
func (e *Environment) Open(t testing.TB) *sql.DB {
	t.Helper()
	return e.server.Open(t, e.DSN())
}

// Admin runs trac-admin and returns what it prints.
func (e *Environment) Admin(args ...string) string {
	e.trac.t.Helper()
	return run(e.trac.t, e.AdminCommand(args...))
}

// AdminCommand returns trac-admin with arguments.
func (e *Environment) AdminCommand(args ...string) *exec.Cmd {
	return e.trac.Command(append([]string{"-m", "trac.admin.console", e.Path}, args...)...)
}

// Serve starts Trac's own web server for the environment and returns its address when it
// answers. It ends with the test.
func (e *Environment) Serve() (addr string) {
	t := e.trac.t
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	command := e.trac.Command("-u", "-m", "trac.web.standalone", "--port", port, "--hostname", "127.0.0.1", "--single-env", e.Path)
	said, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs := &bytes.Buffer{}
	command.Stderr = errs
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() && errs.Len() > 0 {
			t.Logf("tracd wrote\n%.5000s", errs)
		}
	})
	awaitLine(t, said, "Using HTTP")
	return addr
}

func run(t testing.TB, command *exec.Cmd) string {
	t.Helper()
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	if err := command.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(command.Args, " "), err, &out, &errs)
	}
	return out.String()
}

// awaitLine reads until a line begins with a prefix, and reads on without a look.
func awaitLine(t testing.TB, from io.Reader, prefix string) {
	t.Helper()
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), prefix) {
			go func() { _, _ = io.Copy(io.Discard, from) }()
			return
		}
	}
	t.Fatalf("tracd ended before it wrote %q: %v", prefix, lines.Err())
}
