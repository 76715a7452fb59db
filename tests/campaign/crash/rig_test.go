package crash_test

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

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// The processes of a crash campaign, by number: relays, then those that only
// write, then the subscribers.
const (
	relays       = 3
	writersOnly  = 2
	trackers     = relays + writersOnly
	earAt        = trackers
	readerAt     = trackers + 1
	processCount = trackers + 2
)

// rig starts the processes of a round, and ends and starts them again.
type rig struct {
	t        testing.TB
	program  string // the test binary
	database *database
	dsn      string                         // without a proxy
	proxies  [trackers]*testserver.TCPProxy // to the database; nil on SQLite
	links    [trackers]*testserver.TCPProxy // to Redis
	redis    *testserver.RedisServer
	client   *redis.Client // to it
	db       *sql.DB
	folder   string
	random   *rand.Rand
	writers  [trackers]int // of each tracker
	plain    bool          // no stream

	processes [processCount]*record.Child
	runs      [processCount]int
	all       []*record.Child
	stopped   map[*record.Child]time.Time // until when
	finishing bool
	watch     *watch

	totals totals
}

// newRig makes an empty database and a Redis with arguments, and starts no
// process yet.
func newRig(t testing.TB, d *database, redisArgs ...string) *rig {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := &rig{
		t: t, program: program, database: d, folder: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0)),
		redis: testserver.Redis(t, testserver.RedisOptions{Args: redisArgs}), stopped: map[*record.Child]time.Time{},
	}
	r.totals.rounds = 1
	r.client = redis.NewClient(&redis.Options{Addr: r.redis.Addr(), DialTimeout: time.Second, ReadTimeout: 5 * time.Second})
	t.Cleanup(func() { _ = r.client.Close() })
	via := d.create(t)
	r.dsn = via("")
	for i := range trackers {
		r.links[i] = testserver.Proxy(t, r.redis.Addr())
		if d.server != nil {
			r.proxies[i] = testserver.Proxy(t, d.server.Addr())
		}
	}
	r.open()
	record.CreateTables(t, r.db, d.dialect)
	t.Cleanup(r.end)
	return r
}

// open opens the database for the rig itself.
func (r *rig) open() {
	r.t.Helper()
	db, err := sql.Open(record.Drivers[r.database.dialect], r.dsn)
	if err != nil {
		r.t.Fatal(err)
	}
	r.db = db
}

func (r *rig) path(name string) string { return filepath.Join(r.folder, name) }

