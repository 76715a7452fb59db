package tracbus_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
)

// The size of an attack.
const (
	attackProcesses = 8
	attackWriters   = 8
)

// attackRig starts, kills, stops and cuts off the processes of an attack.
type attackRig struct {
	t       *testing.T
	dialect tracbus.Dialect
	dsns    []string               // of each process
	proxies []*testserver.TCPProxy // of each process; none on SQLite
	folder  string
	random  *rand.Rand

	processes [attackProcesses]*attackChild // as they are now
	all       []*attackChild                // as they were
	runs      [attackProcesses]int
	later     []func() // ends of faults
	stopped   map[int]bool
	holding   time.Time // until when the first process is not cut off

	kills, cuts, stops int
}

// attackChild is one run of a process.
type attackChild struct {
	name   string
	killed bool
	cmd    *exec.Cmd
	orders io.WriteCloser
	said   chan string   // what it said on standard output
	gone   chan struct{} // closed once it has ended and was waited for
}

func (r *attackRig) path(name, kind string) string { return filepath.Join(r.folder, name+kind) }

// start starts the next run of a process.
func (r *attackRig) start(process int) {
	r.t.Helper()
	r.runs[process]++
	c := &attackChild{name: fmt.Sprintf("p%d.%d", process, r.runs[process])}
	orders, err := json.Marshal(attackOrders{
		Run: c.name, Dialect: r.dialect, DSN: r.dsns[process], Log: r.path(c.name, ".log"),
		Writers: attackWriters, Seed: r.random.Uint64(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	c.begin(r.t, program, "TestAttack", attackEnv+"="+string(orders), r.path(c.name, ".err"))
	r.processes[process] = c
	r.all = append(r.all, c)
}

// begin runs a test of a program in a process of its own. The variable tells it
// what to do there.
func (c *attackChild) begin(t testing.TB, program, test, variable, stderr string) {
	t.Helper()
	c.said, c.gone = make(chan string, 10), make(chan struct{})
	c.cmd = exec.Command(program, "-test.run=^"+test+"$", "-test.timeout=1h")
	c.cmd.Env = append(os.Environ(), variable)
	f, err := os.Create(stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.cmd.Stderr = f
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.orders, err = c.cmd.StdinPipe(); err != nil { // which ends with this process, however that ends
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go c.listen(stdout)
}

// listen reads what a process says until it is gone.
func (c *attackChild) listen(stdout io.Reader) {
	defer close(c.gone)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		select {
		case c.said <- lines.Text():
		default: // of no interest
		}
	}
	_ = c.cmd.Wait() // how it ended is in its log
}

// kill ends a process at once, also a stopped one.
func (c *attackChild) kill() {
	c.killed = true
	_ = c.cmd.Process.Kill() // fails if it is gone already
	<-c.gone
}

// order tells a process what to do. One that is gone does nothing.
func (c *attackChild) order(line string) { _, _ = io.WriteString(c.orders, line+"\n") }

// hear waits until a process says a line, or is gone.
func (c *attackChild) hear(t testing.TB, line string) {
	t.Helper()
	timeout := time.NewTimer(2 * patience)
	defer timeout.Stop()
	for {
		select {
		case said := <-c.said:
			if said == line {
				return
			}
		case <-c.gone:
			return
		case <-timeout.C:
			t.Errorf("%s did not say %q within %v", c.name, line, 2*patience)
			return
		}
	}
}

// open starts all processes.
func (r *attackRig) open() {
	r.stopped = map[int]bool{}
	r.t.Cleanup(func() {
		for _, c := range r.all {
			c.kill()
			if b, err := os.ReadFile(r.path(c.name, ".err")); err == nil && r.t.Failed() && len(b) > 0 {
				r.t.Logf("%s wrote\n%.3000s", c.name, b)
			}
		}
	})
	for i := range r.processes {
		r.start(i)
	}
	for _, c := range r.processes {
		c.hear(r.t, "attack: ready")
	}
}

// attack lets processes suffer for a time. The first one is not killed, so that
// one has seen everything; nor cut off while a writer in it holds a transaction
// open for long.
func (r *attackRig) attack(duration time.Duration) {
	end := time.NewTimer(duration)
	defer end.Stop()
	hold := time.NewTimer(duration / 4)
	defer hold.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.suffer(duration)
		case <-hold.C:
			if r.proxies != nil {
				r.proxies[0].CutAfter(1 << 40) // which it will not reach, in place of one that it may
			}
			r.processes[0].order("hold " + attackHold(duration).String())
			r.holding = time.Now().Add(attackHold(duration) + time.Second)
		case <-end.C:
			r.relieve()
			for process := range r.stopped {
				r.resume(process)
			}
			return
		}
	}
}

// attackHold is how long a writer holds a transaction open.
func attackHold(duration time.Duration) time.Duration { return min(10*time.Second, duration/3) }

// relieve ends the faults that are to end by now.
func (r *attackRig) relieve() {
	for _, f := range r.later {
		f()
	}
	r.later = nil
}

// suffer lets one process suffer one fault, or none.
func (r *attackRig) suffer(duration time.Duration) {
	r.relieve()
	process, dice := r.random.IntN(attackProcesses), r.random.IntN(100)
	if !r.stopped[process] { // one of each in any case, however short the attack
		switch {
		case r.kills == 0:
			process, dice = max(process, 1), 0
		case r.stops == 0:
			process, dice = max(process, 1), 36
		case r.cuts == 0 && r.proxies != nil:
			dice = 18
		}
	}
	switch {
	case r.stopped[process]:
		if dice < 40 || duration < 20*time.Second {
			r.resume(process)
		}
	case dice < 18 && process > 0:
		r.processes[process].kill()
		r.kills++
		r.start(process)
	case dice < 36 && r.proxies != nil && (process > 0 || time.Now().After(r.holding)):
		r.cut(r.proxies[process])
		r.cuts++
	case dice < 39 && len(r.stopped) == 0 && process > 0:
		r.processes[process].signal(r.t, "-STOP")
		r.stopped[process] = true
		r.stops++
	}
}

// cut cuts off a process.
func (r *attackRig) cut(p *testserver.TCPProxy) {
	if end := attackCut(r.random, p); end != nil {
		r.later = append(r.later, end)
	}
}

// attackCut cuts connections in one of the ways in which networks do. A fault that lasts ends with the function that is
// returned.
func attackCut(random *rand.Rand, p *testserver.TCPProxy) (end func()) {
	switch random.IntN(3) {
	case 0:
		p.Cut()
	case 1: // behind a byte that may be the last of a COMMIT
		p.CutAfter(random.Int64N(5000))
	case 2: // with answers on their way
		p.DropReplies()
		return func() {
			p.Cut()
			p.Resume()
		}
	}
	return nil
}

func (r *attackRig) resume(process int) {
	r.processes[process].signal(r.t, "-CONT")
	delete(r.stopped, process)
}

// signal sends a process "-STOP" or "-CONT".
func (c *attackChild) signal(t testing.TB, signal string) {
	if out, err := exec.Command("kill", signal, strconv.Itoa(c.cmd.Process.Pid)).CombinedOutput(); err != nil {
		t.Logf("kill %s %s: %v: %s", signal, c.name, err, out)
	}
}

// stop lets all writers end what they do.
func (r *attackRig) stop() {
	for _, c := range r.processes {
		c.order("stop")
	}
	for _, c := range r.processes {
		c.hear(r.t, "attack: stopped")
	}
}

// finish lets all processes end in order when they have handled tid, and
// returns what all runs have seen.
func (r *attackRig) finish(tid int64) (runs []attackRun) {
	for _, c := range r.processes {
		c.order("finish " + strconv.FormatInt(tid, 10))
	}
	for _, c := range r.processes {
		c.hear(r.t, "nothing more")
	}
	for _, c := range r.all {
		runs = append(runs, readAttackRun(r.t, c.name, r.path(c.name, ".log"), c.killed))
	}
	return runs
}
