package main_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
)

// program is what is tested: all tests run it as others do.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tracbus")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "tracbus.exe")
	args := []string{"build", "-buildvcs=false", "-o", program}
	if raced {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// The passwords of the tests. None may be in any output.
const (
	databasePassword = "s3cret/of:the@database"
	redisPassword    = "s3cret-of-the-redis"
)

// environment is a Trac environment with a database and a Redis of its own.
type environment struct {
	t      *testing.T
	server *testdatabase.Server
	redis  *testserver.RedisServer
	folder string
	name   string  // of the database
	db     *sql.DB // as Trac has it
	scan   *testkit.SecretScan
	vars   []string // of the processes' environment
}

// newEnvironment makes one with Trac's tables, on a kind of database.
func newEnvironment(t *testing.T, s *testdatabase.Server) *environment {
	t.Helper()
	e := &environment{t: t, server: s, name: s.Name(), scan: testkit.ScanForSecrets(t, databasePassword, redisPassword)}
	e.redis = testserver.Redis(t, testserver.RedisOptions{Password: redisPassword})
	e.folder = filepath.Join(t.TempDir(), "myenv")
	for _, folder := range []string{"conf", "db"} {
		require.NoError(t, os.MkdirAll(filepath.Join(e.folder, folder), 0o755))
	}
	switch {
	case s.Postgres != nil:
		e.db = s.Open(t, s.DSN(e.name))
	case s.MariaDB != nil:
		e.db = s.Open(t, s.DSN(e.name))
		e.exec("CREATE USER trac IDENTIFIED BY '" + databasePassword + "'")
		e.exec("GRANT ALL ON " + e.name + ".* TO trac")
	default:
		file := filepath.Join(e.folder, "db", "trac.db")
		require.NoError(t, os.WriteFile(file, nil, 0o644))
		e.db = s.Open(t, "file:"+file+"?_pragma=busy_timeout(20000)&_txlock=immediate")
	}
	for _, statement := range tracdatabase.Schema(s.Dialect) {
		e.exec(statement)
	}
	e.ini(e.connection("trac"), "")
	return e
}

// connection is Trac's connection string, of a user.
func (e *environment) connection(user string) string {
	at := ":" + strings.NewReplacer(":", "%3A", "@", "%40", "/", "%2f").Replace(databasePassword) + "@"
	switch {
	case e.server.Postgres != nil:
		if user == "trac" {
			user = "postgres"
		}
		return "postgres://" + user + at + e.server.Postgres.Addr() + "/" + e.name
	case e.server.MariaDB != nil:
		return "mysql://" + user + at + e.server.MariaDB.Addr() + "/" + e.name + "?charset=utf8mb4&init_command=SET%20@of_trac%3D1"
	}
	return "sqlite:db/trac.db"
}

// ini writes trac.ini.
func (e *environment) ini(connection, more string) {
	e.t.Helper()
	text := fmt.Sprintf("[trac]\ndatabase = %s\n[redis_client]\nhost = 127.0.0.1\nport = %d\npassword = %s\n%s", connection, e.redis.Port(), redisPassword, more)
	require.NoError(e.t, os.WriteFile(filepath.Join(e.folder, "conf", "trac.ini"), []byte(text), 0o600))
}

func (e *environment) exec(statement string, args ...any) {
	e.t.Helper()
	if e.server.Dialect == "postgresql" {
		for n := 1; strings.Contains(statement, "?"); n++ {
			statement = strings.Replace(statement, "?", fmt.Sprintf("$%d", n), 1)
		}
	}
	_, err := e.db.ExecContext(testkit.Within(e.t), statement, args...)
	require.NoError(e.t, err, statement)
}

// together runs statements in one transaction.
func (e *environment) together(statements ...string) {
	e.t.Helper()
	tx, err := e.db.BeginTx(testkit.Within(e.t), nil)
	require.NoError(e.t, err)
	defer tx.Rollback()
	for _, statement := range statements {
		_, err := tx.ExecContext(testkit.Within(e.t), statement)
		require.NoError(e.t, err, statement)
	}
	require.NoError(e.t, tx.Commit())
}

// ticket creates a ticket as Trac does.
func (e *environment) ticket(summary string) {
	e.t.Helper()
	now := time.Now().UnixMicro()
	e.exec("INSERT INTO ticket (type, time, changetime, component, priority, owner, reporter, cc, version, milestone, status, summary, description, keywords)"+
		" VALUES ('defect', ?, ?, '', 'major', 'joe', 'joe', '', '', '', 'new', ?, '', '')", now, now, summary)
}

// process is a running program.
type process struct {
	t         *testing.T
	cmd       *exec.Cmd
	out, said output
	ended     chan struct{}
	err       error // of Wait, when it has ended
}

// output keeps what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	scan *testkit.SecretScan
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	return o.scan.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts the program with the environment's trac.ini.
func (e *environment) start(args ...string) *process {
	e.t.Helper()
	p := &process{t: e.t, ended: make(chan struct{}), out: output{scan: e.scan}, said: output{scan: e.scan}}
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append(append(os.Environ(), "TRAC_ENV="+e.folder), e.vars...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.said
	require.NoError(e.t, p.cmd.Start())
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid)); err == nil {
		_, _ = e.scan.Write(line)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	e.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails if it has ended, as it should
		<-p.ended
		if e.t.Failed() {
			e.t.Logf("%q printed\n%.2000s\nand said\n%.2000s", args, &p.out, &p.said)
		}
	})
	return p
}

