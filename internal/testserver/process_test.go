package testserver

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestNothingIsLeft(t *testing.T) {
	var servers []*RedisServer
	var pids []int
	t.Run("servers", func(t *testing.T) {
		for i := range 3 {
			s := Redis(t, RedisOptions{Unix: true})
			Proxy(t, s.Addr())
			servers = append(servers, s)
			pids = append(pids, s.process.cmd.Process.Pid)
			if i == 0 {
				s.Restart()
				pids = append(pids, s.process.cmd.Process.Pid)
			}
			if i == 1 {
				s.Stop()
			}
		}
	})
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	for _, s := range servers {
		if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("folder %s is left: %v", s.dir, err)
		}
	}
	noGoroutines(t)
}

func TestAFailedStartShowsItsLogAndLeavesNothing(t *testing.T) {
	server := require(t, "redis-server")
	p, err := start("eady to accept connections", server, "--port", "no number")
	if err == nil {
		p.kill()
		t.Fatal("a server with a wrong port started")
	}
	if !strings.Contains(err.Error(), "no number") {
		t.Errorf("error\n got %v\nwant one that quotes the server's log", err)
	}
	if _, err := start("ready", filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("start of a program that is not there\n got %v\nwant %v", err, os.ErrNotExist)
	}
	noGoroutines(t)
}

// This test runs itself in a second process, which starts a server and is
// killed.
func TestAServerDiesWithItsTestProcess(t *testing.T) {
	const child = "TRACBUS_TESTSERVER_CHILD"
	starts := map[string]func(testing.TB) (dir string, p *process){
		"redis": func(t testing.TB) (string, *process) {
			s := Redis(t, RedisOptions{})
			return s.dir, s.process
		},
	}
	for _, kind := range databases {
		starts[kind.kind] = func(t testing.TB) (string, *process) {
			s := kind.start(t).base()
			return s.dir, s.process
		}
		starts[kind.kind+" stopped"] = func(t testing.TB) (string, *process) {
			s := kind.start(t).base()
			s.Stop()
			return s.dir, s.process
		}
	}
	if start := starts[os.Getenv(child)]; start != nil {
		dir, p := start(t)
		fmt.Println("server", dir, p.cmd.Process.Pid, p.children())
		runtime.GC() // threads come and go, the server stays
		select {}
	}
	if runtime.GOOS != "linux" {
		t.Skip("TestAServerDiesWithItsTestProcess skipped: only Linux kills servers with the test process")
	}
	require(t, "redis-server")
	require(t, "mariadbd", "/usr/sbin/mariadbd")
	require(t, "initdb", "/usr/lib/postgresql/*/bin/initdb")

	for name := range starts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestAServerDiesWithItsTestProcess$", "-test.v")
			cmd.Env = append(os.Environ(), child+"="+name)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var words []string
			for lines := bufio.NewScanner(out); words == nil && lines.Scan(); {
				if said, is := strings.CutPrefix(lines.Text(), "server "); is {
					words = strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(said))
				}
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // killed
			if words == nil {
				t.Fatal("the second process started no server")
			}
			if strings.HasPrefix(name, "postgres") && len(words) < 4 {
				t.Errorf("processes of %s\n got %q\nwant several", name, words[1:])
			}
			for _, word := range words[1:] {
				pid, err := strconv.Atoi(word)
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, "process "+word+" is gone", func() bool { return !alive(pid) && !holdsMemory(t, pid) })
			}
			if err := os.RemoveAll(words[0]); err != nil { // nobody is left to do it
				t.Error(err)
			}
		})
	}
}

// noGoroutines wants the package's goroutines to be over. Those that were waited
// for may take a moment to be gone.
func noGoroutines(t *testing.T) {
	t.Helper()
	const ours = "testserver.(*" // methods only: the tests themselves are functions
	stacks := make([]byte, 1<<20)
	eventually(t, "no goroutine is left", func() bool {
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), ours)
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-timeout.C:
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}
