package testserver

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// MariaDBOptions says how a [MariaDBServer] differs from one that saves what a
// test can do without.
type MariaDBOptions struct {
	// Durable writes as MariaDB does by default, so that what was committed
	// survives a power cut. Zero does not wait for disks, which is faster: what
	// was committed survives Kill alone.
	Durable bool

	// Args are added to the command line, and win over everything
	// else: "--max-connections=10". Zero means none.
	Args []string

	// Env are added to its environment: "LD_PRELOAD=…". Zero means none.
	Env []string
}

// MariaDBServer is a MariaDB server that belongs to one test. Its administrator
// is root, who needs no password, its character set utf8mb4, its collation
// utf8mb4_bin and its time zone UTC. It writes no binary log.
type MariaDBServer struct {
	database
	program string
	client  string // the program that talks to it
	options MariaDBOptions
}

// MariaDB starts a MariaDB server that ends with the test.
func MariaDB(t testing.TB, options MariaDBOptions) *MariaDBServer {
	t.Helper()
	s := &MariaDBServer{
		client:  require(t, "mariadb"),
		program: require(t, "mariadbd", "/usr/sbin/mariadbd", "/usr/libexec/mariadbd"),
		options: options,
	}
	s.database = database{
		t:        t,
		name:     "mariadb",
		account:  serverAccount(t, "mysql"),
		ready:    "ready for connections",
		end:      syscall.SIGTERM,
		orphaned: syscall.SIGKILL,
		command:  s.run,
		sweep:    func() {}, // it leaves nothing
	}
	blank := template{
		name:    s.name,
		account: s.account,
		program: require(t, "mariadb-install-db"),
		args: []string{"--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db",
			"--skip-name-resolve", logFileSize},
		folder: func(data string) string { return "--datadir=" + data },
	}
	s.open(blank.copyTo)
	return s
}

// logFileSize keeps small what is copied for every server.
const logFileSize = "--innodb-log-file-size=16M"

// DSN returns the address of one of its databases as go-sql-driver/mysql reads
// it, without parameters. There always is one named mysql.
func (s *MariaDBServer) DSN(database string) string {
	return s.DSNVia(s.Addr(), database)
}

// DSNVia is DSN with another host and port, such as those of a [TCPProxy].
func (s *MariaDBServer) DSNVia(addr, database string) string {
	return "root@tcp(" + addr + ")/" + database
}

// CreateDatabase makes a new, empty database.
func (s *MariaDBServer) CreateDatabase(name string) {
	s.t.Helper()
	quoted := "`" + strings.ReplaceAll(name, "`", "``") + "`"
	if err := run(s.mariadb("mysql", "CREATE DATABASE "+quoted)); err != nil {
		s.t.Fatalf("mariadb: create database: %v", err)
	}
}

// mariadb returns a command that prints what a statement answers.
func (s *MariaDBServer) mariadb(database, statement string) *exec.Cmd {
	return serverCommand(s.account, s.dir, s.client, "--no-defaults", "--protocol=tcp", "--host=127.0.0.1",
		"--port="+strconv.Itoa(s.port), "--user=root", "--default-character-set=utf8mb4", "--batch",
		"--skip-column-names", "--execute="+statement, database)
}

func (s *MariaDBServer) run() *exec.Cmd {
	args := []string{
		"--no-defaults", // must be the first
		"--datadir=" + s.data(),
		"--tmpdir=" + s.dir,
		"--socket=" + filepath.Join(s.dir, "mariadb.sock"),
		"--pid-file=" + filepath.Join(s.dir, "mariadb.pid"),
		"--bind-address=127.0.0.1",
		"--port=" + strconv.Itoa(s.port),
		"--skip-name-resolve",
		"--skip-log-bin",
		"--character-set-server=utf8mb4",
		"--collation-server=utf8mb4_bin",
		"--max-connections=300",
		"--innodb-buffer-pool-size=64M",
		logFileSize,
	}
	if !s.options.Durable {
		args = append(args, "--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0")
	}
	cmd := serverCommand(s.account, s.dir, s.program, append(args, s.options.Args...)...)
	cmd.Env = append(cmd.Env, s.options.Env...)
	return cmd
}