// relay starts a relay, and returns when it runs.
func (e *environment) relay(args ...string) *process {
	e.t.Helper()
	p := e.start(append([]string{"relay"}, args...)...)
	testkit.Until(e.t, "the relay runs or ends", func() bool {
		return p.over() || strings.Contains(p.said.String(), "the relay runs")
	})
	require.False(e.t, p.over(), "%s", &p.said)
	return p
}

func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// code waits for the end and returns the exit code, or -1 after a signal.
func (p *process) code() int {
	p.t.Helper()
	testkit.Until(p.t, "the process ends", p.over)
	var bad *exec.ExitError
	if errors.As(p.err, &bad) {
		return bad.ExitCode()
	}
	require.NoError(p.t, p.err)
	return 0
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// run runs the program to its end.
func (e *environment) run(args ...string) (code int, printed, said string) {
	e.t.Helper()
	p := e.start(args...)
	return p.code(), p.out.String(), p.said.String()
}

// statusJSON is what status prints.
type statusJSON struct {
	Env, Database string
	Journal       *struct{ UUID string }
	Capture       *struct {
		Captured, Wrong []string
		Waiting         int64
	}
	Consumers []struct {
		Name, Holder string
		Held         bool
		TID          int64
		Lag          int64
		DeadLetters  int     `json:"dead_letters"`
		Remaining    float64 `json:"lease_remaining_seconds"`
	}
	Problems []struct{ Code, What string }
}

// status returns what the program says, with the exit code.
func (e *environment) status(args ...string) (s statusJSON, code int) {
	e.t.Helper()
	code, printed, said := e.run(append([]string{"status", "-json"}, args...)...)
	require.NoError(e.t, json.Unmarshal([]byte(printed), &s), "%s%s", printed, said)
	return s, code
}

// codes are those of the problems.
func (s statusJSON) codes() (codes []string) {
	for _, p := range s.Problems {
		codes = append(codes, p.Code)
	}
	return codes
}

// ear hears what is published.
type ear struct {
	t    *testing.T
	sub  *redis.PubSub
	from *redis.Client
}

func (e *environment) redisClient() *redis.Client {
	options := &redis.Options{Addr: e.redis.Addr()}
	if e.name != "" { // Redis has a password
		options.Password = redisPassword
	}
	return redis.NewClient(options)
}

func (e *environment) listen() *ear {
	e.t.Helper()
	client := e.redisClient()
	sub := client.PSubscribe(testkit.Within(e.t), "*")
	_, err := sub.Receive(testkit.Within(e.t))
	require.NoError(e.t, err)
	e.t.Cleanup(func() {
		assert.NoError(e.t, sub.Close())
		assert.NoError(e.t, client.Close())
	})
	return &ear{e.t, sub, client}
}

// next returns the next message.
func (h *ear) next() (channel string, payload map[string]any) {
	h.t.Helper()
	m, err := h.sub.ReceiveMessage(testkit.Within(h.t))
	require.NoError(h.t, err)
	require.NoError(h.t, json.Unmarshal([]byte(m.Payload), &payload), m.Payload)
	return m.Channel, payload
}

// created wants the creation of a ticket next.
func (h *ear) created(summary string) {
	h.t.Helper()
	channel, payload := h.next()
	assert.Equal(h.t, "trac.myenv.ticket.created", channel)
	assert.Equal(h.t, summary, payload["summary"])
}

// silent wants nothing before what comes now.
func (h *ear) silent() {
	h.t.Helper()
	require.NoError(h.t, h.from.Publish(testkit.Within(h.t), "end", "{}").Err())
	channel, _ := h.next()
	assert.Equal(h.t, "end", channel)
}
