package testserver

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// HAProxyOptions says how a [HAProxyServer] differs from one that is patient.
type HAProxyOptions struct {
	// Targets are the servers; connections go to the first that is up.
	Targets []string

	// Check is what has to be in the answer of a server to INFO replication for it to
	// be up, such as role:master. Zero means that it accepts connections.
	Check string

	// Idle is how long a connection may be silent, in each direction. Zero means an
	// hour.
	Idle time.Duration
}

// HAProxyServer is a HAProxy in TCP mode.
type HAProxyServer struct {
	t       testing.TB
	program string
	port    int
	dir     string
	options HAProxyOptions
	process *process
}

// HAProxy starts a HAProxy that ends with the test.
func HAProxy(t testing.TB, options HAProxyOptions) *HAProxyServer {
	t.Helper()
	h := &HAProxyServer{t: t, program: require(t, "haproxy", "/usr/sbin/haproxy"), options: options}
	dir, err := os.MkdirTemp("", "tb")
	if err != nil {
		t.Fatal(err)
	}
	h.dir = dir
	t.Cleanup(func() {
		if h.process != nil {
			h.process.kill()
			if t.Failed() {
				t.Logf("log of haproxy on %s:\n%s", h.Addr(), h.process.log)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for attempt := 1; ; attempt++ {
		h.port = freePort(t)
		err := h.start()
		if err == nil {
			return h
		}
		if !taken(err) || attempt == 10 {
			t.Fatalf("haproxy: %v", err)
		}
	}
}

// Addr returns the host and port, which stay the same over a Restart.
func (h *HAProxyServer) Addr() string { return local(h.port) }

// Kill ends it as a crash does, with all its connections.
func (h *HAProxyServer) Kill() { h.process.kill() }

// Restart starts it again.
func (h *HAProxyServer) Restart() {
	h.t.Helper()
	h.process.kill()
	if err := h.start(); err != nil {
		h.t.Fatalf("haproxy: restart: %v", err)
	}
}

func (h *HAProxyServer) start() error {
	path := filepath.Join(h.dir, "haproxy.cfg")
	if err := os.WriteFile(path, []byte(h.config()), 0o600); err != nil {
		return err
	}
	// -db: in the foreground. With -V it says something before it listens.
	p, err := start("as the polling mechanism", h.program, "-db", "-V", "-f", path)
	if err != nil {
		return err
	}
	h.process = p
	await(func() bool { return !p.runs() || accepts(h.Addr()) })
	if !p.runs() {
		return fmt.Errorf("haproxy ended:\n%s", p.log)
	}
	return nil
}

// accepts says whether somebody listens.
func accepts(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func (h *HAProxyServer) config() string {
	idle := h.options.Idle
	if idle == 0 {
		idle = time.Hour
	}
	var l lines
	l.set("global")
	l.set("  maxconn 1000")
	l.set("defaults")
	l.set("  mode tcp")
	l.set("  timeout connect 2s")
	l.set("  timeout client %dms", idle.Milliseconds())
	l.set("  timeout server %dms", idle.Milliseconds())
	l.set("listen redis")
	l.set("  bind %s", h.Addr())
	l.set("  balance first")
	if h.options.Check != "" {
		l.set("  option tcp-check")
		l.set(`  tcp-check send info\ replication\r\n`)
		l.set("  tcp-check expect string %s", h.options.Check)
	}
	for i, target := range h.options.Targets {
		l.set("  server %s %s check inter 200ms fastinter 100ms fall 2 rise 1 on-marked-down shutdown-sessions", fmt.Sprintf("s%d", i), target)
	}
	return l.String()
}
