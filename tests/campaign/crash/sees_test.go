package crash_test

import (
	"testing"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// The layers that keep a durable consumer from losing and repeating, and how each
// is switched off.
var (
	fencingOff = []record.Spoiling{
		{File: "internal/progress/move.go", Old: `"tid = ? AND commit_id = ? AND seq = ? AND partial = ? AND " + text`,
			With: `"(1 = 1 OR tid = ? AND commit_id = ? AND seq = ? AND partial = ?) AND " + text`},
		{File: "internal/progress/move.go", Old: `WHERE holder <> '' AND (" + strings`, With: `WHERE (" + strings`},
		{File: "internal/progress/move.go", // of two names in one statement
			Old:  "WHERE c.holder <> '' AND c.name = m.name AND c.token = m.token AND c.tid = m.from_tid AND c.commit_id = m.from_commit_id AND c.seq = m.from_seq AND c.partial = m.from_partial`",
			With: "WHERE c.name = m.name`"},
		{File: "internal/progress/lease.go", Old: `expires = {NOW} + ? WHERE holder <> '' AND "`, With: `expires = {NOW} + ? WHERE "`},
		{File: "internal/progress/lease.go", Old: `"token = ? AND name IN "`, With: `"(1 = 1 OR token = ?) AND name IN "`},
	}
	clockOff = []record.Spoiling{
		{File: "internal/consumer/lease.go", Old: "func() { l.cancel(ErrExpired) }", With: "func() {}"},
	}
	dedupeOff = []record.Spoiling{
		{File: "internal/publish/script/publish.lua", Old: "elseif tid == '' or not stands(ARGV[6], ARGV[7]) then", With: "elseif tid == '' then"},
	}
	cursorFirst = []record.Spoiling{
		{File: "internal/consumer/deliver.go", Old: "err = s.call(ctx, func(ctx context.Context) error { return s.listener.Deliver(ctx, c.event) })",
			With: "_ = s.moveAndWait(b.through(i)); err = s.call(ctx, func(ctx context.Context) error { return s.listener.Deliver(ctx, c.event) })"},
	}
)

// TestCrashSeesFaults proves that the campaign's checker finds what it is for:
// with one layer of the library switched off it finds the fault that the layer
// is against, and without that, in the same situation, none.
func TestCrashSeesFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("builds other test binaries")
	}
	for _, tc := range []struct {
		name     string
		database func(testing.TB) *database
		plain    bool
		spoil    []record.Spoiling
		happens  func(r *rig)
		want     int
	}{
		// A holder's statement that comes late, after its turn.
		{"fencing", onMariaDB, false, fencingOff, moveLate, isCursor},
		// A holder that was stopped and goes on. Its own clock would keep it from
		// that even without fencing, so that is off too. Not on SQLite, where it
		// could be stopped while it has the file locked for all.
		{"fencing after a stop", onPostgres, false, append(clockOff, fencingOff...), goOnLate, isTwice},
		// Entries of a stream cannot be appended twice in any case.
		{"dedupe", onSQLite, true, dedupeOff, dieWithPublished, isTwice},
		{"cursor", onSQLite, false, cursorFirst, dieInFirstCall, isLost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			database := tc.database(t)
			for _, program := range []string{"", record.SpoiledBinary(t, tc.spoil)} {
				t.Run(map[bool]string{true: "on", false: "off"}[program == ""], func(t *testing.T) {
					r := newRig(t, database, strictRound.redisArgs()...)
					r.plain = tc.plain
					if program != "" {
						r.program = program
					}
					r.startAll()
					for range 5 {
						r.write(relays)
					}
					tc.happens(r)
					v := check(r.record(r.settle()))
					r.finish()
					t.Log(v)
					if program == "" && len(v.found) > 0 {
						t.Error("the library is as it should be, and the checker finds faults")
					} else if program != "" && v.counts[tc.want] == 0 {
						t.Errorf("the library is spoiled, and the checker finds no %q", faults[tc.want])
					}
				})
			}
		})
	}
}

// done waits until a name is done with all that was written.
func (r *rig) done(name string) {
	r.t.Helper()
	var last int64
	testkit.Scan(r.t, r.db, "SELECT MAX(tid) FROM journal_change", func() {}, &last)
	r.eventually(name+" is done", func() bool { return r.watch.at(name).tid >= last })
}

// trick has the holder of a name do a trick, and lets it have an occasion.
func (r *rig) trick(name string, trick trick) (process int) {
	r.t.Helper()
	r.done("log")
	process = r.holder(name)
	r.processes[process].Order("trick " + string(trick))
	r.hear(process, "crash: trick "+string(trick))
	r.write(relays)
	return process
}

// deposed waits until another process holds a name.
func (r *rig) deposed(name string, process int) {
	r.t.Helper()
	pid := r.processes[process].Cmd.Process.Pid
	r.eventually("another process holds "+name, func() bool {
		h := r.watch.holder(name)
		return h.pid != 0 && h.pid != pid
	})
}

// goOn lets a process that waits in a call return.
func (r *rig) goOn(process int) {
	r.processes[process].Order("trick " + string(noTrick))
}

// moveLate has the statement with which a holder moves its place arrive when
// another process has the name, and has moved on.
func moveLate(r *rig) {
	process := r.trick("log", hangInCall)
	r.hear(process, "crash: hangs")
	r.proxies[process].Pause()
	r.goOn(process)
	r.deposed("log", process)
	for range 3 {
		r.write(relays)
	}
	r.done("log")
	r.proxies[process].Resume()
	r.write(process) // so it is connected again
	r.done("log")
}

// goOnLate stops a holder in a call until another process has the name, and has
// moved on.
func goOnLate(r *rig) {
	process := r.trick("log", stopInCall)
	r.hear(process, "crash: stops")
	r.deposed("log", process)
	r.write(relays)
	r.done("log")
	r.processes[process].Signal(r.t, "-CONT")
	r.goOn(process)
	for range 10 {
		r.write(relays)
	}
}

// dieWithPublished ends a process whose messages Redis has, and who has not
// stored that.
func dieWithPublished(r *rig) {
	process := r.trick("redis", dieAfterScript)
	<-r.processes[process].Gone
	r.attend(true)
	r.write(relays)
}

// dieInFirstCall ends a process that is calling the listener, when its renewals
// of the lease have stored what it had to store.
func dieInFirstCall(r *rig) {
	process := r.trick("log", hangInCall)
	r.hear(process, "crash: hangs")
	beat := r.watch.holder("log").beat
	r.eventually("the lease is renewed", func() bool { return r.watch.holder("log").beat > beat+2 })
	r.kill(process)
	r.write(relays)
}
