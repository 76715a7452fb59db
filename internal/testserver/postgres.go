package testserver

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// PostgresOptions says how a [PostgresServer] differs from one that saves what
// a test can do without.
type PostgresOptions struct {
	// Durable writes as PostgreSQL does by default, so that what was committed
	// survives a power cut. Zero does not wait for disks, which is faster: what
	// was committed survives Kill alone.
	Durable bool

	// Args are added to the command line, and win over everything
	// else: "-c", "max_connections=10" or "--max_connections=10". Zero means
	// none.
	Args []string
}

// PostgresServer is a PostgreSQL server that belongs to one test. It trusts
// everybody; its administrator is postgres, its encoding UTF-8, its collation C
// and its time zone UTC. It knows prepared transactions.
type PostgresServer struct {
	database
	bin     string // folder of PostgreSQL's programs
	options PostgresOptions
}

// Postgres starts a PostgreSQL server that ends with the test.
func Postgres(t testing.TB, options PostgresOptions) *PostgresServer {
	t.Helper()
	s := newPostgres(t, options)
	blank := template{
		name:    s.name,
		account: s.account,
		program: filepath.Join(s.bin, "initdb"),
		args:    []string{"--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"},
		folder:  func(data string) string { return "--pgdata=" + data },
	}
	s.open(blank.copyTo)
	return s
}

func newPostgres(t testing.TB, options PostgresOptions) *PostgresServer {
	t.Helper()
	initdb := require(t, "initdb", "/usr/lib/postgresql/*/bin/initdb")
	initdb, err := filepath.EvalSymlinks(initdb) // the other programs need no links
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	s := &PostgresServer{bin: filepath.Dir(initdb), options: options}
	s.database = database{
		t:        t,
		name:     "postgres",
		account:  serverAccount(t, "postgres"),
		ready:    "database system is ready to accept ", // connections, of a standby read-only ones
		end:      syscall.SIGINT,
		orphaned: syscall.SIGQUIT, // ends its children with it, and frees its shared memory
		command:  s.run,
		sweep:    s.sweep,
	}
	return s
}

// DSN returns the address of one of its databases as libpq and Go drivers read
// it. There always is one named postgres.
func (s *PostgresServer) DSN(database string) string {
	return s.DSNVia(s.Addr(), database)
}

// DSNVia is DSN with another host and port, such as those of a [TCPProxy].
func (s *PostgresServer) DSNVia(addr, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Host:     addr,
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// CreateDatabase makes a new, empty database.
func (s *PostgresServer) CreateDatabase(name string) {
	s.t.Helper()
	quoted := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	if err := run(s.psql("postgres", "CREATE DATABASE "+quoted)); err != nil {
		s.t.Fatalf("postgres: create database: %v", err)
	}
}

// Standby starts a second server that follows this one, with the same options,
// answers what only reads, and ends with the test. It returns when the standby
// answers, which may be before it has caught up.
func (s *PostgresServer) Standby(t testing.TB) *PostgresServer {
	t.Helper()
	standby := newPostgres(t, s.options)
	standby.open(func(data string) error {
		return run(s.tool("pg_basebackup", "--dbname="+s.DSN("postgres"), "--pgdata="+data,
			"--write-recovery-conf", "--checkpoint=fast", "--no-sync"))
	})
	return standby
}

// psql returns a command that prints what a statement answers.
func (s *PostgresServer) psql(database, statement string) *exec.Cmd {
	return s.tool("psql", "--dbname="+s.DSN(database), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align",
		"--set=ON_ERROR_STOP=1", "--command="+statement)
}

func (s *PostgresServer) tool(program string, args ...string) *exec.Cmd {
	return serverCommand(s.account, s.dir, filepath.Join(s.bin, program), args...)
}

func (s *PostgresServer) run() *exec.Cmd {
	args := []string{"-D", s.data()}
	set := func(name, value string) { args = append(args, "-c", name+"="+value) }
	set("listen_addresses", "127.0.0.1")
	set("port", strconv.Itoa(s.port))
	set("unix_socket_directories", "")
	set("max_connections", "300")
	set("max_prepared_transactions", "10")
	set("dynamic_shared_memory_type", "mmap") // files of the data folder, which go with it
	if !s.options.Durable {
		set("fsync", "off")
		set("full_page_writes", "off")
	}
	return s.tool("postgres", append(args, s.options.Args...)...)
}

// sweep removes the lock file of a killed server, whose number may by now be
// another process's, and the shared memory that the file names.
func (s *PostgresServer) sweep() {
	path := filepath.Join(s.data(), "postmaster.pid")
	lock, err := os.ReadFile(path)
	if err != nil {
		return // it has ended in order
	}
	if lines := strings.Split(string(lock), "\n"); len(lines) > 6 {
		if keyAndID := strings.Fields(lines[6]); len(keyAndID) == 2 {
			_ = exec.Command("ipcrm", "-m", keyAndID[1]).Run() // a start frees it as well
		}
	}
	_ = os.Remove(path) // a start says so if it matters
}
