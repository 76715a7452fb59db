package testserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// member is what makes a [RedisServer] one of a group.
type member struct {
	sentinel bool   // it is a Sentinel
	config   string // more lines of its configuration
	started  bool   // it has rewritten its configuration since, and must find it again

	source     string    // address from which it connects to the others
	front, bus *TCPProxy // through which others reach it; nil if they reach it directly
}

// remembers says whether a configuration is there that the server itself may have
// changed.
func (m *member) remembers(path string) bool {
	if m == nil {
		return false
	}
	_, err := os.Stat(path)
	return err == nil && m.started
}

// Announced returns the host and port by which the others of its group, and clients,
// know a server: those of its proxy, if it has one.
func (s *RedisServer) Announced() string {
	if s.member != nil && s.member.front != nil {
		return s.member.front.Addr()
	}
	return s.Addr()
}

// Front returns the proxy through which clients, replicas and Sentinels reach a
// server, or nil.
func (s *RedisServer) Front() *TCPProxy { return s.member.front }

// Bus returns the proxy through which the other nodes of its cluster reach a server,
// or nil.
func (s *RedisServer) Bus() *TCPProxy { return s.member.bus }

// Running says whether the server's process is there, and not stopped.
func (s *RedisServer) Running() bool {
	return s.process.runs() && !s.halted.Load()
}

// startGroup starts servers at once, having given each a free port and let configure
// write what they have to know of each other.
func startGroup(t testing.TB, servers []*RedisServer, configure func()) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		for _, s := range servers {
			s.port = freePort(t)
		}
		configure()
		errs := make([]error, len(servers))
		var starting sync.WaitGroup
		for i, s := range servers {
			starting.Go(func() { errs[i] = s.start() })
		}
		starting.Wait()
		err := errors.Join(errs...)
		if err == nil {
			for _, s := range servers {
				s.member.started = true
			}
			return
		}
		if !taken(err) || attempt == 10 {
			t.Fatalf("redis: %v", err)
		}
		for i, s := range servers {
			if errs[i] == nil {
				s.process.kill()
			}
		}
	}
}

// front puts a proxy before each server, if wanted: servers know each other by these,
// and each connects from an address of its own, so that a proxy knows who comes.
func front(t testing.TB, servers []*RedisServer, wanted bool) {
	t.Helper()
	for _, s := range servers {
		if wanted {
			_, port := split(s.Addr())
			s.member.front = Proxy(t, s.Addr())
			s.member.source = sourceAddress(port)
		}
	}
}

// sourceAddress returns an address of the loopback net that belongs to a port.
func sourceAddress(port string) string {
	n, err := strconv.Atoi(port)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("127.77.%d.%d", n>>8, n&0xff)
}

// lines collects configuration.
type lines struct{ strings.Builder }

func (l *lines) set(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

// replicate has a server copy another one soon.
func (l *lines) replicate(s *RedisServer) {
	l.set("masteruser %s", administrator)
	l.set("masterauth %s", administrator)
	l.set("repl-diskless-sync yes")
	l.set("repl-diskless-sync-delay 0") // else 5 s
	l.set("repl-ping-replica-period 1")
	if s.options.TLS != nil {
		l.set("tls-replication yes")
	}
}

// split returns host and port of an address that this package made.
func split(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err)
	}
	return host, port
}

// isolate cuts a server off from the others of its group, as a network does: nothing
// gets through in either direction, and no end learns anything. Clients still reach
// it, unless clients is false.
func isolate(all []*RedisServer, s *RedisServer, clients bool) {
	for _, other := range all {
		if other == s {
			continue
		}
		for _, p := range other.proxies() {
			p.SwallowFrom(s.member.source)
		}
		for _, p := range s.proxies() {
			if clients {
				p.SwallowFrom(other.member.source)
			} else {
				p.Swallow()
			}
		}
	}
}

// heal ends isolation. Connections that were cut off break, and are made again.
func heal(all []*RedisServer) {
	for _, s := range all {
		for _, p := range s.proxies() {
			p.Resume()
			p.CutHoles()
		}
	}
}

// proxies returns those in front of a server.
func (s *RedisServer) proxies() (all []*TCPProxy) {
	for _, p := range []*TCPProxy{s.member.front, s.member.bus} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}
