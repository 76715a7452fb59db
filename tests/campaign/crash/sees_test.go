package crash_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tracbus/tracbus/internal/testkit"
)

// library is where the library's source is, seen from here.
const library = "../../.."

// spoiling replaces a text of the library's source.
type spoiling struct{ file, old, with string }

// The layers that keep a durable consumer from losing and repeating, and how each
// is switched off.
var (
	fencingOff = []spoiling{
		{"internal/progress/lease.go", "WHERE holder <> '' AND tid = ? AND mark = ? AND seq = ? AND rest = ? AND `",
			"WHERE (1 = 1 OR holder <> '' AND tid = ? AND mark = ? AND seq = ? AND rest = ?) AND `"},
		{"internal/progress/lease.go", `expires = {NOW} + ? WHERE holder <> '' AND "`, `expires = {NOW} + ? WHERE "`},
		{"internal/progress/lease.go", `"epoch = ? AND name IN "`, `"(1 = 1 OR epoch = ?) AND name IN "`},
	}
	clockOff = []spoiling{
		{"internal/consumer/lease.go", "func() { l.cancel(ErrExpired) }", "func() {}"},
	}
	dedupeOff = []spoiling{
		{"internal/publish/script/publish.lua", "elseif tid == '' or not stands(ARGV[6], ARGV[7]) then", "elseif tid == '' then"},
	}
	cursorFirst = []spoiling{
		{"internal/consumer/deliver.go", "err = s.call(ctx, func(ctx context.Context) error { return s.listener.Deliver(ctx, c.event) })",
			"_ = s.moveAndWait(b.through(i)); err = s.call(ctx, func(ctx context.Context) error { return s.listener.Deliver(ctx, c.event) })"},
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
		spoil    []spoiling
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
			for _, program := range []string{"", spoiledBinary(t, tc.spoil)} {
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

// spoiledBinary builds this test binary from a spoiled source.
func spoiledBinary(t *testing.T, spoilings []spoiling) string {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		testkit.Skip(t, "it needs the go tool: "+err.Error())
	}
	folder := t.TempDir()
	texts := map[string]string{}
	for _, s := range spoilings {
		if texts[s.file] == "" {
			b, err := os.ReadFile(filepath.Join(library, s.file))
			if err != nil {
				t.Fatal(err)
			}
			texts[s.file] = string(b)
		}
		if n := strings.Count(texts[s.file], s.old); n != 1 {
			t.Fatalf("%s: expected once, found %d times: %s", s.file, n, s.old)
		}
		texts[s.file] = strings.Replace(texts[s.file], s.old, s.with, 1)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range texts {
		path, err := filepath.Abs(filepath.Join(library, file))
		if err != nil {
			t.Fatal(err)
		}
		spoiled := filepath.Join(folder, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(spoiled, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[path] = spoiled
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(folder, "overlay.json"), filepath.Join(folder, "spoiled.test")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), goTool, "test", "-c", "-ldflags=-s -w", "-overlay", list, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// done waits until a name is done with all that was written.
func (r *rig) done(name string) {
	r.t.Helper()
	var last int64
	testkit.Scan(r.t, r.db, "SELECT MAX(tid) FROM journal_transaction", func() {}, &last)
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
