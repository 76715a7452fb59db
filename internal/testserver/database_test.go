package testserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// databases are what both kinds of servers are tested with.
var databases = []struct {
	kind    string
	start   func(testing.TB) testDatabase
	session []string // more arguments of a client that stays
}{
	{"postgres", func(t testing.TB) testDatabase { return Postgres(t, PostgresOptions{}) }, []string{"--file=-"}},
	{"mariadb", func(t testing.TB) testDatabase { return MariaDB(t, MariaDBOptions{}) }, []string{"--unbuffered"}},
}

type testDatabase interface {
	Addr() string
	Port() int
	CreateDatabase(name string)
	Kill()
	Terminate()
	Restart()
	Stop()
	Continue()
	Backup() func()

	statement(database, statement string) *exec.Cmd
	base() *database
}

func (s *PostgresServer) statement(database, statement string) *exec.Cmd {
	return s.psql(database, statement)
}
func (s *MariaDBServer) statement(database, statement string) *exec.Cmd {
	return s.mariadb(database, statement)
}
func (d *database) base() *database { return d }

// onBoth runs a test with a server of each kind that has a database named test.
func onBoth(t *testing.T, test func(t *testing.T, s testDatabase)) {
	for _, kind := range databases {
		t.Run(kind.kind, func(t *testing.T) {
			t.Parallel()
			s := kind.start(t)
			s.CreateDatabase("test")
			test(t, s)
		})
	}
}

func TestADatabaseAnswersAgainAfterAKill(t *testing.T) {
	onBoth(t, func(t *testing.T, s testDatabase) {
		query(t, s, "CREATE TABLE kept (n int)")
		query(t, s, "INSERT INTO kept VALUES (7)")
		addr, pids := s.Addr(), processes(s)

		s.Kill()
		for _, pid := range pids {
			if alive(pid) {
				t.Errorf("process %d survived", pid)
			}
		}
		refuses(t, s)
		s.Kill() // a second time does nothing

		s.Restart()
		if s.Addr() != addr {
			t.Errorf("address after a restart\n got %s\nwant %s", s.Addr(), addr)
		}
		wantAnswer(t, s, "SELECT n FROM kept", "7")
		query(t, s, "INSERT INTO kept VALUES (8)")
		s.Restart() // one that still runs
		wantAnswer(t, s, "SELECT n FROM kept ORDER BY n", "7\n8")
	})
}

func TestADatabaseTerminatesThoughClientsStay(t *testing.T) {
	onBoth(t, func(t *testing.T, s testDatabase) {
		c := newSession(t, s)
		c.wantAnswer("SELECT 1", "1")
		pids := processes(s)
		s.Terminate()
		s.Terminate() // a second time does nothing
		for _, pid := range pids {
			if alive(pid) {
				t.Errorf("process %d is left", pid)
			}
		}
		refuses(t, s)
		s.Restart()
		wantAnswer(t, s, "SELECT 1", "1")
	})
}

func TestAStoppedDatabaseIsSilentUntilContinued(t *testing.T) {
	onBoth(t, func(t *testing.T, s testDatabase) {
		c := newSession(t, s)
		c.wantAnswer("SELECT 1", "1")
		for n := range 10 { // an answer that slips out while the server stops would show
			s.Stop()
			c.say(fmt.Sprintf("SELECT %d", n))
			if answer, err := c.hear(20 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("answer of a stopped server\n got %q, %v\nwant a timeout", answer, err)
			}
			s.Continue()
			if answer, err := c.hear(patience); answer != fmt.Sprint(n) || err != nil {
				t.Fatalf("answer of a server that continues\n got %q, %v\nwant %d, nil", answer, err, n)
			}
		}

		s.Stop()
		pids := processes(s)
		s.Kill()
		for _, pid := range pids {
			if alive(pid) {
				t.Errorf("process %d survived", pid)
			}
		}
		s.Restart()
		wantAnswer(t, s, "SELECT 1", "1")
	})
}

func TestABackupPutsHistoryBack(t *testing.T) {
	onBoth(t, func(t *testing.T, s testDatabase) {
		query(t, s, "CREATE TABLE history (n int)")
		query(t, s, "INSERT INTO history VALUES (1)")
		restore := s.Backup()
		for n := 2; n < 4; n++ {
			wantAnswer(t, s, "SELECT n FROM history", "1")
			query(t, s, fmt.Sprintf("INSERT INTO history VALUES (%d)", n))
			wantAnswer(t, s, "SELECT n FROM history ORDER BY n", fmt.Sprintf("1\n%d", n))
			restore()
		}
		wantAnswer(t, s, "SELECT n FROM history", "1")
	})
}

