package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// processEnv makes a process of the tracker of the test's own program.
const processEnv = "TRACBUS_TRACKER_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(processEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func ticking(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// rig is a database and a Redis, which processes of the tracker share.
type rig struct {
	t      testing.TB
	server *testdatabase.Server
	dsn    string
	folder string                  // that processes run in
	redis  *testserver.RedisServer // nil: there is none
	args   []string                // of all processes
	env    []string                // further variables of all processes
}

func newRig(t testing.TB, s *testdatabase.Server, args ...string) *rig {
	r := &rig{t: t, server: s, dsn: s.DSN(s.Name()), folder: t.TempDir(), args: args}
	if s.Dialect == "sqlite" {
		r.dsn, _, _ = strings.Cut(strings.TrimPrefix(r.dsn, "file:"), "?")
	}
	return r
}

// withRedis gives all processes a Redis of their own.
func (r *rig) withRedis() *rig {
	r.redis = testserver.Redis(r.t, testserver.RedisOptions{})
	return r
}

// process is a running tracker.
type process struct {
	t       testing.TB
	cmd     *exec.Cmd
	url     string
	metrics string // "": it has none
	log     *logBuffer
	gone    chan struct{} // closed when it has ended
}

// logBuffer is what a process says of itself.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// start starts a process and returns when it serves.
func (r *rig) start(args ...string) *process {
	r.t.Helper()
	p, err := r.try(args...)
	require.NoError(r.t, err)
	return p
}

// try is start for a process that may refuse to.
func (r *rig) try(args ...string) (*process, error) {
	r.t.Helper()
	program, err := os.Executable()
	require.NoError(r.t, err)
	p := &process{t: r.t, log: &logBuffer{}, gone: make(chan struct{})}
	args = append([]string{"-listen", "127.0.0.1:0", "-dialect", r.server.Dialect}, append(r.args, args...)...)
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir = r.folder
	p.cmd.Env = append(os.Environ(), processEnv+"=1", "TRACKER_DB="+r.dsn, "TRACKER_REDIS=")
	if r.redis != nil {
		p.cmd.Env = append(p.cmd.Env, "TRACKER_REDIS=redis://"+r.redis.Addr())
	}
	p.cmd.Env = append(p.cmd.Env, r.env...)
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	require.NoError(r.t, err)
	require.NoError(r.t, p.cmd.Start())
	said := make(chan string, 2)
	go func() {
		lines := bufio.NewReader(out)
		for more := true; more; {
			line, err := lines.ReadString('\n')
			more = err == nil && strings.Contains(line, "metrics")
			said <- strings.TrimSpace(line)
		}
		_, _ = io.Copy(io.Discard, out)
		_ = p.cmd.Wait() // how it ended is in cmd
		close(p.gone)
	}()
	r.t.Cleanup(func() {
		p.kill()
		if r.t.Failed() {
			r.t.Logf("process %d said\n%.6000s", p.cmd.Process.Pid, p.log)
		}
		if strings.Contains(p.log.String(), "DATA RACE") {
			r.t.Errorf("a data race in process %d:\n%s", p.cmd.Process.Pid, p.log)
		}
	})
	for p.url == "" {
		select {
		case line := <-said:
			if where, ok := strings.CutPrefix(line, "tracker: metrics on "); ok {
				p.metrics = strings.TrimSuffix(where, "/")
				continue
			}
			where, ok := strings.CutPrefix(line, "tracker: ")
			if !ok {
				<-p.gone
				return nil, fmt.Errorf("%s%s", line, p.log)
			}
			p.url = strings.TrimSuffix(where, "/")
		case <-time.After(patience):
			return nil, fmt.Errorf("it does not start: %s", p.log)
		}
	}
	return p, nil
}

// address returns the host and port that it listens on.
func (p *process) address() string {
	u, err := url.Parse(p.url)
	require.NoError(p.t, err)
	return u.Host
}

// figures returns what it answers a Prometheus.
func (p *process) figures() string {
	p.t.Helper()
	c := newClient(p.t, p)
	c.base = p.metrics
	a := c.get("/metrics")
	require.Equal(p.t, 200, a.status, "%s", a.body)
	return a.body
}

// kill ends it as a crash does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails if it has ended
	<-p.gone
}

// stop ends it as its administrator does, and returns how it ended.
func (p *process) stop() error {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.gone:
	case <-time.After(patience):
		p.t.Fatalf("the process does not end:\n%s", p.log)
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("%s: %s", p.cmd.ProcessState, p.log)
	}
	return nil
}

// eventually waits until something is so that no event tells of.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it never happens: %s", what)
		}
	}
}
