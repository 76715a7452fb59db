package tracbus_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/testserver"
)

// The processes of a crash campaign, by number: relays, then those that only
// write, then the subscribers.
const (
	crashRelays    = 3
	crashWriters   = 2
	crashTrackers  = crashRelays + crashWriters
	crashEarAt     = crashTrackers
	crashReaderAt  = crashTrackers + 1
	crashProcesses = crashTrackers + 2
)

// crashRig starts the processes of a round, and ends and starts them again.
type crashRig struct {
	t        testing.TB
	program  string // the test binary
	database *crashDatabase
	dsn      string                              // without a proxy
	proxies  [crashTrackers]*testserver.TCPProxy // to the database; nil on SQLite
	links    [crashTrackers]*testserver.TCPProxy // to Redis
	redis    *testserver.RedisServer
	client   *redis.Client // to it
	db       *sql.DB
	folder   string
	random   *rand.Rand
	writers  [crashTrackers]int // of each tracker
	plain    bool               // no stream

	processes [crashProcesses]*attackChild
	runs      [crashProcesses]int
	all       []*attackChild
	stopped   map[*attackChild]time.Time // until when
	finishing bool
	watch     *crashWatch

	totals crashTotals
}

// newCrashRig makes an empty database and a Redis with arguments, and starts no
// process yet.
func newCrashRig(t testing.TB, d *crashDatabase, redisArgs ...string) *crashRig {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := &crashRig{
		t: t, program: program, database: d, folder: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0)),
		redis: testserver.Redis(t, testserver.RedisOptions{Args: redisArgs}), stopped: map[*attackChild]time.Time{},
	}
	r.totals.rounds = 1
	r.client = redis.NewClient(&redis.Options{Addr: r.redis.Addr(), DialTimeout: time.Second, ReadTimeout: 5 * time.Second})
	t.Cleanup(func() { _ = r.client.Close() })
	via := d.create(t)
	r.dsn = via("")
	for i := range crashTrackers {
		r.links[i] = testserver.Proxy(t, r.redis.Addr())
		if d.server != nil {
			r.proxies[i] = testserver.Proxy(t, d.server.Addr())
		}
	}
	r.open()
	createAttackTables(t, r.db, d.dialect)
	t.Cleanup(r.end)
	return r
}

// open opens the database for the rig itself.
func (r *crashRig) open() {
	r.t.Helper()
	db, err := sql.Open(attackDrivers[r.database.dialect], r.dsn)
	if err != nil {
		r.t.Fatal(err)
	}
	r.db = db
}

func (r *crashRig) path(name string) string { return filepath.Join(r.folder, name) }

// end ends everything at once, also what is stopped.
func (r *crashRig) end() {
	r.finishing = true
	if r.watch != nil {
		r.watch.close()
	}
	for _, c := range r.all {
		c.kill()
		if b, err := os.ReadFile(r.path(c.name + ".err")); err == nil && r.t.Failed() && len(b) > 0 {
			r.t.Logf("%s wrote\n%s", c.name, tail(string(b), 40000))
		}
	}
	_ = r.db.Close()
}

func tail(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return "…" + s[len(s)-most:]
}

// start starts the next run of a process.
func (r *crashRig) start(process int) {
	r.t.Helper()
	r.runs[process]++
	o := crashOrders{Dialect: r.database.dialect, Redis: r.redis.Addr(), Seed: r.random.Uint64(), Plain: r.plain}
	switch process {
	case crashEarAt:
		o.Role, o.Run, o.Log = crashEar, "ear", r.path("heard.log")
	case crashReaderAt:
		o.Role, o.Run, o.Log = crashReader, "reader", r.path("read.log")
	default:
		o.Role, o.Run, o.DSN, o.Redis = crashTracker, fmt.Sprintf("p%d", process), r.dsn, r.links[process].Addr()
		o.Writers = r.writers[process]
		if p := r.proxies[process]; p != nil {
			o.DSN = r.database.via(p.Addr())
		}
		if process < crashRelays {
			o.Told = r.path("told.log")
		}
	}
	o.Run += fmt.Sprintf(".%d", r.runs[process])
	if o.Log == "" {
		o.Log = r.path(o.Run + ".log")
	}
	orders, err := json.Marshal(o)
	if err != nil {
		r.t.Fatal(err)
	}
	c := &attackChild{name: o.Run}
	c.begin(r.t, r.program, "TestCrash", crashEnv+"="+string(orders), r.path(c.name+".err"))
	r.processes[process] = c
	r.all = append(r.all, c)
}