func TestADatabaseMayHaveAnyName(t *testing.T) {
	onBoth(t, func(t *testing.T, s testDatabase) {
		for _, name := range []string{"Trac", "a b", `a"b`, "a`b", "a'b", "données"} {
			s.CreateDatabase(name)
			cmd := s.statement(name, map[string]string{
				"postgres": "SELECT current_database()",
				"mariadb":  "SELECT database()",
			}[s.base().name])
			out, err := cmd.CombinedOutput()
			if got := strings.TrimSpace(string(out)); got != name || err != nil {
				t.Errorf("name of a database\n got %s, %v\nwant %s, nil", got, err, name)
			}
		}
	})
}

func TestManyDatabasesAtOnce(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.kind, func(t *testing.T) {
			for range 4 {
				t.Run("one", func(t *testing.T) {
					t.Parallel()
					s := kind.start(t)
					s.CreateDatabase("test")
					wantAnswer(t, s, "SELECT 1", "1")
				})
			}
		})
	}
}

func TestNothingIsLeftOfDatabases(t *testing.T) {
	for _, kind := range databases {
		var servers []testDatabase
		var pids []int
		t.Run(kind.kind, func(t *testing.T) {
			for i := range 3 {
				s := kind.start(t)
				servers = append(servers, s)
				pids = append(pids, processes(s)...)
				switch i {
				case 0:
					s.Restart()
					pids = append(pids, processes(s)...)
				case 1:
					s.Stop()
				case 2:
					s.Backup()
					pids = append(pids, processes(s)...)
					s.Kill()
				}
			}
		})
		for _, pid := range pids {
			if alive(pid) {
				t.Errorf("process %d of %s is left", pid, kind.kind)
			}
		}
		for _, s := range servers {
			if _, err := os.Stat(s.base().dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("folder %s is left: %v", s.base().dir, err)
			}
			refuses(t, s)
		}
	}
	noGoroutines(t)
}

// processes returns the numbers of a server's processes.
func processes(s testDatabase) []int {
	p := s.base().process
	return append(p.children(), p.cmd.Process.Pid)
}

func refuses(t *testing.T, s testDatabase) {
	t.Helper()
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		conn.Close()
		t.Errorf("somebody listens on %s", s.Addr())
	}
}

// query returns what the database named test answers.
func query(t *testing.T, s testDatabase, statement string) string {
	t.Helper()
	out, err := s.statement("test", statement).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", statement, err, out)
	}
	return strings.TrimSpace(string(out))
}

func wantAnswer(t *testing.T, s testDatabase, statement, want string) {
	t.Helper()
	if got := query(t, s, statement); got != want {
		t.Errorf("%s\n got %q\nwant %q", statement, got, want)
	}
}

// session is a client that stays connected.
type session struct {
	t   *testing.T
	in  io.Writer
	out *os.File
}

func newSession(t *testing.T, s testDatabase) *session {
	t.Helper()
	cmd := s.statement("test", "")
	cmd.Args = cmd.Args[:0:0]
	for _, arg := range s.statement("test", "").Args {
		if !strings.HasPrefix(arg, "--command=") && !strings.HasPrefix(arg, "--execute=") {
			cmd.Args = append(cmd.Args, arg)
		}
	}
	for _, kind := range databases {
		if kind.kind == s.base().name {
			cmd.Args = slices.Insert(cmd.Args, len(cmd.Args)-1, kind.session...)
		}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if its server's end was its own
		_ = cmd.Wait()
	})
	return &session{t: t, in: in, out: out.(*os.File)}
}

func (c *session) say(statement string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, statement+";\n"); err != nil {
		c.t.Fatal(err)
	}
}

// hear returns an answer of one line, if it comes in time.
func (c *session) hear(within time.Duration) (string, error) {
	if err := c.out.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c.out).ReadString('\n')
	return strings.TrimSpace(line), err
}

func (c *session) wantAnswer(statement, want string) {
	c.t.Helper()
	c.say(statement)
	if got, err := c.hear(patience); got != want || err != nil {
		c.t.Fatalf("%s\n got %q, %v\nwant %q, nil", statement, got, err, want)
	}
}

func TestAServerWhoseFilesAreLimited(t *testing.T) {
	s := Postgres(t, PostgresOptions{})
	if err := s.LimitFiles(64 << 10); err != nil {
		if os.Getenv(requireEnv) != "" {
			t.Fatal(err)
		}
		t.Skipf("%v", err)
	}
	if err := run(s.psql("postgres", "CREATE TABLE t AS SELECT generate_series(1, 100000)")); err == nil {
		t.Error("it has written a table of some megabytes")
	}
	if err := s.LimitFiles(0); err != nil {
		t.Logf("%v", err) // it may have ended
	}
	s.Restart()
	if err := run(s.psql("postgres", "CREATE TABLE u AS SELECT generate_series(1, 100000)")); err != nil {
		t.Error(err)
	}
}