// end ends everything at once, also what is stopped.
func (r *rig) end() {
	r.finishing = true
	if r.watch != nil {
		r.watch.close()
	}
	for _, c := range r.all {
		c.Kill()
		if b, err := os.ReadFile(r.path(c.Name + ".err")); err == nil && r.t.Failed() && len(b) > 0 {
			r.t.Logf("%s wrote\n%s", c.Name, tail(string(b), 40000))
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
func (r *rig) start(process int) {
	r.t.Helper()
	r.runs[process]++
	o := orders{Dialect: r.database.dialect, Redis: r.redis.Addr(), Seed: r.random.Uint64(), Plain: r.plain}
	switch process {
	case earAt:
		o.Role, o.Run, o.Log = ear, "ear", r.path("heard.log")
	case readerAt:
		o.Role, o.Run, o.Log = reader, "reader", r.path("read.log")
	default:
		o.Role, o.Run, o.DSN, o.Redis = tracker, fmt.Sprintf("p%d", process), r.dsn, r.links[process].Addr()
		o.Writers = r.writers[process]
		if p := r.proxies[process]; p != nil {
			o.DSN = r.database.via(p.Addr())
		}
		if process < relays {
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
	c := &record.Child{Name: o.Run}
	c.Begin(r.t, r.program, "TestCrash", processEnv+"="+string(orders), r.path(c.Name+".err"))
	r.processes[process] = c
	r.all = append(r.all, c)
}

// startAll starts all processes, the subscribers first.
func (r *rig) startAll() {
	r.t.Helper()
	r.watch = watchHolders(r.t, r.db)
	for _, process := range []int{earAt, readerAt} {
		if process != readerAt || !r.plain {
			r.start(process)
			r.hear(process, "crash: ready")
		}
	}
	for process := range trackers {
		r.start(process)
	}
	for process := range trackers {
		r.hear(process, "crash: ready")
	}
}

// hear waits until a process says a line, or is gone.
func (r *rig) hear(process int, line string) (said bool) {
	r.t.Helper()
	timeout := time.NewTimer(2 * testkit.Patience)
	defer timeout.Stop()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for c := r.processes[process]; ; {
		select {
		case <-again.C:
			if line != "crash: stops" { // it may have been told to go on before it stopped itself
				c.Signal(r.t, "-CONT")
			}
		case s := <-c.Said:
			if s == "crash: stops" && line != s {
				r.totals.stops++
				c.Signal(r.t, "-CONT") // or it would never say the line
			}
			if s == line {
				return true
			}
		case <-c.Gone:
			return false
		case <-timeout.C:
			r.t.Errorf("%s did not say %q within %v", c.Name, line, 2*testkit.Patience)
			return false
		}
	}
}

// kill ends a process and starts its next run.
func (r *rig) kill(process int) {
	r.t.Helper()
	c := r.processes[process]
	c.Kill()
	delete(r.stopped, c)
	r.totals.kills++
	r.start(process)
}

// stopFor halts a process for a time.
func (r *rig) stopFor(process int, d time.Duration) {
	c := r.processes[process]
	c.Signal(r.t, "-STOP")
	r.stopped[c] = time.Now().Add(d)
	r.totals.stops++
}

// attend looks after the processes: those that are stopped go on in time, those
// that have killed themselves are started again.
func (r *rig) attend(all bool) {
	r.t.Helper()
	for process, c := range r.processes {
		if c == nil {
			continue
		}
		select {
		case said := <-c.Said:
			if said == "crash: stops" {
				r.stopped[c] = time.Now().Add(stopTime(r.random))
				r.totals.stops++
			}
		case <-c.Gone:
			if state := c.Cmd.ProcessState.String(); state != "signal: killed" {
				r.t.Errorf("%s has ended by itself: %s", c.Name, state)
			}
			r.kill(process)
			continue
		default:
		}
		if until, ok := r.stopped[c]; ok && (all || time.Now().After(until)) {
			c.Signal(r.t, "-CONT")
			c.Order("trick " + string(noTrick)) // one that stopped in a call returns
			delete(r.stopped, c)
		}
	}
}

// stopTime is for how long a process is stopped: longer than it may hold a
// name.
func stopTime(random *rand.Rand) time.Duration {
	return leaseFor + 200*time.Millisecond + time.Duration(random.Int64N(int64(leaseFor)))
}

// calm ends all that processes may do to themselves.
func (r *rig) calm() {
	r.t.Helper()
	r.attend(true)
	for process := range relays {
		for try := 0; try < 10; try++ {
			r.processes[process].Order("trick " + string(noTrick))
			if r.hear(process, "crash: trick "+string(noTrick)) {
				break
			}
			r.attend(true) // it had killed itself
		}
	}
}

// eventually waits for what nobody announces. Unlike until, it lets the test go
// on to the checker.
func (r *rig) eventually(what string, is func() bool) (ok bool) {
	r.t.Helper()
	deadline := time.NewTimer(testkit.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			r.t.Errorf("not within %v: %s", testkit.Patience, what)
			return false
		}
	}
	return true
}

// holder returns the process that holds a name.
func (r *rig) holder(name string) (process int) {
	r.t.Helper()
	r.eventually("a process holds "+name, func() bool {
		process = slices.IndexFunc(r.processes[:relays], func(c *record.Child) bool {
			return c.Cmd.Process.Pid == r.watch.holder(name).pid
		})
		return process >= 0
	})
	return max(process, 0)
}

// write has a process commit one transaction.
func (r *rig) write(process int) {
	r.t.Helper()
	r.processes[process].Order("last")
	if !r.hear(process, "crash: last") {
		r.t.Fatalf("%s has committed nothing", r.processes[process].Name)
	}
}
