package testserver

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestPostgresAddresses(t *testing.T) {
	t.Parallel()
	s := Postgres(t, PostgresOptions{})
	p := Proxy(t, s.Addr())
	if got, want := s.DSN("trac"), "postgres://postgres@"+s.Addr()+"/trac?sslmode=disable"; got != want {
		t.Errorf("address of a database\n got %s\nwant %s", got, want)
	}
	via := s.tool("psql", "--dbname="+s.DSNVia(p.Addr(), "postgres"), "--no-psqlrc", "--command=SELECT 1")
	if err := run(via); err != nil {
		t.Errorf("through a proxy: %v", err)
	}
	p.Refuse()
	via = s.tool("psql", "--dbname="+s.DSNVia(p.Addr(), "postgres"), "--no-psqlrc", "--command=SELECT 1")
	if err := run(via); err == nil {
		t.Error("a database answered through a proxy that refuses")
	}
}

func TestPostgresSettings(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options PostgresOptions
		want    string
	}{
		{"by default", PostgresOptions{}, "off off on 300 10"},
		{"durable", PostgresOptions{Durable: true}, "on on on 300 10"},
		{"with arguments", PostgresOptions{Args: []string{"-c", "max_connections=20", "--fsync=on"}}, "on off on 20 10"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := Postgres(t, tc.options)
			var got []string
			for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit", "max_connections", "max_prepared_transactions"} {
				got = append(got, show(t, s, name))
			}
			if got := strings.Join(got, " "); got != tc.want {
				t.Errorf("settings\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestPostgresLooksTheSameEverywhere(t *testing.T) {
	for name, value := range map[string]string{"PGPORT": "1", "PGOPTIONS": "nonsense", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"} {
		t.Setenv(name, value)
	}
	s := Postgres(t, PostgresOptions{})
	for name, want := range map[string]string{
		"server_encoding": "UTF8", "lc_collate": "C", "lc_messages": "C", "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
	} {
		if got := show(t, s, name); got != want {
			t.Errorf("%s\n got %q\nwant %q", name, got, want)
		}
	}
	now, err := s.psql("postgres", "SELECT to_char(timestamptz '2020-01-01 00:00:00+00', 'HH24 OF')").Output()
	if got, want := strings.TrimSpace(string(now)), "00 +00"; got != want || err != nil {
		t.Errorf("time zone\n got %s, %v\nwant %s, nil", got, err, want)
	}
}

func TestAStandbyFollowsAndOnlyReads(t *testing.T) {
	t.Parallel()
	s := Postgres(t, PostgresOptions{})
	s.CreateDatabase("test")
	query(t, s, "CREATE TABLE followed (n int)")
	standby := s.Standby(t)
	if s.Addr() == standby.Addr() {
		t.Fatalf("both listen on %s", s.Addr())
	}

	follows := func(n string) {
		t.Helper()
		query(t, s, "INSERT INTO followed VALUES ("+n+")")
		eventually(t, "the standby has row "+n, func() bool {
			return query(t, standby, "SELECT count(*) FROM followed WHERE n = "+n) == "1"
		})
	}
	follows("1")
	out, err := standby.psql("test", "INSERT INTO followed VALUES (2)").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "read-only") {
		t.Errorf("insert into a standby\n got %s, %v\nwant an error that says read-only", out, err)
	}

	standby.Kill()
	query(t, s, "INSERT INTO followed VALUES (3)")
	standby.Restart()
	follows("4")
	wantAnswer(t, standby, "SELECT n FROM followed ORDER BY n", "1\n3\n4")

	s.Kill()
	wantAnswer(t, standby, "SELECT count(*) FROM followed", "3")
}

func TestAKilledPostgresLeavesNoSharedMemory(t *testing.T) {
	if _, err := os.Stat(memorySegments); err != nil {
		missing(t, memorySegments)
	}
	s := Postgres(t, PostgresOptions{})
	pid := s.process.cmd.Process.Pid
	if !holdsMemory(t, pid) {
		t.Fatal("a running server holds no shared memory")
	}
	s.Kill()
	if holdsMemory(t, pid) {
		t.Error("shared memory is left")
	}
}

const memorySegments = "/proc/sysvipc/shm"

// holdsMemory says whether there is shared memory that a process has made.
func holdsMemory(t *testing.T, pid int) bool {
	t.Helper()
	table, err := os.ReadFile(memorySegments)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(table)) { // key, id, mode, size, creator
		if fields := strings.Fields(line); fields[4] == strconv.Itoa(pid) {
			return true
		}
	}
	return false
}

func show(t *testing.T, s *PostgresServer, setting string) string {
	t.Helper()
	out, err := s.psql("postgres", "SHOW "+setting).CombinedOutput()
	if err != nil {
		t.Fatalf("setting %s: %v\n%s", setting, err, out)
	}
	return strings.TrimSpace(string(out))
}
