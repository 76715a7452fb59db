package foreign_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/campaign/record"
	"github.com/tracbus/tracbus/tests/realtrac"
	"github.com/tracbus/tracbus/trac"
)

// How many processes there are of each sort.
const (
	tracs    = 4
	trackers = 4
	pages    = 12 // names
)

// rig starts, kills and stops the processes of the campaign.
type rig struct {
	t       *testing.T
	dialect tracbus.Dialect
	db      *sql.DB
	dsn     string
	env     string // of a real Trac; empty: processes of the campaign write as it does
	trac    *realtrac.Trac
	program string // the test's binary
	redis   *redis.Client
	journal *tracbus.Journal
	folder  string
	random  *rand.Rand

	processes [tracs + trackers]*record.Child // as they are now
	all       []*record.Child                 // as they were
	runs      [tracs + trackers]int
	stopped   int // the process that is, or -1
	goOn      time.Time

	kills, importers, stops int // importers are kills of the process that takes in what waits
}

func newRig(t *testing.T, d tracbus.Dialect, db *sql.DB, dsn, program string) *rig {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	server := testserver.Redis(t, testserver.RedisOptions{})
	r := &rig{
		t: t, dialect: d, db: db, dsn: dsn, program: program, redis: testkit.PatientClient(t, server.Addr()), folder: t.TempDir(),
		random: rand.New(rand.NewPCG(seed, 0)), stopped: -1,
	}
	return r
}

// install makes what the campaign needs beside Trac's tables, and the hot tickets.
func (r *rig) install() {
	t := r.t
	t.Helper()
	for _, s := range truthTables {
		if _, err := r.db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	bus := tracbus.NewBus("foreign")
	var err error
	r.journal, err = tracbus.OpenJournal(t.Context(), r.db, bus, tracbus.JournalConfig{
		Dialect: r.dialect, Realms: realmsOf(), Capture: trac.Capture{Install: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.journal.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := bus.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	first := &process{orders: orders{Dialect: r.dialect}, d: dialect(r.dialect), random: r.random}
	for n := range hot {
		tx, err := r.db.BeginTx(t.Context(), nil)
		if err == nil {
			err = first.insertTicket(fmt.Sprintf("rig/%d", n))(t.Context(), tx)
		}
		if err == nil {
			err = tx.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (r *rig) path(name, kind string) string { return filepath.Join(r.folder, name+kind) }

// start starts the next run of a process.
func (r *rig) start(process int) {
	r.t.Helper()
	r.runs[process]++
	c := &record.Child{Name: fmt.Sprintf("go%d.%d", process-tracs, r.runs[process])}
	if process < tracs {
		c.Name = fmt.Sprintf("trac%d.%d", process, r.runs[process])
	}
	encoded, err := json.Marshal(orders{
		Run: c.Name, Trac: process < tracs, Dialect: r.dialect, DSN: r.dsn, Env: r.env, Redis: r.redis.Options().Addr,
		Log: r.path(c.Name, ".log"), Seed: r.random.Uint64() >> 1, Pages: pages,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	variable := processEnv + "=" + string(encoded)
	if r.env != "" && process < tracs {
		c.Cmd = r.trac.Command("-u", filepath.Join("testdata", "writer.py"))
		c.Cmd.Env = append(c.Cmd.Env, variable)
		c.Start(r.t, r.path(c.Name, ".err"))
	} else {
		c.Begin(r.t, r.program, "TestForeign", variable, r.path(c.Name, ".err"))
	}
	r.processes[process] = c
	r.all = append(r.all, c)
}

// open starts all processes.
func (r *rig) open() {
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
		c.Hear(r.t, "foreign: ready")
	}
}

// attack has one process at a time suffer, for a time.
func (r *rig) attack(duration time.Duration) {
	end := time.NewTimer(duration)
	defer end.Stop()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for rounds := 0; ; {
		select {
		case <-tick.C:
			r.suffer()
		case <-end.C:
			if rounds < 10 && !r.enough() { // a crowded machine needs more time
				rounds++
				end.Reset(duration)
				continue
			}
			r.resume()
			return
		}
	}
}

// enough says whether so much has happened that it is a campaign.
func (r *rig) enough() bool {
	var told int
	err := r.db.QueryRowContext(r.t.Context(), "SELECT count(*) FROM journal_change").Scan(&told)
	return err == nil && told >= 80 && r.kills > 0 && r.stops > 0
}

// suffer has one process suffer one fault, or none. A stop lasts longer than any lease.
func (r *rig) suffer() {
	if r.stopped >= 0 {
		if time.Now().After(r.goOn) {
			r.resume()
		}
		return
	}
	process, dice := tracs+r.random.IntN(trackers), r.random.IntN(100)
	switch {
	case r.kills > 0 && r.random.IntN(4) == 0:
		process = r.random.IntN(tracs)
	case r.kills > 0 && r.random.IntN(2) == 0:
		process = r.importer(process)
	}
	switch {
	case r.kills == 0 || dice < 12:
		if r.importer(-1) == process {
			r.importers++
		}
		r.processes[process].Kill()
		r.kills++
		r.start(process)
	case r.stops == 0 || dice < 15:
		r.processes[process].Signal(r.t, "-STOP")
		r.stopped, r.goOn = process, time.Now().Add(4*time.Second)
		r.stops++
	}
}

// importer returns the process that takes in what waits, or another one if it is not known.
func (r *rig) importer(otherwise int) int {
	var holder string
	if err := r.db.QueryRowContext(r.t.Context(), "SELECT holder FROM journal_capture").Scan(&holder); err != nil || holder == "" {
		return otherwise
	}
	var author string
	query := dialect(r.dialect).text("SELECT author FROM journal_change WHERE origin = ? AND author LIKE 'go%' ORDER BY tid DESC LIMIT 1")
	if err := r.db.QueryRowContext(r.t.Context(), query, holder).Scan(&author); err != nil {
		return otherwise
	}
	for process, c := range r.processes {
		if c.Name == run(author) {
			return process
		}
	}
	return otherwise
}

func (r *rig) resume() {
	if r.stopped >= 0 {
		r.processes[r.stopped].Signal(r.t, "-CONT")
		r.stopped = -1
	}
}

// settle lets all writers end what they do, waits until all is taken in, and ends the processes.
func (r *rig) settle() {
	for _, c := range r.processes {
		c.Order("stop")
	}
	for _, c := range r.processes {
		c.Hear(r.t, "foreign: stopped")
	}
	record.WaitForEnd(r.t, r.db, r.dialect)
	var left int
	testkit.Until(r.t, "the inbox is empty", func() bool {
		record.Sleep(r.t.Context(), 100*time.Millisecond)
		return r.db.QueryRowContext(r.t.Context(), "SELECT count(*) FROM journal_inbox").Scan(&left) == nil && left == 0
	})
	var last int64
	if err := r.db.QueryRowContext(r.t.Context(), "SELECT max(tid) FROM journal_change").Scan(&last); err != nil {
		r.t.Fatal(err)
	}
	for _, c := range r.processes {
		c.Order("finish " + strconv.FormatInt(last, 10))
	}
	for _, c := range r.processes {
		c.Hear(r.t, "nothing more")
	}
}
