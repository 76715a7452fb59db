package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisOptions says how a [RedisServer] differs from one that listens on plain
// TCP and lets everybody do everything.
type RedisOptions struct {
	// Unix also listens on a unix socket. Zero means TCP only.
	Unix bool

	// Password is what the default user must give. Zero means none.
	Password string

	// Users are added to the default one, or replace it if one is so named.
	// Zero means none.
	Users []RedisUser

	// TLS speaks TLS instead of plain TCP, and demands a client certificate
	// unless Args say "--tls-auth-clients", "no". Zero means plain TCP.
	TLS *CertFiles

	// Args are added to the command line, and win over everything
	// else: "--appendonly", "yes" keeps data over a Restart. Zero means none.
	Args []string
}

// RedisUser is a user as Redis's access control lists know it.
type RedisUser struct {
	Name     string
	Password string // zero adds none
	Rules    string // such as "~* &trac.* +publish"; "on" is added in front
}

// RedisServer is a Redis server that belongs to one test. It keeps nothing on
// disk, so it is empty after a Restart; what it knows of a [SentinelGroup] or a
// [RedisCluster] stays.
type RedisServer struct {
	t       testing.TB
	program string
	dir     string
	port    int
	options RedisOptions
	member  *member  // of a group, else nil
	process *process // of the last start, which may be over
	halted  atomic.Bool
	admin   *redis.Client
}

// administrator is the name, and the password, of a user that every server has: the
// servers of a group know each other by it.
const administrator = "testserver"

// redisEnv names the variable with the path of a server to test with, such as
// that of Valkey or of another version.
const redisEnv = "TRACBUS_REDIS_SERVER"

// Redis starts a Redis server that ends with the test.
func Redis(t testing.TB, options RedisOptions) *RedisServer {
	t.Helper()
	s := newRedis(t, options)
	for attempt := 1; ; attempt++ {
		s.port = freePort(t)
		err := s.start()
		if err == nil {
			return s
		}
		if !taken(err) || attempt == 10 {
			t.Fatalf("redis: %v", err)
		}
	}
}

// newRedis returns a server that has a folder, but neither a port nor a process.
func newRedis(t testing.TB, options RedisOptions) *RedisServer {
	t.Helper()
	s := &RedisServer{t: t, program: os.Getenv(redisEnv), options: options}
	if s.program == "" {
		s.program = require(t, "redis-server")
	}
	// Not t.TempDir: a unix socket's path may have some 100 bytes only.
	dir, err := os.MkdirTemp("", "tb")
	if err != nil {
		t.Fatal(err)
	}
	s.dir = dir
	t.Cleanup(s.remove)
	return s
}

// taken says whether a server did not start because somebody was faster.
func taken(err error) bool { return strings.Contains(err.Error(), "Address already in use") }

// Addr returns the host and port, which stay the same over a Restart.
func (s *RedisServer) Addr() string { return local(s.port) }

// Port returns the port alone.
func (s *RedisServer) Port() int { return s.port }

// Socket returns the path of the unix socket, which exists if asked for.
func (s *RedisServer) Socket() string { return filepath.Join(s.dir, "redis.sock") }

// Kill ends the server as a crash does, and returns when it is gone. A stopped
// server can be killed, and a dead one.
func (s *RedisServer) Kill() { s.process.kill() }

// Terminate ends the server as its administrator does, and returns when it is
// gone.
func (s *RedisServer) Terminate() {
	s.t.Helper()
	if err := s.process.terminate(syscall.SIGTERM); err != nil {
		s.t.Fatalf("redis: %v", err)
	}
}

// Restart starts the server again where it was, and returns when it answers. A
// server that still runs is killed first.
func (s *RedisServer) Restart() {
	s.t.Helper()
	s.process.kill()
	if err := s.start(); err != nil {
		s.t.Fatalf("redis: restart: %v", err)
	}
}

// Stop halts the server: connections stay open, new ones are even made by the
// kernel, and nothing is answered until Continue.
func (s *RedisServer) Stop() {
	s.t.Helper()
	if err := s.process.stop(); err != nil {
		s.t.Fatalf("redis: stop: %v", err)
	}
	s.halted.Store(true)
}

// Continue lets a stopped server go on with all that waits for it.
func (s *RedisServer) Continue() {
	s.t.Helper()
	if err := s.process.resume(); err != nil {
		s.t.Fatalf("redis: continue: %v", err)
	}
	s.halted.Store(false)
}

// Admin returns a client that may do everything. It is closed with the test.
func (s *RedisServer) Admin() *redis.Client {
	s.t.Helper()
	if s.admin == nil {
		o := &redis.Options{
			Addr: s.Addr(), DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
			MaxRetries: -1, DialerRetries: 1, PoolSize: 2,
		}
		if s.options.Password != "" || len(s.options.Users) > 0 || s.member != nil {
			o.Username, o.Password = administrator, administrator
		}
		if s.options.TLS != nil {
			o.TLSConfig = s.options.TLS.ClientConfig(s.t)
		}
		s.admin = redis.NewClient(o)
	}
	return s.admin
}

func (s *RedisServer) start() error {
	path := filepath.Join(s.dir, "redis.conf")
	if !s.member.remembers(path) {
		if err := os.WriteFile(path, []byte(s.config()), 0o600); err != nil {
			return err
		}
	}
	ready, args := "eady to accept connections", []string{path}
	if s.member != nil && s.member.sentinel {
		ready, args = "Sentinel ID is", append(args, "--sentinel")
	}
	p, err := start(ready, s.program, append(args, s.options.Args...)...)
	if err != nil {
		return err
	}
	s.process = p
	s.halted.Store(false)
	return nil
}

func (s *RedisServer) config() string {
	var b strings.Builder
	set := func(option string, values ...string) {
		b.WriteString(option)
		for _, v := range values {
			b.WriteString(" " + strconv.Quote(v))
		}
		b.WriteString("\n")
	}
	set("bind", "127.0.0.1")
	set("dir", s.dir)
	set("save", "")
	set("appendonly", "no")
	set("daemonize", "no")
	if tls := s.options.TLS; tls != nil {
		set("port", "0")
		set("tls-port", strconv.Itoa(s.port))
		set("tls-ca-cert-file", tls.CA)
		set("tls-cert-file", tls.ServerCert)
		set("tls-key-file", tls.ServerKey)
		set("tls-client-cert-file", tls.ClientCert) // for servers that connect to each other
		set("tls-client-key-file", tls.ClientKey)
	} else {
		set("port", strconv.Itoa(s.port))
	}
	if s.options.Unix {
		set("unixsocket", s.Socket())
	}
	if s.options.Password != "" {
		set("requirepass", s.options.Password)
	}
	for _, u := range s.options.Users {
		rules := []string{u.Name, "on"}
		if u.Password != "" {
			rules = append(rules, ">"+u.Password)
		}
		set("user", append(rules, strings.Fields(u.Rules)...)...)
	}
	set("user", administrator, "on", ">"+administrator, "~*", "&*", "+@all")
	if s.member != nil {
		b.WriteString(s.member.config)
	}
	return b.String()
}

// remove ends the server and deletes its folder. The log of a failed test's
// server is shown.
func (s *RedisServer) remove() {
	if s.admin != nil {
		_ = s.admin.Close()
	}
	if s.process != nil {
		s.process.kill()
		if s.t.Failed() {
			s.t.Logf("log of redis on %s:\n%s", s.Addr(), s.process.log)
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Error(fmt.Errorf("redis: %w", err))
	}
}