// startAll starts all processes, the subscribers first.
func (r *crashRig) startAll() {
	r.t.Helper()
	r.watch = watchCrash(r.t, r.db)
	for _, process := range []int{crashEarAt, crashReaderAt} {
		if process != crashReaderAt || !r.plain {
			r.start(process)
			r.hear(process, "crash: ready")
		}
	}
	for process := range crashTrackers {
		r.start(process)
	}
	for process := range crashTrackers {
		r.hear(process, "crash: ready")
	}
}

// hear waits until a process says a line, or is gone.
func (r *crashRig) hear(process int, line string) (said bool) {
	r.t.Helper()
	timeout := time.NewTimer(2 * patience)
	defer timeout.Stop()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for c := r.processes[process]; ; {
		select {
		case <-again.C:
			if line != "crash: stops" { // it may have been told to go on before it stopped itself
				c.signal(r.t, "-CONT")
			}
		case s := <-c.said:
			if s == "crash: stops" && line != s {
				r.totals.stops++
				c.signal(r.t, "-CONT") // or it would never say the line
			}
			if s == line {
				return true
			}
		case <-c.gone:
			return false
		case <-timeout.C:
			r.t.Errorf("%s did not say %q within %v", c.name, line, 2*patience)
			return false
		}
	}
}

// kill ends a process and starts its next run.
func (r *crashRig) kill(process int) {
	r.t.Helper()
	c := r.processes[process]
	c.kill()
	delete(r.stopped, c)
	r.totals.kills++
	r.start(process)
}

// stopFor halts a process for a time.
func (r *crashRig) stopFor(process int, d time.Duration) {
	c := r.processes[process]
	c.signal(r.t, "-STOP")
	r.stopped[c] = time.Now().Add(d)
	r.totals.stops++
}

// attend looks after the processes: those that are stopped go on in time, those
// that have killed themselves are started again.
func (r *crashRig) attend(all bool) {
	r.t.Helper()
	for process, c := range r.processes {
		if c == nil {
			continue
		}
		select {
		case said := <-c.said:
			if said == "crash: stops" {
				r.stopped[c] = time.Now().Add(crashStop(r.random))
				r.totals.stops++
			}
		case <-c.gone:
			if state := c.cmd.ProcessState.String(); state != "signal: killed" {
				r.t.Errorf("%s has ended by itself: %s", c.name, state)
			}
			r.kill(process)
			continue
		default:
		}
		if until, ok := r.stopped[c]; ok && (all || time.Now().After(until)) {
			c.signal(r.t, "-CONT")
			c.order("trick " + string(noTrick)) // one that stopped in a call returns
			delete(r.stopped, c)
		}
	}
}

// crashStop is for how long a process is stopped: longer than it may hold a
// name.
func crashStop(random *rand.Rand) time.Duration {
	return crashLease + 200*time.Millisecond + time.Duration(random.Int64N(int64(crashLease)))
}

// calm ends all that processes may do to themselves.
func (r *crashRig) calm() {
	r.t.Helper()
	r.attend(true)
	for process := range crashRelays {
		for try := 0; try < 10; try++ {
			r.processes[process].order("trick " + string(noTrick))
			if r.hear(process, "crash: trick "+string(noTrick)) {
				break
			}
			r.attend(true) // it had killed itself
		}
	}
}

// eventually waits for what nobody announces. Unlike until, it lets the test go
// on to the checker.
func (r *crashRig) eventually(what string, is func() bool) (ok bool) {
	r.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			r.t.Errorf("not within %v: %s", patience, what)
			return false
		}
	}
	return true
}

// holder returns the process that holds a name.
func (r *crashRig) holder(name string) (process int) {
	r.t.Helper()
	r.eventually("a process holds "+name, func() bool {
		process = slices.IndexFunc(r.processes[:crashRelays], func(c *attackChild) bool {
			return c.cmd.Process.Pid == r.watch.holder(name).pid
		})
		return process >= 0
	})
	return max(process, 0)
}

// write has a process commit one transaction.
func (r *crashRig) write(process int) {
	r.t.Helper()
	r.processes[process].order("last")
	if !r.hear(process, "crash: last") {
		r.t.Fatalf("%s has committed nothing", r.processes[process].name)
	}
}
