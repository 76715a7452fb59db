package attack_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// The size of an attack.
const (
	trackers    = 8
	writersEach = 8
)

// rig starts, kills, stops and cuts off the processes of an attack.
type rig struct {
	t       *testing.T
	dialect tracbus.Dialect
	dsns    []string               // of each process
	proxies []*testserver.TCPProxy // of each process; none on SQLite
	folder  string
	random  *rand.Rand

	processes [trackers]*record.Child // as they are now
	all       []*record.Child         // as they were
	runs      [trackers]int
	later     []func() // ends of faults
	stopped   map[int]bool
	holding   time.Time // until when the first process is not cut off

	kills, cuts, stops int
}

func (r *rig) path(name, kind string) string { return filepath.Join(r.folder, name+kind) }

// start starts the next run of a process.
func (r *rig) start(process int) {
	r.t.Helper()
	r.runs[process]++
	c := &record.Child{Name: fmt.Sprintf("p%d.%d", process, r.runs[process])}
	orders, err := json.Marshal(orders{
		Run: c.Name, Dialect: r.dialect, DSN: r.dsns[process], Log: r.path(c.Name, ".log"),
		Writers: writersEach, Seed: r.random.Uint64(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	c.Begin(r.t, program, "TestAttack", processEnv+"="+string(orders), r.path(c.Name, ".err"))
	r.processes[process] = c
	r.all = append(r.all, c)
}

// open starts all processes.
func (r *rig) open() {
	r.stopped = map[int]bool{}
	r.t.Cleanup(func() {
		for _, c := range r.all {
			c.Kill()
			if b, err := os.ReadFile(r.path(c.Name, ".err")); err == nil && r.t.Failed() && len(b) > 0 {
				r.t.Logf("%s wrote\n%.3000s", c.Name, b)
			}
		}
	})
	for i := range r.processes {
		r.start(i)
	}
	for _, c := range r.processes {
		c.Hear(r.t, "attack: ready")
	}
}

// attack lets processes suffer for a time. The first one is not killed, so that
// one has seen everything; nor cut off while a writer in it holds a transaction
// open for long.
func (r *rig) attack(duration time.Duration) {
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
			r.processes[0].Order("hold " + holdFor(duration).String())
			r.holding = time.Now().Add(holdFor(duration) + time.Second)
		case <-end.C:
			r.relieve()
			for process := range r.stopped {
				r.resume(process)
			}
			return
		}
	}
}

// holdFor is how long a writer holds a transaction open.
func holdFor(duration time.Duration) time.Duration { return min(10*time.Second, duration/3) }

// relieve ends the faults that are to end by now.
func (r *rig) relieve() {
	for _, f := range r.later {
		f()
	}
	r.later = nil
}

// suffer lets one process suffer one fault, or none.
func (r *rig) suffer(duration time.Duration) {
	r.relieve()
	process, dice := r.random.IntN(trackers), r.random.IntN(100)
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
		r.processes[process].Kill()
		r.kills++
		r.start(process)
	case dice < 36 && r.proxies != nil && (process > 0 || time.Now().After(r.holding)):
		r.cut(r.proxies[process])
		r.cuts++
	case dice < 39 && len(r.stopped) == 0 && process > 0:
		r.processes[process].Signal(r.t, "-STOP")
		r.stopped[process] = true
		r.stops++
	}
}

// cut cuts off a process.
func (r *rig) cut(p *testserver.TCPProxy) {
	if end := record.Cut(r.random, p); end != nil {
		r.later = append(r.later, end)
	}
}

func (r *rig) resume(process int) {
	r.processes[process].Signal(r.t, "-CONT")
	delete(r.stopped, process)
}

// stop lets all writers end what they do.
func (r *rig) stop() {
	for _, c := range r.processes {
		c.Order("stop")
	}
	for _, c := range r.processes {
		c.Hear(r.t, "attack: stopped")
	}
}

// finish lets all processes end in order when they have handled tid, and
// returns what all runs have seen.
func (r *rig) finish(tid int64) (runs []record.Run) {
	for _, c := range r.processes {
		c.Order("finish " + strconv.FormatInt(tid, 10))
	}
	for _, c := range r.processes {
		c.Hear(r.t, "nothing more")
	}
	for _, c := range r.all {
		runs = append(runs, record.ReadRun(r.t, c.Name, r.path(c.Name, ".log"), c.Killed))
	}
	return runs
}
